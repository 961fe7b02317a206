"""Many processes on one store: nothing is claimed twice, nothing acknowledged is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import racers
from sqlalchemy import select

from serving.jobs.job import JobStatus, NewJob
from serving.jobs.store import JobStore, open_store
from serving.jobs.tables import jobs

Make = Callable[..., NewJob]
PROCESSES = 8


def test_eight_processes_of_two_pools_claim_each_job_once(store: JobStore, store_url: str, new_job: Make) -> None:
    fits = (("large",), ("small",), ("large", "small"))
    ids = [
        store.insert(
            new_job(
                estimates=dict.fromkeys(fits[n % 3], 10.0),
                owner=f"owner-{n % 5}",
                priority="batch" if n % 7 == 0 else "interactive",
                deadline=time.time() + 60 if n % 4 == 0 else None,
            )
        ).id
        for n in range(200)
    ]
    pools = ["large", "small"] * (PROCESSES // 2)
    found = racers.race(racers.claim_all, [(store_url, pool) for pool in pools])
    claims = [claim for claims in found for claim in claims]
    assert sorted(claims) == sorted((job_id, 1) for job_id in ids)
    assert all(store.get(job_id).status is JobStatus.COMPLETED for job_id in ids)


def test_a_card_takes_the_next_job_while_another_takes_the_first(
    postgres_store: JobStore, postgres_url: str, new_job: Make
) -> None:
    """One group alone: whoever finds its head locked goes on to the one behind it, and waits for nobody."""
    first, second = (postgres_store.insert(new_job()).id for _ in range(2))
    with closing(open_store(postgres_url)) as other, other._database.engine.begin() as connection:
        connection.execute(select(jobs).where(jobs.c.id == first).with_for_update())
        claimed = postgres_store.claim("default", "i2vgen-xl", "card", 30.0)
        assert claimed is not None
        assert claimed.id == second
        assert postgres_store.claim("default", "i2vgen-xl", "card", 30.0) is None


def test_the_bound_holds_under_racing_inserts(store: JobStore, store_url: str, new_job: Make) -> None:
    request = new_job().request
    accepted = racers.race(racers.insert_many, [(store_url, request, 10, {"max_waiting": 25})] * 4)
    assert sum(accepted) == 25
    assert store.backlog().total.jobs == 25


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_eight_processes_start_on_an_empty_database(kind: str, request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("sqlite_url" if kind == "sqlite" else "empty_postgres_url")
    assert racers.race(racers.open_and_count, [(url,)] * PROCESSES) == [0] * PROCESSES
    with closing(open_store(url)) as store:
        store.ping()


def test_a_killed_writer_loses_nothing_acknowledged(store: JobStore, store_url: str, new_job: Make) -> None:
    acknowledged: list[str] = []
    for _ in range(2):
        writer = subprocess.Popen(
            [sys.executable, str(Path(racers.__file__)), store_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYTHONPATH": racers.SEARCH_PATH},
        )
        assert writer.stdin is not None
        assert writer.stdout is not None
        with writer.stdin as stdin:
            stdin.write(new_job().request.model_dump_json().encode())
        first = b"".join(writer.stdout.readline() for _ in range(5))
        writer.send_signal(signal.SIGKILL)
        said = first + writer.stdout.read()
        writer.wait()
        writer.stdout.close()
        acknowledged += [line.decode() for line in said.split(b"\n") if len(line) == len(new_job().id)]
    assert len(acknowledged) >= 10
    assert all(store.get(job_id).status is JobStatus.QUEUED for job_id in acknowledged)
    # At most the one write that each kill cut off was stored without being acknowledged.
    assert len(acknowledged) <= store.backlog().total.jobs <= len(acknowledged) + 2
