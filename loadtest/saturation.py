"""How busy cards are while more waits than they can do, and what passes between two jobs of a card.

    python -m loadtest.saturation [--cards 2] [--out saturation.jsonl]

For each length of job a real service is started over emulated H100s and given a deep queue. "busy" is the cards' own
count, `i2v_card_busy_seconds_total`, over the seconds between two readings in which every card had work. A gap is from
a clip's last step to the next one's first step on the same card, by the service's log: all that the service does
between two jobs. Both are of the wall clock, so whatever else the machine does is in them; the load is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from deployments.demo import PICTURE
from loadtest.emulated import Pool, by_pool, metrics, service
from serving.client import Client
from serving.presets import I2VGEN_XL
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import Shape, seconds

CARD = "h100"
PROMISED = 0.98
SETTLED_S = 3.0
"""How much older than its reading a metric may be, and so what is left out at both ends."""


@dataclass(frozen=True)
class Length:
    """Jobs of one length: the standard preset on cards `speed` times as fast as an H100, for `window_s` seconds."""

    name: str
    speed: float
    window_s: float
    promised: bool


LENGTHS = (
    Length("standard on an H100", 1.0, 90.0, promised=True),
    Length("a third of it", 3.0, 45.0, promised=False),
)
PATIENCE_S = 120.0
STANDARD = Shape(512, 512, 16, 50, guided=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cards", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("saturation.jsonl"), help="where the raw rows go")
    args = parser.parse_args()
    table = Table("jobs", "s each", "cards", "seconds", "busy", "gaps", "gap p50 ms", "gap p99 ms", "machine's load")
    kept = True
    with args.out.open("w") as file:
        for length in LENGTHS:
            print(f"{length.name}: starting the service, then {length.window_s:.0f} s of it", flush=True)
            share, clips = measure(length, args.cards)
            for clip in clips:
                file.write(json.dumps({"length": length.name, "busy_share": share, **asdict(clip)}) + "\n")
            gaps = [gap * 1000 for gap in gaps_s(clips)]
            each = statistics.median(clip.seconds for clip in clips)
            quantiles = statistics.quantiles(gaps, n=100, method="inclusive")
            load = f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
            row = (f"{each:.1f}", args.cards, f"{length.window_s:.0f}", f"{share:.2%}", len(gaps))
            figures = (f"{statistics.median(gaps):.0f}", f"{quantiles[98]:.0f}", load)
            table.add_row(length.name, *map(str, row), *figures)
            kept = kept and (share >= PROMISED or not length.promised)
    Console(width=120).print(table)
    print(f"promised: {PROMISED:.0%} busy with standard jobs: {'kept' if kept else 'BROKEN'}")
    sys.exit(0 if kept else 1)


@dataclass(frozen=True)
class Clip:
    """One clip on one card: when its steps began and ended, epoch seconds."""

    card: int
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def measure(length: Length, cards: int) -> tuple[float, list[Clip]]:
    """The busy share of the cards, and the clips they made, while all of them had work."""
    with tempfile.TemporaryDirectory(prefix="i2v-saturation-") as logs:
        pools = (Pool(CARD, most=cards, least=cards),)
        with (
            service(pools, length.speed, I2V_LOG_DIR=logs) as url,
            Client(url) as client,
            httpx.Client(base_url=url, timeout=30) as http,
            ThreadPoolExecutor(4) as hands,
        ):
            _wait(lambda: by_pool(metrics(http), "i2v_cards").get(CARD) == cards)
            fields = {"prompt": "the camera pans to the left", "preset": "standard", "aspect_ratio": "1:1"}
            first = [hands.submit(client.submit, PICTURE, fields) for _ in range(cards + 1)]
            _wait(lambda: by_pool(metrics(http), "i2v_card_busy_seconds_total").get(CARD, 0.0) > 0)
            each_s = seconds(STANDARD, I2VGEN_XL.faster(length.speed).cost, CARDS[CARD].tflops)
            # Enough for the time that submitting takes, too.
            needed = cards * int(3 * length.window_s / each_s)
            all_jobs = first + [hands.submit(client.submit, PICTURE, fields) for _ in range(needed)]
            # Pictures are prepared on the same processors: what is measured is the cards' own rhythm after that.
            for job in all_jobs:
                job.result()
            time.sleep(SETTLED_S)
            before, began = _busy(http)
            time.sleep(length.window_s)
            after, ended = _busy(http)
            waiting = by_pool(metrics(http), "i2v_queue_jobs").get(CARD, 0.0)
        assert waiting > 0, "the queue ran dry: the share would be of idle cards"
        (log,) = Path(logs).glob("app_*.log")
        clips = [clip for clip in read_clips(log) if clip.ended > began]
    return (after - before) / (ended - began) / cards, clips


def read_clips(log: Path) -> list[Clip]:
    """Each clip by its line in the service's log: written when the steps are done, with what they took."""
    clips = []
    for line in log.read_text().splitlines():
        row: dict[str, Any] = json.loads(line)
        if row["logger"] == "serving.rendering" and "timings_s" in row:
            ended = datetime.fromisoformat(row["time"]).timestamp()
            clips.append(Clip(row["process"], ended - row["timings_s"]["denoise"], ended))
    return clips


def gaps_s(clips: Sequence[Clip]) -> list[float]:
    """Seconds from each clip's end to the beginning of the next on its card."""
    by_card: dict[int, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.began):
        by_card[clip.card].append(clip)
    pairs = (pair for row in by_card.values() for pair in pairwise(row))
    return [after.began - before.ended for before, after in pairs]


def _busy(http: httpx.Client) -> tuple[float, float]:
    """The busy seconds of all cards, just as they change, and that moment."""
    now = before = by_pool(metrics(http), "i2v_card_busy_seconds_total")[CARD]

    def changed() -> bool:
        nonlocal now
        now = by_pool(metrics(http), "i2v_card_busy_seconds_total")[CARD]
        return now != before

    _wait(changed, every_s=0.05)
    return now, time.time()


def _wait(condition: Callable[[], bool], every_s: float = 0.2) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the service does not take up its work")
        time.sleep(every_s)


if __name__ == "__main__":
    main()
