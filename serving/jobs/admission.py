"""Takes jobs in, up to a bound; a refusal says when to come back.

Every function runs inside the caller's transaction. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, insert, select, text

from serving.errors import ServerOverloaded
from serving.jobs import roll
from serving.jobs.clock import StoreClock
from serving.jobs.job import Job, JobStatus, NewJob
from serving.jobs.tables import job_of, jobs, row_of

SHORTEST_RETRY_S, LONGEST_RETRY_S = 1.0, 600.0
_INSERT_LOCK = 0x69327671


def admit(connection: Connection, clock: StoreClock, job: NewJob, max_waiting: int | None) -> Job:
    if max_waiting is not None and connection.dialect.name == "postgresql":
        # Two inserts that cannot see each other yet would both take the last place.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _INSERT_LOCK})
    row = connection.execute(select(jobs).where(jobs.c.id == job.id)).mappings().first()
    if row is None:
        if max_waiting is not None:
            _refuse_beyond(connection, clock, max_waiting)
        row = connection.execute(insert(jobs).values(row_of(job)).returning(jobs)).mappings().one()
    return job_of(row)


def _refuse_beyond(connection: Connection, clock: StoreClock, max_waiting: int) -> None:
    waiting = jobs.c.status == JobStatus.QUEUED
    line = select(jobs.c.seq).where(waiting).limit(max_waiting).subquery()
    if (connection.scalar(select(func.count()).select_from(line)) or 0) < max_waiting:
        return
    # A place is free when a card takes the next job: each does so once in the time a job needs.
    mean_s = connection.scalar(select(func.avg(jobs.c.estimate_s)).where(waiting)) or SHORTEST_RETRY_S
    cards = max(1, len(roll.present(connection, clock, "generator", roll.PRESENT_S)))
    wait_s = min(max(mean_s / cards, SHORTEST_RETRY_S), LONGEST_RETRY_S)
    raise ServerOverloaded(
        f"The queue is full: {max_waiting} jobs are waiting; try again in {wait_s:.0f} s.",
        retry_after_s=wait_s,
    )
