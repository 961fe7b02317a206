"""Ray Serve as it comes, over emulated cards: `python -m loadtest.counted`.

What the service is compared with: one deployment for each class of card, routes by hand to the smallest that can hold a
request, Serve's default router, and autoscaling on ongoing requests by the defaults that Serve documents, all of whose
delays are as many times shorter as the cards are faster. A card is given one request at a time.

Settings are those of our own service: `I2V_HOST`, `I2V_PORT`, `I2V_POOLS`, `I2V_EMULATION_SPEED`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from deployments.child import ChildService
from loadtest.baseline import ServeDefaults
from loadtest.byhand import Routes, Videos
from loadtest.plain import serve_until_stopped
from loadtest.twin import Cards

RULES = ServeDefaults()
OPEN = 500
"""HTTP requests at once."""
LOOK_BACK_S, METRICS_S = 30.0, 10.0
"""Over how long Serve takes the mean of ongoing requests, and how often they are told."""


@contextmanager
def child(cards: Sequence[Cards], speed: float) -> Iterator[ChildService]:
    """The application in processes of its own, once it can take requests."""
    rows = [{"card": one.card, "min_replicas": one.least, "max_replicas": one.most} for one in cards]
    with tempfile.TemporaryDirectory(prefix="i2v-loadtest-") as folder:
        environment = {"I2V_POOLS": json.dumps(rows), "I2V_EMULATION_SPEED": str(speed)}
        started = ChildService(Path(folder), **environment)
        with started.running(sys.executable, "-m", "loadtest.counted"):
            yield started


def scaled(cards: Cards, speed: float) -> dict[str, float]:
    """Serve's autoscaling of a pool."""
    return {
        "min_replicas": cards.least,
        "max_replicas": cards.most,
        "target_ongoing_requests": RULES.target_ongoing_requests,
        "upscale_delay_s": RULES.upscale_delay_s / speed,
        "downscale_delay_s": RULES.downscale_delay_s / speed,
        "look_back_period_s": LOOK_BACK_S / speed,
        "metrics_interval_s": METRICS_S / speed,
    }


def main() -> None:
    from ray import serve

    speed = float(os.environ["I2V_EMULATION_SPEED"])
    cards = [Cards(r["card"], r["min_replicas"], r["max_replicas"]) for r in json.loads(os.environ["I2V_POOLS"])]

    @serve.deployment(max_ongoing_requests=1, ray_actor_options={"num_cpus": 0}, graceful_shutdown_timeout_s=900)
    class Card:
        async def __call__(self, seconds: float) -> tuple[float, float]:
            began = time.time()
            await asyncio.sleep(seconds)
            return began, time.time()

    @serve.deployment(max_ongoing_requests=OPEN, ray_actor_options={"num_cpus": 0})
    @serve.ingress()
    class Ingress:
        def __init__(self, handles: dict[str, Any]) -> None:
            self._videos = Videos(Routes(cards, speed), handles)

        def __serve_build_asgi_app__(self) -> FastAPI:
            return self._videos.app

    def build() -> Any:
        deployments = {
            one.card: Card.options(name=f"Generator-{one.card}", autoscaling_config=scaled(one, speed)) for one in cards
        }
        return Ingress.bind({card: deployment.bind() for card, deployment in deployments.items()})

    # Its replicas have the names of the service's, by which cards are counted.
    serve_until_stopped(build, "i2v")


if __name__ == "__main__":
    main()
