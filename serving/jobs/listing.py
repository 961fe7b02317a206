"""Reads: one job, a page of jobs, a place in the line.

Every function takes no lock. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, or_, select

from serving.errors import VideoNotFound
from serving.jobs import line
from serving.jobs.job import Job, JobStatus, accepted_at
from serving.jobs.queue import queue_of
from serving.jobs.tables import job_of, jobs, visible


def get(connection: Connection, job_id: str) -> Job:
    row = connection.execute(select(jobs).where(visible(job_id))).mappings().first()
    if row is None:
        raise VideoNotFound
    return job_of(row)


def follow(connection: Connection, job_id: str) -> tuple[Job, int | None]:
    job = get(connection, job_id)
    return job, queue_position(connection, job_id) if job.status is JobStatus.QUEUED else None


def held_by(connection: Connection, worker_prefix: str) -> tuple[Job, ...]:
    mine = jobs.c.worker.startswith(worker_prefix, autoescape=True)
    held = select(jobs).where(jobs.c.status == JobStatus.IN_PROGRESS, mine)
    return tuple(job_of(row) for row in connection.execute(held).mappings())


def page(
    connection: Connection, after: str | None, limit: int, newest_first: bool, owner: str | None
) -> tuple[tuple[Job, ...], bool]:
    order = jobs.c.seq.desc() if newest_first else jobs.c.seq.asc()
    statement = select(jobs).where(~jobs.c.deleted).order_by(order).limit(limit + 1)
    if owner is not None:
        statement = statement.where(jobs.c.owner == owner)
    if after is not None:
        statement = statement.where(_beyond(connection, after, newest_first))
    rows: Sequence[RowMapping] = connection.execute(statement).mappings().all()
    return tuple(job_of(row) for row in rows[:limit]), len(rows) > limit


def _beyond(connection: Connection, after: str, newest_first: bool) -> ColumnElement[bool]:
    seq: int | None = connection.scalar(select(jobs.c.seq).where(jobs.c.id == after))
    if seq is not None:
        return jobs.c.seq < seq if newest_first else jobs.c.seq > seq
    # Deleted since the page before, as by a client that lists in order to delete: go on from its time.
    moment = accepted_at(after)
    if moment is None:
        raise VideoNotFound(param="after")
    return jobs.c.created_at < moment if newest_first else jobs.c.created_at > moment


def queue_position(connection: Connection, job_id: str) -> int | None:
    place = select(jobs.c.model, jobs.c.queue, jobs.c.rank, jobs.c.seq)
    mine = connection.execute(place.where(jobs.c.id == job_id, jobs.c.status == JobStatus.QUEUED)).first()
    if mine is None:
        return None
    queue = queue_of(mine.queue)
    rivals = [name for name in line.waiting_queues(connection, mine.model) if queue_of(name).rivals(queue)]
    before = and_(
        jobs.c.status == JobStatus.QUEUED,
        jobs.c.model == mine.model,
        jobs.c.queue.in_(rivals),
        or_(jobs.c.rank < mine.rank, and_(jobs.c.rank == mine.rank, jobs.c.seq < mine.seq)),
    )
    return 1 + (connection.scalar(select(func.count()).select_from(jobs).where(before)) or 0)
