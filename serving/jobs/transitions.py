"""The ways a job's row may change its state, as the columns each one sets.

Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, RowMapping, update

from serving.jobs import outbox
from serving.jobs.clock import StoreClock
from serving.jobs.job import CANCELLED, Job, JobStatus
from serving.jobs.tables import job_of, jobs

_NO_LEASE: dict[str, Any] = {"lease_until": None, "lease_boot": None, "stage": None}


def in_line_again() -> dict[str, Any]:
    """Waits in its old place, as if nobody had begun."""
    return _NO_LEASE | {
        "status": JobStatus.QUEUED,
        "progress": 0,
        "step": 0,
        "started_at": None,
        "worker": None,
        "pool": None,
        "preempts": None,
        "preempted_s": 0.0,
    }


def started(
    clock: StoreClock, attempt: int, pool: str, worker: str, lease_s: float, preempts: str | None
) -> dict[str, Any]:
    return leased(clock, lease_s) | {
        "status": JobStatus.IN_PROGRESS,
        "attempt": attempt,
        "stage": "starting",
        "started_at": clock.wall(),
        "worker": worker,
        "pool": pool,
        "preempts": preempts,
        "preempted_s": 0.0,
    }


def leased(clock: StoreClock, lease_s: float) -> dict[str, Any]:
    return {"lease_until": clock.now() + lease_s, "lease_boot": clock.boot}


def completed(clock: StoreClock, result: dict[str, Any], expires_at: float | None) -> dict[str, Any]:
    return _ended(clock, JobStatus.COMPLETED) | {"result": result, "expires_at": expires_at, "progress": 100}


def failed(clock: StoreClock, code: str, message: str) -> dict[str, Any]:
    return _ended(clock, JobStatus.FAILED) | {"error_code": code, "error_message": message}


def cancelled(clock: StoreClock) -> dict[str, Any]:
    return failed(clock, CANCELLED, "The job was cancelled.") | {"cancel_requested": True}


def _ended(clock: StoreClock, status: JobStatus) -> dict[str, Any]:
    return _NO_LEASE | {"status": status, "completed_at": clock.wall()}


def change(connection: Connection, row: RowMapping, values: dict[str, Any]) -> Job:
    """Set columns of a row that this transaction has locked, and announce an end; the job as it is now."""
    statement = update(jobs).where(jobs.c.seq == row["seq"]).values(values).returning(jobs)
    changed = connection.execute(statement).mappings().one()
    if "completed_at" in values:
        outbox.announce(connection, changed)
    return job_of(changed)
