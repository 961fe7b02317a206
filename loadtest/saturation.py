"""How busy cards are while more waits than they can do, and what passes between two jobs of a card.

    python -m loadtest.saturation [--cards 2] [--out saturation.jsonl]
    python -m loadtest.saturation --model random-i2vgen-xl --card h200 --cards 1,2

For each length of job and number of cards a real service is started and given a deep queue: over emulated H100s, or
with a model over the cards that are there. "busy" is the cards' own count, `i2v_card_busy_seconds_total`, over the
seconds between two readings in which every card had work; "by stages" is what their clips' stages took of the same
seconds. A gap is from a clip's last stage to the next one's first on the same card, by the service's log: all that the
service does between two jobs. All are of the wall clock, so whatever else the machine does is in them; the load is
printed.
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
from serving.presets import EMULATED, I2VGEN_XL
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import Shape, seconds

SETTLED_S = 3.0
"""How much older than its reading a metric may be, and so what is left out at both ends."""
STANDARD = Shape(512, 512, 16, 50, guided=True)
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Length:
    """Jobs of one length: the standard preset on cards `speed` times as fast as they are, for `window_s` seconds."""

    name: str
    speed: float
    window_s: float
    promise: float | None


EMULATED_LENGTHS = (Length("standard", 1.0, 90.0, promise=0.98), Length("a third of it", 3.0, 45.0, promise=None))
REAL_LENGTHS = (Length("standard", 1.0, 60.0, promise=0.97),)


@dataclass(frozen=True)
class Clip:
    """One clip on one card: when its stages began and ended, epoch seconds."""

    card: int
    began: float
    ended: float
    timings_s: dict[str, float]
    job: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass(frozen=True)
class Run:
    """What one length of job and number of cards gave."""

    length: Length
    cards: int
    busy: float
    """The cards' own count, relative to the window."""
    window: tuple[float, float]
    """Epoch seconds."""
    clips: list[Clip]

    @property
    def per_minute(self) -> float:
        began, ended = self.window
        return sum(began < clip.ended <= ended for clip in self.clips) / (ended - began) * 60

    @property
    def by_stages(self) -> float:
        """Of the window, what the clips' stages took of it."""
        began, ended = self.window
        spent = sum(max(0.0, min(clip.ended, ended) - max(clip.began, began)) for clip in self.clips)
        return spent / (ended - began) / self.cards

    @property
    def kept(self) -> bool:
        return self.length.promise is None or self.busy >= self.length.promise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=EMULATED, help="what the cards run")
    parser.add_argument("--card", default="h100", choices=sorted(CARDS), help="the cards' class")
    parser.add_argument("--cards", default="2", help="how many, or several numbers to compare")
    parser.add_argument("--out", type=Path, default=Path("saturation.jsonl"), help="where the raw rows go")
    args = parser.parse_args()
    columns = ("jobs", "cards", "s each", "seconds", "clips/min", "busy", "by stages", "condition ms", "decode ms")
    table = Table(*columns, "gap p50 ms", "gap p99 ms", "machine's load")
    runs = []
    with args.out.open("w") as file:
        for cards in map(int, args.cards.split(",")):
            for length in EMULATED_LENGTHS if args.model == EMULATED else REAL_LENGTHS:
                print(f"{length.name}, {cards} cards: starting, then {length.window_s:.0f} s of it", flush=True)
                run = measure(length, Pool(args.card, most=cards, least=cards), args.model)
                about = {"length": length.name, "cards": cards, "busy_share": run.busy}
                file.writelines(json.dumps(about | asdict(clip)) + "\n" for clip in run.clips)
                table.add_row(*row_of(run))
                runs.append(run)
    Console(width=150).print(table)
    for run in runs:
        if run.length.promise is not None:
            said = f"{run.length.promise:.0%} busy with {run.length.name} jobs on {run.cards} cards"
            print(f"promised: {said}: {'kept' if run.kept else 'BROKEN'}")
    sys.exit(0 if all(run.kept for run in runs) else 1)


