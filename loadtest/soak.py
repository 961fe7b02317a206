"""Whether memory stays flat: hours of steady load on a real service over emulated cards, by kind of process.

Clips are submitted, followed and downloaded; they expire soon, so that the reaper works too. What counts is resident
memory once everything has warmed up: the last quarter of the time against the one before.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from deployments.child import ChildService
from deployments.demo import PICTURE
from loadtest.arrivals import steady
from loadtest.emulated import Pool, child
from loadtest.openloop import Told
from loadtest.recording import record
from loadtest.rows import COMPLETED
from loadtest.scenarios import PREVIEW, Scenario, Stream
from loadtest.server import Target

MIB = 2**20
GROWTH_SHARE, GROWTH_MIB = 0.03, 10.0
"""What one kind of process may have grown by between the two parts, whichever is more."""
RATE, SPEED = 2.0, 40.0
"""Requests a second, and how fast the cards are: each clip takes two thirds of a second."""
SAMPLE_S = 5.0
SAMPLES = "memory.jsonl"
Sample = tuple[float, Mapping[str, float]]
"""Seconds since the start, and MiB by kind of process."""


@dataclass(frozen=True)
class Grown:
    """One kind of process."""

    kind: str
    before_mib: float
    after_mib: float
    hours: float
    """Between the middles of the two parts."""

    @property
    def mib_an_hour(self) -> float:
        return (self.after_mib - self.before_mib) / self.hours if self.hours else 0.0

    @property
    def flat(self) -> bool:
        return self.after_mib - self.before_mib <= max(GROWTH_SHARE * self.before_mib, GROWTH_MIB)


@dataclass(frozen=True)
class Soaked:
    """A whole soak."""

    grown: Sequence[Grown]
    requests: int
    completed: int

    @property
    def kept(self) -> bool:
        return self.completed == self.requests and all(one.flat for one in self.grown)


def soak(seconds: float, rate: float, folder: Path, told: Told) -> Soaked:
    """Load a service of its own for so long; `folder` gets its rows and memory.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    stream = Stream("preview", PREVIEW, steady(rate, seconds))
    # A quarter of an hour after their end clips are gone, and their records too.
    settings = {"I2V_RETENTION_DAYS": str(0.25 / 24), "I2V_RECORD_DAYS": "0", "I2V_LOG_LEVEL": "WARNING"}
    with child([Pool("rtx4090", 2, 2)], SPEED, **settings) as service:
        samples: list[Sample] = []
        over = threading.Event()
        watch = threading.Thread(target=_watch, args=(service, samples, over, folder / SAMPLES), daemon=True)
        watch.start()
        requests = Scenario("soak", "", (stream,)).draw()
        run = record(folder, Target(service.url, PICTURE), requests, {"scenario": "soak"}, told)
        over.set()
        watch.join(2 * SAMPLE_S)
    completed = sum(row.outcome == COMPLETED for row in run.rows)
    return Soaked(growth(samples, seconds), len(run.rows), completed)


def growth(samples: Iterable[Sample], seconds: float) -> list[Grown]:
    """Of each kind of process that was there throughout: medians of the third quarter and of the last.

    Those that come and go, such as FFmpeg for a clip, are in some samples by chance, and keep nothing.
    """
    parts: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    taken = [0, 0]
    for at, by_kind in samples:
        if seconds / 2 <= at <= seconds:
            taken[at >= 0.75 * seconds] += 1
            for kind, mib in by_kind.items():
                parts[kind][at >= 0.75 * seconds].append(mib)
    hours = seconds / 4 / 3600
    return [
        Grown(kind, median(before), median(after), hours)
        for kind, (before, after) in sorted(parts.items())
        if 2 * len(before) > taken[0] and 2 * len(after) > taken[1]
    ]


def _watch(service: ChildService, samples: list[Sample], over: threading.Event, path: Path) -> None:
    began = time.monotonic()
    with path.open("w") as file:
        while not over.is_set():
            sample = (time.monotonic() - began, memory(service.processes()))
            samples.append(sample)
            file.write(json.dumps({"t": round(sample[0], 1), "mib": sample[1]}) + "\n")
            file.flush()
            over.wait(SAMPLE_S)


def memory(processes: Iterable[psutil.Process]) -> dict[str, float]:
    """MiB resident by kind of process; those that have just ended are left out."""
    found: dict[str, float] = defaultdict(float)
    for process in processes:
        try:
            found[kind_of(process)] += process.memory_info().rss / MIB
        except psutil.Error:
            continue
    return {kind: round(mib, 1) for kind, mib in found.items()}


def kind_of(process: psutil.Process) -> str:
    """Such as "Ingress" of a replica, "ProxyActor" of another of Ray's actors, else the command's own name."""
    title = " ".join(process.cmdline())
    replica = re.match(r"ray::ServeReplica:\w+:(\w+)", title)
    if replica:
        return replica[1]
    actor = re.match(r"ray::(\w+)", title)
    return actor[1] if actor else process.name()
