"""Reads: one job, a page of jobs, a place in the line, the work that waits.

Every function takes no lock. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, func, or_, select

from serving.errors import VideoNotFound
from serving.jobs.claims import lapsed
from serving.jobs.clock import StoreClock
from serving.jobs.job import Job, JobStatus, accepted_at
from serving.jobs.tables import RANKS, job_of, jobs, visible
from serving.request import Priority


class Backlog(NamedTuple):
    """Work that cards could take now: how many jobs, and the GPU seconds they are expected to need."""

    jobs: int
    estimate_s: float


def get(connection: Connection, job_id: str) -> Job:
    row = connection.execute(select(jobs).where(visible(job_id))).mappings().first()
    if row is None:
        raise VideoNotFound
    return job_of(row)


def page(connection: Connection, after: str | None, limit: int, newest_first: bool) -> tuple[tuple[Job, ...], bool]:
    order = jobs.c.seq.desc() if newest_first else jobs.c.seq.asc()
    statement = select(jobs).where(~jobs.c.deleted).order_by(order).limit(limit + 1)
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
    me = jobs.alias()
    not_behind = or_(jobs.c.rank < me.c.rank, and_(jobs.c.rank == me.c.rank, jobs.c.seq <= me.c.seq))
    line = and_(jobs.c.status == JobStatus.QUEUED, jobs.c.model == me.c.model, not_behind)
    position = select(func.count()).select_from(jobs).where(line).correlate(me).scalar_subquery()
    return connection.scalar(select(position).where(me.c.id == job_id, me.c.status == JobStatus.QUEUED))


def backlog(connection: Connection, clock: StoreClock) -> dict[str, Backlog]:
    found: dict[str, Backlog] = {}
    for (model, _), work in backlog_by_priority(connection, clock).items():
        found[model] = _sum(found.get(model), work)
    return found


def backlog_by_priority(connection: Connection, clock: StoreClock) -> dict[tuple[str, Priority], Backlog]:
    sums = select(jobs.c.model, jobs.c.rank, func.count(), func.sum(jobs.c.estimate_s))
    sums = sums.group_by(jobs.c.model, jobs.c.rank)
    priorities = {rank: priority for priority, rank in RANKS.items()}
    found: dict[tuple[str, Priority], Backlog] = {}
    # Two queries: only without an OR does the first one read nothing but the index.
    for work in (jobs.c.status == JobStatus.QUEUED, lapsed(clock)):
        for model, rank, count, estimate_s in connection.execute(sums.where(work)):
            key = model, priorities[rank]
            found[key] = _sum(found.get(key), Backlog(count, estimate_s))
    return found


def _sum(before: Backlog | None, more: Backlog) -> Backlog:
    return more if before is None else Backlog(before.jobs + more.jobs, before.estimate_s + more.estimate_s)
