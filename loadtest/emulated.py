"""A real service over emulated cards in a temporary folder, and its metrics as its users read them."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from deployments.child import ChildService


@dataclass(frozen=True)
class Pool:
    """Emulated cards of one class; the pool bears the class's name."""

    card: str
    most: int
    least: int = 0


@contextmanager
def service(pools: Sequence[Pool], speed: float, **settings: str) -> Iterator[str]:
    """The address of a service that can take work; `settings` are environment variables."""
    with child(pools, speed, **settings) as started:
        yield started.url


@contextmanager
def child(pools: Sequence[Pool], speed: float, **settings: str) -> Iterator[ChildService]:
    """The same, with its processes and its folder."""
    rows = [{"name": p.card, "card": p.card, "min_replicas": p.least, "max_replicas": p.most} for p in pools]
    with tempfile.TemporaryDirectory(prefix="i2v-loadtest-") as folder:
        environment = {
            "I2V_MODEL": "emulated",
            "I2V_EMULATION_SPEED": str(speed),
            "I2V_POOLS": json.dumps(rows),
            "RAY_metrics_report_interval_ms": "1000",  # Ray's own is ten seconds
        }
        started = ChildService(Path(folder), **environment | settings)
        with started.running():
            yield started


def by_pool(text: str, metric: str) -> dict[str, float]:
    """The sum of a gauge's or counter's series for each pool, from what `GET /metrics` answered."""
    found: dict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == f"ray_{metric}":
                found[sample.labels["pool"]] += sample.value
    return dict(found)


def metrics(http: httpx.Client) -> str:
    """The answer of `GET /metrics`; empty while a node's agent is still starting."""
    answer = http.get("/metrics")
    return answer.text if answer.is_success else ""
