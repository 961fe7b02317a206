"""What the service costs beside its cards: reads and submissions, against a bare Serve handler in the same run.

For reads both run side by side on this machine, one of them idle while the other is asked, and take turns; then the
bare handler, which has Serve's defaults if not asked for alike, and whose Ray takes processor time even so, is stopped.
The service's only card is emulated and at work on a long job, so that what is read and submitted waits. Reads are as
many as are answered on 16 connections; submissions are open-loop, of a JPEG of 512 px with the standard preset. Both
kinds of server are asked by the same load generator, this process, whose own processor time is told beside theirs.
"""

from __future__ import annotations

import asyncio
import gc
import io
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image
from sqlalchemy import insert

from deployments.child import ChildService
from deployments.demo import PICTURE
from loadtest import hammer
from loadtest.arrivals import steady
from loadtest.cpu import Spent, spent
from loadtest.emulated import Pool, child
from loadtest.listeners import listening
from loadtest.measured import Spread, spread
from loadtest.openloop import Progress
from loadtest.recording import record
from loadtest.rows import REFUSED
from loadtest.scenarios import EXTREME, STANDARD, Scenario, Stream
from loadtest.server import Target
from serving.client import Client
from serving.jobs.job import NewJob, new_job_id
from serving.jobs.store import open_store
from serving.jobs.tables import jobs, row_of
from serving.settings import Settings

READ_SHARE, SUBMIT_P99_S, SUBMITS, LISTENERS, WAITING = 0.6, 0.060, 20.0, 200, 10_000
PATIENCE_S = 10.0
"""For an answer to the last submission."""
SETTLE_S = 15.0
"""Ray goes on starting workers for a while after a server answers, and on stopping them when one has gone."""
SLOWED = 0.8
"""Of a rate before, what counts as not slowed: rates vary by so much on a machine that does other things."""
Told = Callable[[str], None]
Cost = tuple[float, float]
"""Milliseconds of processor time for each request: the server's in all its processes, and the load generator's."""


@dataclass(frozen=True)
class Figures:
    """What was measured while something else was so."""

    name: str
    reads: Sequence[float]
    """Answers a second, of each turn."""
    read_ms: Cost
    submit: Spread | None = None
    submit_ms: Cost | None = None
    refused: int = 0

    @property
    def read_rate(self) -> float:
        return statistics.median(self.reads)


@dataclass(frozen=True)
class Overhead:
    """All of it."""

    bare: Figures
    rows: Sequence[Figures]
    """Alone, with listeners, with many waiting: in this order."""

    @property
    def promises(self) -> list[tuple[str, bool]]:
        alone, *others = self.rows
        share = alone.read_rate / self.bare.read_rate
        told = [(f"status reads at {READ_SHARE:.0%} of a bare handler's rate ({share:.0%})", share >= READ_SHARE)]
        for row in self.rows:
            assert row.submit is not None
            kept = row.submit.p99 <= SUBMIT_P99_S and not row.refused
            told.append(
                (f"submits {row.name}: p99 within {SUBMIT_P99_S * 1000:.0f} ms ({row.submit.p99 * 1000:.0f})", kept)
            )
        for row in others:
            share = row.read_rate / alone.read_rate
            told.append((f"reads {row.name}: not slowed ({share:.0%} of alone)", share >= SLOWED))
        return told


