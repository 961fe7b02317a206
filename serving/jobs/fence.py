"""What a worker writes about its job: each write carries its attempt, and a late worker's changes nothing.

Every function runs inside the caller's transaction. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Executable, Row, and_, case, delete, exists, select, update

from serving.jobs import outbox, transitions, usage
from serving.jobs.clock import StoreClock
from serving.jobs.job import Held, JobStatus
from serving.jobs.tables import jobs


def at_work(job_id: str, attempt: int) -> ColumnElement[bool]:
    """The fence: true of the row only while this attempt is the one in progress."""
    return and_(jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.status == JobStatus.IN_PROGRESS)


def renew(
    connection: Connection, clock: StoreClock, job_id: str, attempt: int, lease_s: float, news: dict[str, Any]
) -> Held:
    """`news`: the values of stage, step, steps and progress to write."""
    values = transitions.leased(clock, lease_s) | news
    if "progress" in news:
        values["progress"] = case((jobs.c.progress < news["progress"], news["progress"]), else_=jobs.c.progress)
    statement = update(jobs).where(at_work(job_id, attempt)).values(values)
    return _answer(connection.scalar(statement.returning(jobs.c.cancel_requested)))


def put_off(connection: Connection, job_id: str, attempt: int, seconds: float) -> None:
    connection.execute(update(jobs).where(at_work(job_id, attempt)).values(preempted_s=seconds))


def held(connection: Connection, job_id: str, attempt: int) -> Held:
    return _answer(connection.scalar(select(jobs.c.cancel_requested).where(at_work(job_id, attempt))))


def complete(connection: Connection, clock: StoreClock, job_id: str, attempt: int, values: dict[str, Any]) -> bool:
    """`values`: of `transitions.completed`."""
    if _ended(connection, clock, job_id, attempt, values):
        return True
    _remove_if_deleted(connection, clock, job_id, attempt)
    return _has_ended(connection, job_id, attempt, jobs.c.status == JobStatus.COMPLETED)


def fail(connection: Connection, clock: StoreClock, job_id: str, attempt: int, values: dict[str, Any]) -> bool:
    """`values`: of `transitions.failed`."""
    if _ended(connection, clock, job_id, attempt, values) or _remove_if_deleted(connection, clock, job_id, attempt):
        return True
    same = and_(jobs.c.status == JobStatus.FAILED, jobs.c.error_code == values["error_code"])
    return _has_ended(connection, job_id, attempt, same)


def _answer(cancel_requested: bool | None) -> Held:
    if cancel_requested is None:
        return Held.LOST
    return Held.CANCEL_REQUESTED if cancel_requested else Held.HELD


def _ended(connection: Connection, clock: StoreClock, job_id: str, attempt: int, values: dict[str, Any]) -> bool:
    mine = and_(at_work(job_id, attempt), ~jobs.c.deleted)
    told = dict.fromkeys((*usage.CHARGED, *outbox.ANNOUNCED))
    job = _charged(connection, clock, update(jobs).where(mine).values(values).returning(*told))
    if job is None:
        return False
    outbox.announce(connection, job)
    return True


def _has_ended(connection: Connection, job_id: str, attempt: int, how: ColumnElement[bool]) -> bool:
    # A commit whose answer was lost on the way is tried again, and must not tell the worker that it is late:
    # it would delete the files it has just published.
    mine = exists().where(jobs.c.id == job_id, jobs.c.attempt == attempt, how)
    return bool(connection.scalar(select(mine)))


def _remove_if_deleted(connection: Connection, clock: StoreClock, job_id: str, attempt: int) -> bool:
    mine = and_(at_work(job_id, attempt), jobs.c.deleted)
    return _charged(connection, clock, delete(jobs).where(mine).returning(*usage.CHARGED)) is not None


def _charged(connection: Connection, clock: StoreClock, ending: Executable) -> Row[Any] | None:
    job = connection.execute(ending).first()
    if job is not None:
        usage.charge(connection, clock, job)
    return job
