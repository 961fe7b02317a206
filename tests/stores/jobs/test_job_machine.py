"""Any order of calls leaves the store as a few lines of Python say it should be."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, event, update

from serving.errors import NotCancellable, ServerOverloaded, VideoNotFound
from serving.jobs.job import Held, Job, NewJob
from serving.jobs.store import JobStore
from serving.jobs.tables import jobs

MODELS = ("i2vgen-xl", "tiny")
PRIORITIES = ("interactive", "batch")
FITS = (("large",), ("large", "small"))
PLENTY_S = 1000.0
MOST_WAITING = 4


@dataclass
class Expected:
    """What a job should be."""

    id: str
    model: str
    priority: str
    fit: tuple[str, ...]
    status: str = "queued"
    attempt: int = 0
    crashes: int = 0
    progress: int = 0
    cancel: bool = False
    deleted: bool = False
    lapsed: bool = False
    code: str | None = None

    def seen(self) -> tuple[Any, ...]:
        return (self.id, self.status, self.attempt, self.crashes, self.progress, self.cancel, self.code)


def _seen(job: Job) -> tuple[Any, ...]:
    asked, code = job.cancel_requested, job.error_code
    return (job.id, str(job.status), job.attempt, job.crashes, job.progress, asked, code)


class StoreMachine(RuleBasedStateMachine):
    """Holds the store to `Expected`; jobs stand in `self.jobs` in order of acceptance."""

    ids = Bundle("ids")
    tokens = Bundle("tokens")

    def __init__(self, store: JobStore, make: Callable[..., NewJob]) -> None:
        super().__init__()
        self.store, self.make = store, make
        self.jobs: dict[str, Expected] = {}
        self._run(delete(jobs))

    def _run(self, statement: Any) -> None:
        self.store._database.write(lambda connection: connection.execute(statement))

    def _at_work(self, token: tuple[str, int]) -> Expected | None:
        job = self.jobs.get(token[0])
        return job if job and job.status == "in_progress" and job.attempt == token[1] else None

    def _visible(self, job_id: str) -> Expected | None:
        job = self.jobs.get(job_id)
        return None if job is None or job.deleted else job

    def _line(self, model: str, pool: str) -> list[Expected]:
        """In the order that cards of `pool` take them: no job grows due, and all have one owner and one size."""
        waiting = [job for job in self.jobs.values() if job.model == model and job.status == "queued"]
        able = [job for job in waiting if pool in job.fit]
        return sorted(able, key=lambda job: (PRIORITIES.index(job.priority), len(job.fit)))

    def _end(self, job: Expected, code: str) -> None:
        job.status, job.code = "failed", code
        if code == "cancelled":
            job.cancel = True

    def _let_go(self, job: Expected, charge: bool) -> None:
        job.lapsed = False
        job.crashes += charge
        if job.deleted:
            del self.jobs[job.id]
        elif job.cancel:
            self._end(job, "cancelled")
        elif charge and job.crashes >= 3:
            self._end(job, "worker_crashed")
        else:
            job.status, job.progress = "queued", 0

    @rule(
        target=ids,
        model=st.sampled_from(MODELS),
        priority=st.sampled_from(PRIORITIES),
        fit=st.sampled_from(FITS),
    )
    def insert(self, model: str, priority: str, fit: tuple[str, ...]) -> Any:
        new = self.make(model=model, priority=priority, estimates=dict.fromkeys(fit, 10.0))
        if sum(job.status == "queued" for job in self.jobs.values()) >= MOST_WAITING:
            with pytest.raises(ServerOverloaded):
                self.store.insert(new, max_waiting=MOST_WAITING)
            return multiple()
        inserted = self.store.insert(new, max_waiting=MOST_WAITING)
        self.jobs[new.id] = Expected(inserted.id, model, priority, fit)
        return new.id

    @rule(target=tokens, model=st.sampled_from(MODELS), pool=st.sampled_from(FITS[-1]))
    def claim(self, model: str, pool: str) -> Any:
        for job in list(self.jobs.values()):
            if job.lapsed:
                self._let_go(job, charge=True)
        claimed = self.store.claim(pool, model, "card", PLENTY_S)
        line = self._line(model, pool)
        if not line:
            assert claimed is None
            return multiple()
        assert claimed is not None
        job = line[0]
        job.status, job.attempt = "in_progress", job.attempt + 1
        assert (claimed.id, claimed.attempt, claimed.pool) == (job.id, job.attempt, pool)
        return claimed.id, claimed.attempt

    @rule(token=tokens)
    def lapse(self, token: tuple[str, int]) -> None:
        job = self._at_work(token)
        if job is not None:
            job.lapsed = True
            self._run(update(jobs).where(jobs.c.id == job.id).values(lease_until=0.0))

    @rule(token=tokens, progress=st.integers(0, 99))
    def renew(self, token: tuple[str, int], progress: int) -> None:
        job, held = self._at_work(token), self.store.renew(*token, PLENTY_S, progress=progress)
        if job is None:
            assert held is Held.LOST
            return
        assert held is (Held.CANCEL_REQUESTED if job.cancel else Held.HELD)
        assert self.store.held(*token) is held
        job.lapsed, job.progress = False, max(job.progress, progress)

    @rule(token=tokens)
    def complete(self, token: tuple[str, int]) -> None:
        job, done = self._at_work(token), self.store.complete(*token, {"by": token[1]})
        if job is None:
            other = self.jobs.get(token[0])
            assert done is bool(other and other.attempt == token[1] and other.status == "completed")
        elif job.deleted:
            assert not done
            del self.jobs[job.id]
        else:
            assert done
            job.status, job.progress, job.lapsed = "completed", 100, False

    @rule(token=tokens, code=st.sampled_from(["generation_failed", "cancelled"]))
    def fail(self, token: tuple[str, int], code: str) -> None:
        job, done = self._at_work(token), self.store.fail(*token, code, "so it was")
        if job is None:
            other = self.jobs.get(token[0])
            assert done is bool(other and other.attempt == token[1] and other.code == code)
            return
        assert done
        job.lapsed = False
        if job.deleted:
            del self.jobs[job.id]
        else:
            job.status, job.code = "failed", code

    @rule(token=tokens, charge=st.booleans())
    def release(self, token: tuple[str, int], charge: bool) -> None:
        job = self._at_work(token)
        released = self.store.release(*token, reason_code="exit", reason="it died", charge=charge)
        if job is not None:
            self._let_go(job, charge)
        expected = None if job is None else self.jobs.get(job.id)
        assert (released and released.status) == (expected and expected.status)

    @rule(job_id=ids)
    def cancel(self, job_id: str) -> None:
        job = self._visible(job_id)
        if job is None or job.status in ("completed", "failed"):
            with pytest.raises(VideoNotFound if job is None else NotCancellable):
                self.store.cancel(job_id)
            return
        self.store.cancel(job_id)
        job.cancel = True
        if job.status == "queued" or job.lapsed:
            job.lapsed = False
            self._end(job, "cancelled")

    @rule(job_id=ids)
    def delete(self, job_id: str) -> None:
        job = self._visible(job_id)
        if job is None:
            with pytest.raises(VideoNotFound):
                self.store.delete(job_id)
            return
        self.store.delete(job_id)
        if job.status == "in_progress" and not job.lapsed:
            job.deleted = job.cancel = True
        else:
            del self.jobs[job_id]

    @invariant()
    def the_store_is_as_expected(self) -> None:
        page, more = self.store.list(limit=100, newest_first=False)
        assert not more
        assert [_seen(job) for job in page] == [job.seen() for job in self.jobs.values() if not job.deleted]
        backlog = self.store.backlog()
        for model, pool in itertools.product(MODELS, FITS[-1]):
            waiting = self._line(model, pool)
            abandoned = [job for job in self.jobs.values() if job.lapsed and job.model == model and pool in job.fit]
            assert self.store.claimable(pool, model) == bool(waiting or abandoned)
            assert backlog.waiting(pool, model).jobs == len(waiting) + len(abandoned)
        for model in MODELS:
            line = self._line(model, "large")
            if line:
                # Every fit holds "large", so all of them stand in one line.
                last = max(line, key=lambda job: (PRIORITIES.index(job.priority), list(self.jobs).index(job.id)))
                assert self.store.queue_position(last.id) == len(line)


def test_any_order_of_calls(store: JobStore, new_job: Callable[..., NewJob]) -> None:
    engine = store._database.engine
    if engine.dialect.name == "sqlite":
        # The contract is under test here, not the disk.
        @event.listens_for(engine, "connect")
        def do_not_flush(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA synchronous=OFF")

        engine.dispose()
    run_state_machine_as_test(
        lambda: StoreMachine(store, new_job),
        settings=settings(
            max_examples=20,
            stateful_step_count=20,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