def measure(turns: int, turn_s: float, submit_s: float, folder: Path, told: Told, *, alike: bool = False) -> Overhead:
    """
    Args:
        turns: of reads, of each of the two.
        turn_s: seconds of one.
        submit_s: seconds of submissions at a time.
        alike: the bare handler has the service's settings of Serve, not Serve's defaults.
    """
    settings = {"I2V_MAX_WAITING_JOBS": str(3 * WAITING), "I2V_LOG_LEVEL": "WARNING"}
    settings |= {"RAY_metrics_report_interval_ms": "10000"}  # Ray's own, as of a service that nobody tests
    gc.freeze()  # the pauses of this process would count as the server's
    told("starting the service and the bare handler")
    with child([Pool("rtx4090", 1, 1)], 1.0, **settings) as service, Client(service.url) as client:
        client.submit(PICTURE, {"prompt": "pan left", **EXTREME})
        waiting = client.submit(PICTURE, {"prompt": "pan left", **EXTREME})
        path = f"/v1/videos/{waiting['id']}"
        jpeg = folder / "512.jpg"
        folder.mkdir(parents=True, exist_ok=True)
        jpeg.write_bytes(_jpeg())
        target = Target(service.url, jpeg)

        def reads(name: str) -> Figures:
            told(f"reads {name}")
            reading = _Reading(service, path, turn_s)
            for _ in range(turns):
                reading.turn()
            return reading.figures(name)

        def submitted(figures: Figures) -> Figures:
            told(f"submits {figures.name}")
            return _submits(figures, service, target, submit_s, folder)

        with _bare(alike) as bare:
            time.sleep(SETTLE_S)
            told("reads, the two in turns")
            plain, alone = _Reading(bare, "/", turn_s), _Reading(service, path, turn_s)
            for reading in (plain, alone):
                asyncio.run(hammer.rate(reading.server.url, reading.path, 1.0))
            for _ in range(turns):
                plain.turn()
                alone.turn()
        time.sleep(SETTLE_S)
        rows = [submitted(alone.figures("alone"))]
        with listening(service.url, path, LISTENERS):
            rows.append(submitted(reads(f"with {LISTENERS} listeners")))
        _fill(service, waiting["id"])
        time.sleep(3.0)  # until every process has looked at the line once
        rows.append(submitted(reads(f"with {WAITING} waiting")))
    return Overhead(plain.figures("bare Serve handler"), rows)


class _Reading:
    """Turns of reads of one server, each on connections of its own."""

    def __init__(self, server: ChildService, path: str, turn_s: float) -> None:
        self.server, self.path = server, path
        self._turn_s = turn_s
        self._rates: list[float] = []
        self._spent = Spent()

    def turn(self) -> None:
        before = spent(self.server)
        self._rates.append(asyncio.run(hammer.rate(self.server.url, self.path, self._turn_s)))
        self._spent += spent(self.server) - before

    def figures(self, name: str) -> Figures:
        return Figures(name, self._rates, self._spent.each_ms(sum(self._rates) * self._turn_s))


@contextmanager
def _bare(alike: bool) -> Iterator[ChildService]:
    with tempfile.TemporaryDirectory(prefix="i2v-bare-") as folder:
        started = ChildService(Path(folder))
        with started.running(sys.executable, "-m", "loadtest.bare", *["--alike"] * alike):
            yield started


def _submits(figures: Figures, service: ChildService, target: Target, seconds: float, folder: Path) -> Figures:
    stream = Stream("submit", STANDARD, steady(SUBMITS, seconds), process="constant")
    requests = Scenario("submits", "", (stream,)).draw()
    about = {"scenario": f"submits {figures.name}"}
    into = folder / figures.name.replace(" ", "-")
    before = spent(service)
    after: list[Spent] = []

    def told(progress: Progress) -> bool:
        if progress.over and not after:  # what follows, to take back what waits, is no part of it
            after.append(spent(service))
        return False

    rows = record(into, target, requests, about, told, download=False, patience_s=PATIENCE_S).rows
    cost = (after[0] - before).each_ms(len(rows))
    # One that was not answered took longer than all others.
    took_s = [math.inf if row.answered is None else row.answered - row.at for row in rows]
    refused = sum(row.outcome == REFUSED for row in rows)
    return replace(figures, submit=spread(took_s), submit_ms=cost, refused=refused)


def _fill(service: ChildService, like: str) -> None:
    """Many more jobs like one that waits, put into the service's database in one transaction."""
    settings = Settings(data_dir=service.folder / "data")
    with closing(open_store(settings.database)) as store:
        job = store.get(like)
        now = time.time()
        rows = [
            row_of(
                NewJob(
                    id=new_job_id(now + n * 1e-6),
                    request=job.request,
                    picture_key=job.picture_key,
                    source_size=job.source_size,
                    estimates=job.estimates,
                    owner=job.owner,
                ),
                now + n * 1e-3,
            )
            for n in range(WAITING)
        ]
        store._database.write(lambda connection: connection.execute(insert(jobs), rows))


def _jpeg() -> bytes:
    file = io.BytesIO()
    with Image.open(PICTURE) as picture:
        picture.convert("RGB").resize((512, 512)).save(file, "JPEG", quality=90)
    return file.getvalue()
