"""Reads: one job, a page of jobs, a place in the line.

Every function takes no lock. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, bindparam, func, or_, select

from serving.errors import VideoNotFound
from serving.jobs.job import Job, JobStatus, accepted_at
from serving.jobs.places import Places
from serving.jobs.queue import queue_of
from serving.jobs.tables import job_of, jobs, visible


def get(connection: Connection, job_id: str) -> Job:
    return job_of(_row(connection, job_id))


def follow(connection: Connection, places: Places, job_id: str) -> tuple[Job, int | None]:
    row = _row(connection, job_id)
    job = job_of(row)
    return job, _position(connection, places, row) if job.status is JobStatus.QUEUED else None


def _row(connection: Connection, job_id: str) -> RowMapping:
    row = connection.execute(_one_statement(), {"id": job_id}).mappings().first()
    if row is None:
        raise VideoNotFound
    return row


@functools.cache
def _one_statement() -> Select[Any]:
    """Made once: to make a statement, and the key that finds its text again, takes as long as to run it."""
    return select(jobs).where(visible(bindparam("id")))


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


def queue_position(connection: Connection, places: Places, job_id: str) -> int | None:
    mine = connection.execute(_place_statement(), {"id": job_id}).mappings().first()
    return None if mine is None else _position(connection, places, mine)


@functools.cache
def _place_statement() -> Select[Any]:
    place = select(jobs.c.model, jobs.c.queue, jobs.c.rank, jobs.c.seq)
    return place.where(jobs.c.id == bindparam("id"), jobs.c.status == JobStatus.QUEUED)


def _position(connection: Connection, places: Places, mine: RowMapping) -> int:
    """Of a waiting job, by its model, queue, rank and seq."""
    before = places.before(connection, mine)
    if before is not None:
        return 1 + before
    queue = queue_of(mine["queue"])
    values = {"model": mine["model"], "rank": mine["rank"], "seq": mine["seq"]}
    counts = connection.execute(_before_statement(), values)
    return 1 + sum(count for name, count in counts if queue_of(name).rivals(queue))


@functools.cache
def _before_statement() -> Select[str, int]:
    """How many stand before a place, by queue."""
    rank, seq = bindparam("rank", type_=jobs.c.rank.type), bindparam("seq", type_=jobs.c.seq.type)
    before = and_(
        jobs.c.status == JobStatus.QUEUED,
        jobs.c.model == bindparam("model"),
        or_(jobs.c.rank < rank, and_(jobs.c.rank == rank, jobs.c.seq < seq)),
    )
    return select(jobs.c.queue, func.count()).where(before).group_by(jobs.c.queue)
