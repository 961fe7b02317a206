"""A worker's lease, over a real store."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from serving.errors import StorageUnavailable
from serving.jobs.job import Held, Job, NewJob
from serving.jobs.lease import STAGES, JobLease, overall_progress
from serving.jobs.store import JobStore
from serving.jobs.tables import jobs

Make = Callable[..., NewJob]
LONG_S = 600.0
"""Longer than any test here takes."""


@pytest.fixture
def job(store: JobStore, new_job: Make) -> Job:
    store.insert(new_job())
    claimed = store.claim("default", "i2vgen-xl", "card-1", 30.0)
    assert claimed is not None
    return claimed


def wait_until(true: Callable[[], object], within_s: float = 60.0) -> None:
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < within_s, "it never was"
        time.sleep(0.005)


def lease_until(store: JobStore, job: Job) -> float:
    """By the leases' clock."""
    found = store._database.read(lambda c: c.scalar(select(jobs.c.lease_until).where(jobs.c.id == job.id)))
    assert found is not None
    return float(found)


def test_it_holds_the_job_for_longer_than_one_lease(store: JobStore, job: Job) -> None:
    claimed = lease_until(store, job)
    with JobLease(store, job, lease_s=LONG_S, interval_s=0.1) as lease:
        wait_until(lambda: lease_until(store, job) > claimed)
        first = lease_until(store, job)
        wait_until(lambda: lease_until(store, job) > first + 1.0)
        assert not lease.should_stop()
        assert lease.stop_reason is None
    assert store.held(job.id, job.attempt) is Held.HELD


def test_a_short_lease_is_renewed_before_its_end_however_long_the_interval(store: JobStore, job: Job) -> None:
    claimed, lease_s, gap_s = lease_until(store, job), 1.5, 0.1
    lease = JobLease(store, job, lease_s=lease_s, interval_s=LONG_S, least_gap_s=gap_s)
    whole, asked = lease._changed.wait_for, []

    def wait_for(true: Callable[[], bool], seconds: float) -> bool:
        asked.append(seconds)
        return whole(true, seconds)

    # What it means to wait, as a busy machine may let it wait for longer.
    lease._changed.wait_for = wait_for  # type: ignore[method-assign]
    with lease:
        wait_until(lambda: lease_until(store, job) < claimed)  # which was for longer
        second = lease_until(store, job)
        wait_until(lambda: lease_until(store, job) > second)
    assert gap_s + max(asked) < lease_s / 2  # one renewal may fail


