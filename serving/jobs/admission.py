"""Takes jobs in, up to bounds; a refusal says when to come back.

Every function runs inside the caller's transaction. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Integer, ScalarSelect, Select, bindparam, case, func, insert, select, text
from sqlalchemy.sql.dml import ReturningInsert

from serving.errors import RateLimited, ServerOverloaded
from serving.jobs import roll, spending, submissions
from serving.jobs.clock import StoreClock
from serving.jobs.job import Job, JobStatus, NewJob
from serving.jobs.tables import job_of, jobs, row_of

SHORTEST_RETRY_S, LONGEST_RETRY_S = 1.0, 600.0
_INSERT_LOCK = 0x69327671


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait; None bounds nothing. A job is taken while less waits, so the last one may reach beyond."""

    jobs: int | None = None
    gpu_s: float | None = None
    owner_gpu_s: float | None = None
    """Of one owner."""
    owner_day_s: float | None = None
    """GPU seconds one owner may have in a day, what waits and what is in progress included."""

    @property
    def any(self) -> bool:
        return self != Bounds()


def admit(connection: Connection, clock: StoreClock, job: NewJob, bounds: Bounds) -> Job:
    if bounds.any and connection.dialect.name == "postgresql":
        # Two inserts that cannot see each other yet would both take the last place.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _INSERT_LOCK})
    row = connection.execute(_same_statement(), {"id": job.id}).mappings().first()
    if row is None:
        if bounds.any:
            check_room(connection, clock, job.owner, bounds)
        new = row_of(job, _ranked_at(connection, clock))
        row = connection.execute(_insert_statement(), new).mappings().one()
        if job.submission is not None:
            submissions.settle(connection, job.submission, job.id, clock.wall())
    return job_of(row)


@functools.cache
def _same_statement() -> Select[Any]:
    return select(jobs).where(jobs.c.id == bindparam("id"))


@functools.cache
def _insert_statement() -> ReturningInsert[Any]:
    return insert(jobs).returning(jobs)


def _ranked_at(connection: Connection, clock: StoreClock) -> float:
    now, before = connection.execute(select(clock.wall(), _last())).one()
    return max(float(now), float(before or 0.0))


@functools.cache
def _last() -> ScalarSelect[Any]:
    return select(jobs.c.ranked_at).order_by(jobs.c.seq.desc()).limit(1).scalar_subquery()


def check_room(connection: Connection, clock: StoreClock, owner: str, bounds: Bounds) -> None:
    """Refuse what would be one job too many."""
    if bounds.owner_day_s is not None:
        spending.check(connection, clock, owner, bounds.owner_day_s)
    # In a long line a count, which need not go beyond the bound, costs a part of what the sums below do.
    if bounds.gpu_s is None and bounds.owner_gpu_s is None and not _full(connection, bounds.jobs):
        return
    waiting = select(jobs.c.owner, jobs.c.estimate_s).where(jobs.c.status == JobStatus.QUEUED).subquery()
    mine = func.sum(case((waiting.c.owner == owner, waiting.c.estimate_s), else_=0.0))
    count, total_s, owner_s = connection.execute(select(func.count(), func.sum(waiting.c.estimate_s), mine)).one()
    if count == 0:
        return
    mean_s = total_s / count
    if bounds.owner_gpu_s is not None and owner_s >= bounds.owner_gpu_s:
        # A fair share of the cards: the owners that wait are served alike.
        owners = connection.scalar(select(func.count(waiting.c.owner.distinct()))) or 1
        wait_s = _wait_s(connection, clock, max(owner_s - bounds.owner_gpu_s, mean_s) * owners)
        raise RateLimited(
            f"Your waiting jobs need {owner_s:.0f} s of GPU time, and {bounds.owner_gpu_s:.0f} s are allowed; "
            f"try again in {wait_s:.0f} s.",
            retry_after_s=wait_s,
        )
    if bounds.jobs is not None and count >= bounds.jobs:
        # A place is free when a card takes the next job: each does so once in the time a job needs.
        wait_s = _wait_s(connection, clock, mean_s)
        raise ServerOverloaded(
            f"The queue is full: {bounds.jobs} jobs are waiting; try again in {wait_s:.0f} s.", retry_after_s=wait_s
        )
    if bounds.gpu_s is not None and total_s >= bounds.gpu_s:
        wait_s = _wait_s(connection, clock, max(total_s - bounds.gpu_s, mean_s))
        raise ServerOverloaded(
            f"The queue is full: {total_s:.0f} s of GPU time are waiting; try again in {wait_s:.0f} s.",
            retry_after_s=wait_s,
        )


def _full(connection: Connection, most: int | None) -> bool:
    """Whether as many jobs wait."""
    return most is not None and (connection.scalar(_count_statement(), {"most": most}) or 0) >= most


@functools.cache
def _count_statement() -> Select[Any]:
    waiting = select(jobs.c.seq).where(jobs.c.status == JobStatus.QUEUED).limit(bindparam("most", type_=Integer))
    return select(func.count()).select_from(waiting.subquery())


def _wait_s(connection: Connection, clock: StoreClock, gpu_s: float) -> float:
    """Seconds until the cards that are there have served `gpu_s`.

    Estimates are of the fastest pool that can hold a job, and each card counts as one such: where slower cards do
    part of the work, the queue is still full when the client comes back, and says so again.
    """
    cards = max(1, len(roll.present(connection, clock, "generator", roll.PRESENT_S)))
    return min(max(gpu_s / cards, SHORTEST_RETRY_S), LONGEST_RETRY_S)