def row_of(run: Run) -> tuple[str, ...]:
    gaps = [gap * 1000 for gap in gaps_s(run.clips)]
    stages = [
        statistics.median(clip.timings_s.get(stage, 0.0) for clip in run.clips) * 1000
        for stage in ("condition", "decode")
    ]
    return (
        run.length.name,
        str(run.cards),
        f"{statistics.median(clip.seconds for clip in run.clips):.2f}",
        f"{run.length.window_s:.0f}",
        f"{run.per_minute:.1f}",
        f"{run.busy:.2%}",
        f"{run.by_stages:.2%}",
        *(f"{stage:.0f}" for stage in stages),
        f"{statistics.median(gaps):.0f}",
        f"{statistics.quantiles(gaps, n=100, method='inclusive')[98]:.0f}",
        f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
    )


def measure(length: Length, pool: Pool, model: str) -> Run:
    """The cards at work while all of them have some."""
    name, cards = pool.card, pool.most
    with tempfile.TemporaryDirectory(prefix="i2v-saturation-") as logs:
        with (
            service((pool,), length.speed, I2V_LOG_DIR=logs, I2V_MODEL=model) as url,
            Client(url) as client,
            httpx.Client(base_url=url, timeout=30) as http,
            ThreadPoolExecutor(4) as hands,
        ):
            _wait(lambda: by_pool(metrics(http), "i2v_cards").get(name) == cards)
            fields = {"prompt": "the camera pans to the left", "preset": "standard", "aspect_ratio": "1:1"}
            first = [hands.submit(client.submit, PICTURE, fields) for _ in range(cards + 1)]
            _wait(lambda: by_pool(metrics(http), "i2v_card_busy_seconds_total").get(name, 0.0) > 0)
            each_s = seconds(STANDARD, I2VGEN_XL.faster(length.speed).cost, CARDS[name].tflops)
            # Enough for the time that submitting takes, too.
            needed = cards * int(3 * length.window_s / each_s)
            all_jobs = first + [hands.submit(client.submit, PICTURE, fields) for _ in range(needed)]
            # Pictures are prepared on the same processors: what is measured is the cards' own rhythm after that.
            for job in all_jobs:
                job.result()
            time.sleep(SETTLED_S)
            before, began = _busy(http, name)
            time.sleep(length.window_s)
            after, ended = _busy(http, name)
            waiting = by_pool(metrics(http), "i2v_queue_jobs").get(name, 0.0)
        assert waiting > 0, "the queue ran dry: the share would be of idle cards"
        (log,) = Path(logs).glob("app_*.log")
        clips = [clip for clip in read_clips(log) if clip.ended > began]
    return Run(length, cards, (after - before) / (ended - began) / cards, (began, ended), clips)


def read_clips(log: Path) -> list[Clip]:
    """Each clip by its line in the service's log: written when its stages are done, with what they took."""
    clips = []
    for line in log.read_text().splitlines():
        row: dict[str, Any] = json.loads(line)
        if row["logger"] == "serving.rendering" and "timings_s" in row:
            ended = datetime.fromisoformat(row["time"]).timestamp()
            timings = row["timings_s"]
            began = ended - sum(timings.values()) - row["preempted_s"]
            clips.append(Clip(row["process"], began, ended, timings, row["job"]))
    return clips


def gaps_s(clips: Sequence[Clip]) -> list[float]:
    """Seconds from each clip's end to the beginning of the next on its card."""
    by_card: dict[int, list[Clip]] = defaultdict(list)
    for clip in sorted(clips, key=lambda clip: clip.began):
        by_card[clip.card].append(clip)
    pairs = (pair for row in by_card.values() for pair in pairwise(row))
    return [after.began - before.ended for before, after in pairs]


def _busy(http: httpx.Client, pool: str) -> tuple[float, float]:
    """The busy seconds of all cards, just as they change, and that moment."""
    now = before = by_pool(metrics(http), "i2v_card_busy_seconds_total")[pool]

    def changed() -> bool:
        nonlocal now
        now = by_pool(metrics(http), "i2v_card_busy_seconds_total")[pool]
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