def test_reports_are_seen_soon_and_merged(store: JobStore, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    writes = _count(store, "renew", monkeypatch)
    began = time.monotonic()
    with JobLease(store, job, lease_s=LONG_S, interval_s=LONG_S, least_gap_s=0.2) as lease:
        for step in range(1, 51):
            lease.report("denoising", step, 50)
            time.sleep(0.01)
        wait_until(lambda: store.get(job.id).step == 50)
        assert len(writes) <= (time.monotonic() - began) / 0.2 + 1
        told = store.get(job.id)
        assert (told.stage, told.steps, told.progress) == ("denoising", 50, STAGES["denoising"][1])
        settled = len(writes)
        lease.report("denoising", 50, 50)
        time.sleep(0.4)
        assert len(writes) == settled


def test_a_pause_is_told_where_the_work_stands(store: JobStore, job: Job) -> None:
    def stands() -> tuple[str | None, int, int]:
        found = store.get(job.id)
        return found.stage, found.step, found.progress

    with JobLease(store, job, lease_s=LONG_S, least_gap_s=0.01) as lease:
        lease.report("denoising", 5, 10)
        with lease.paused():
            wait_until(lambda: stands() == ("paused", 5, 46))
        wait_until(lambda: stands() == ("denoising", 5, 46))
        pause = lease.paused()
        pause.__enter__()
        wait_until(lambda: stands() == ("paused", 5, 46))
        error = ZeroDivisionError()
        assert not pause.__exit__(type(error), error, None)
        wait_until(lambda: stands() == ("denoising", 5, 46))


def test_a_cancel_is_known_between_slow_steps(store: JobStore, job: Job) -> None:
    with JobLease(store, job, lease_s=LONG_S, interval_s=LONG_S) as lease:
        lease.report("denoising", 1, 50)
        wait_until(lambda: store.get(job.id).step == 1)
        store.cancel(job.id)
        wait_until(lease.should_stop)  # long before the next renewal
        assert lease.stop_reason == "cancelled"
        assert store.fail(job.id, job.attempt, "cancelled", "The job was cancelled.")


def test_a_deleted_job_is_a_cancelled_one(store: JobStore, job: Job) -> None:
    with JobLease(store, job) as lease:
        store.delete(job.id)
        wait_until(lease.should_stop)
        assert lease.stop_reason == "cancelled"


def test_a_job_taken_back_is_lost(store: JobStore, job: Job) -> None:
    with JobLease(store, job) as lease:
        store.release(job.id, job.attempt, reason_code="hung", reason="no step for 60 s", charge=True)
        wait_until(lease.should_stop)
        assert lease.stop_reason == "lost"
    with JobLease(store, job) as late:
        assert late.stop_reason == "lost"


def test_an_outage_shorter_than_the_lease_stops_nothing(
    store: JobStore, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    with JobLease(store, job, lease_s=LONG_S, interval_s=0.1) as lease:
        with monkeypatch.context() as outage:
            _break(store, outage)
            lease.report("denoising", 7, 50)
            time.sleep(0.6)
            assert not lease.should_stop()
        wait_until(lambda: store.get(job.id).step == 7)
        time.sleep(0.2)
        assert not lease.should_stop()


def test_an_outage_longer_than_the_lease_loses_the_job(
    store: JobStore, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.renew(job.id, job.attempt, 0.4)
    with JobLease(store, job, lease_s=0.4, interval_s=0.1) as lease:
        _break(store, monkeypatch)
        wait_until(lease.should_stop)
        assert lease.stop_reason == "lost"
        monkeypatch.undo()
        wait_until(lambda: store.claimable("default", job.model))


def test_work_that_is_cancelled_while_it_takes_its_lease_holds_nothing(
    sqlite_store: JobStore, new_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = sqlite_store.insert(new_job())
    looking, look = threading.Event(), threading.Event()

    def slow(*_: object) -> Held:
        looking.set()
        look.wait(120)
        return Held.HELD

    monkeypatch.setattr(sqlite_store, "held", slow)
    lease = JobLease(sqlite_store, job)

    async def work() -> None:
        async with lease:
            pytest.fail("it was cancelled before")

    async def cancelled() -> None:
        task = asyncio.create_task(work())
        await asyncio.to_thread(looking.wait, 120)
        task.cancel()
        await asyncio.wait([task])
        look.set()

    asyncio.run(cancelled())
    wait_until(lambda: not any(job.id in thread.name for thread in threading.enumerate()))


def test_progress_covers_the_stages_in_order() -> None:
    assert overall_progress("starting", 0, 0) == 0
    bounds = [bound for stage in STAGES.values() for bound in stage]
    assert bounds == sorted(bounds)
    for (_, before), (after, _) in zip(list(STAGES.values())[:-1], list(STAGES.values())[1:], strict=True):
        assert before == after
    halves = [overall_progress("denoising", step, 50) for step in range(51)]
    assert halves == sorted(halves)
    assert overall_progress("denoising", 25, 50) == 46
    assert overall_progress("paused", 25, 50) == 46
    assert overall_progress("encoding", 9, 5) == 99


def _count(store: JobStore, name: str, monkeypatch: pytest.MonkeyPatch) -> list[None]:
    calls: list[None] = []
    method = getattr(store, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return method(*args, **kwargs)

    monkeypatch.setattr(store, name, counted)
    return calls


def _break(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise StorageUnavailable

    monkeypatch.setattr(store, "renew", broken)
    monkeypatch.setattr(store, "held", broken)
