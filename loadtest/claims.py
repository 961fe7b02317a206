"""How long the job store takes among many waiting jobs, without Ray and without a GPU.

    python -m loadtest.claims [--jobs 10000] [--owners 1,20,1000] [--postgresql postgresql+psycopg://user@host/EMPTY]

SQLite runs in a new temporary folder. The PostgreSQL database must be empty, and is left full. A call's figure is
its whole time; "flush" is the median time of one flush of a small write to that folder's disk, which each SQLite
write waits for at least once. `--no-flush` asks both databases not to wait for the disk, which shows the rest. The
first calls of each kind, in which statements are compiled, are not counted.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, insert, text

from serving.jobs.engines import fsync_seconds
from serving.jobs.job import NewJob
from serving.jobs.store import JobStore, open_store
from serving.jobs.tables import jobs, row_of
from serving.request import VideoRequest
from serving.scheduling.forecast import Cards, starts

MODEL = "i2vgen-xl"
WARM_UP = 30
POOLS = ("h100", "rtx4090", "rtx3060")
# Seconds by pool, and how many jobs of a hundred have them: sizes that two, one and three classes of card can hold.
KINDS: tuple[tuple[int, dict[str, float]], ...] = (
    (60, {"rtx3060": 126.0, "rtx4090": 30.0, "h100": 6.4}),
    (30, {"rtx4090": 50.0, "h100": 10.6}),
    (10, {"h100": 69.0}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--owners", default="1,20,1000", help="how many owners the jobs have; a table for each")
    parser.add_argument("--calls", type=int, default=300, help="calls of each kind that are timed")
    parser.add_argument("--postgresql", help="SQLAlchemy URL of an empty database")
    parser.add_argument("--no-flush", action="store_true")
    args = parser.parse_args()
    print(f"{'database':<12}{'owners':>8}  {'call':<16}{'p50 ms':>8}{'p99 ms':>8}{'worst':>8}")
    for owners in (int(number) for number in args.owners.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            flush_ms = fsync_seconds(Path(folder)) * 1000
            measure("sqlite", f"sqlite:///{folder}/jobs.db", owners, args)
            print(f"{'sqlite':<12}{owners:>8}  {'(flush)':<16}{flush_ms:>8.2f}")
        if args.postgresql:
            measure("postgresql", args.postgresql, owners, args)


def measure(name: str, url: str, owners: int, args: argparse.Namespace) -> None:
    """Fill the store, time its calls, and print one line for each."""
    with closing(open_store(url)) as store:
        if args.no_flush:
            do_not_flush(store)
        fill(store, args.jobs, owners)
        for call, times_ms in timed(store, args.calls, owners):
            tail = statistics.quantiles(times_ms, n=100)[98]
            figures = f"{statistics.median(times_ms):>8.2f}{tail:>8.2f}{max(times_ms):>8.2f}"
            print(f"{name:<12}{owners:>8}  {call:<16}{figures}", flush=True)


def fill(store: JobStore, count: int, owners: int) -> None:
    """Empty the store, and put `count` waiting jobs in, as `insert` would, in one transaction."""
    now = time.time()
    rows = [row_of(new_job(owners), now - 3600.0 + 3600.0 * number / count) for number in range(count)]

    def refill(connection: Connection) -> None:
        for table in ("jobs", "usage", "workers"):
            connection.execute(text(f"DELETE FROM {table}"))  # noqa: S608 - names of our own
        for start in range(0, count, 500):
            connection.execute(insert(jobs), rows[start : start + 500])

    store._database.write(refill)
    with store._database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        # What autovacuum does a minute later.
        connection.execute(text("VACUUM ANALYZE" if connection.dialect.name == "postgresql" else "ANALYZE"))


def new_job(owners: int) -> NewJob:
    (_, estimates) = random.choices(KINDS, weights=[share for share, _ in KINDS])[0]
    factor = random.uniform(0.5, 2.0)
    return NewJob(
        request=REQUEST.model_copy(update={"priority": random.choice(("interactive", "interactive", "batch"))}),
        picture_key="pictures/0.png",
        source_size=(1200, 800),
        estimates={pool: seconds * factor for pool, seconds in estimates.items()},
        owner=f"owner-{random.randrange(owners)}",
        deadline=time.time() + 600 if random.random() < 0.05 else None,
    )


def timed(store: JobStore, calls: int, owners: int) -> Iterator[tuple[str, list[float]]]:
    """The name and the times in milliseconds of each kind of call; eight jobs are in progress at most."""
    held: list[tuple[str, int]] = []
    claims: list[float] = []
    completions: list[float] = []
    polls: list[float] = []
    for number in range(WARM_UP + calls):
        pool = POOLS[number % 3]
        with clocked(polls):
            store.claimable(pool, MODEL)
        with clocked(claims):
            job = store.claim(pool, MODEL, "loadtest", 600.0)
        if job is not None:
            held.append((job.id, job.attempt))
        if len(held) >= 8:
            with clocked(completions):
                store.complete(*held.pop(0), {})
    yield "claim", claims[WARM_UP:]
    yield "claimable", polls[WARM_UP:]
    yield "complete", completions[WARM_UP:]

    def insert_bounded(number: int) -> None:
        store.insert(newest[number], max_waiting=10**9, max_waiting_s=1e12, max_owner_s=1e12)

    newest = [new_job(owners) for _ in range(WARM_UP + calls)]
    yield "insert", repeated(lambda number: store.insert(newest[number]), calls)
    newest = [new_job(owners) for _ in range(WARM_UP + calls)]
    yield "insert bounded", repeated(insert_bounded, calls)
    yield "queue_position", repeated(lambda number: store.queue_position(newest[number].id), calls)
    yield "backlog", repeated(lambda _: store.backlog(), calls)
    yield "outlook", repeated(lambda _: store.outlook(MODEL, POOLS, KINDS[0][1], owner="owner-0"), calls)
    seen = store.outlook(MODEL, POOLS, KINDS[0][1], owner="owner-0")
    cards = [Cards(pool, (0.0,) * 4, seen.usage[pool]) for pool in POOLS]
    yield "forecast", repeated(lambda _: starts(cards, seen.waiting, seen.job, seen.now), calls)


def repeated(call: Callable[[int], Any], times: int) -> list[float]:
    found: list[float] = []
    for number in range(WARM_UP + times):
        with clocked(found):
            call(number)
    return found[WARM_UP:]


@contextmanager
def clocked(times_ms: list[float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    times_ms.append((time.perf_counter() - started) * 1000)


def do_not_flush(store: JobStore) -> None:
    engine = store._database.engine
    statement = "PRAGMA synchronous=OFF" if engine.dialect.name == "sqlite" else "SET synchronous_commit = off"

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.cursor().execute(statement)
        if engine.dialect.name == "postgresql":
            connection.commit()

    engine.dispose()


REQUEST = VideoRequest(
    model=MODEL,
    prompt="the dress turns slowly",
    negative_prompt="Distorted, discontinuous, Ugly, blurry, low resolution, motionless, static",
    preset="standard",
    width=512,
    height=512,
    fit="crop",
    num_frames=16,
    fps=8,
    num_inference_steps=50,
    guidance_scale=9.0,
    seed=7,
    format="mp4",
    priority="interactive",
    metadata={},
)

if __name__ == "__main__":
    main()
