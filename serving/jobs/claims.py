"""Who works on what: claims, lapsed leases, and what becomes of a job whose worker died.

Every function runs inside the caller's transaction. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, exists, or_, select, update

from serving.errors import NotCancellable, VideoNotFound, WorkerCrashed
from serving.jobs import line, transitions, usage
from serving.jobs.clock import StoreClock
from serving.jobs.fence import at_work
from serving.jobs.job import Failure, Job, JobStatus
from serving.jobs.line import Turns
from serving.jobs.queue import queue_name, queue_of
from serving.jobs.tables import job_of, jobs, visible
from serving.jobs.transitions import change
from serving.scheduling.preemption import preempting
from serving.scheduling.queueing import Head, choose


def lapsed(clock: StoreClock) -> ColumnElement[bool]:
    """In progress, and nobody has renewed the lease in time."""
    return and_(
        jobs.c.status == JobStatus.IN_PROGRESS,
        or_(jobs.c.lease_boot != clock.boot, jobs.c.lease_until <= clock.now()),
    )


def claimable(connection: Connection, clock: StoreClock, pool: str, model: str) -> bool:
    if any(queue_of(queue).may_go_to(pool) for queue in line.waiting_queues(connection, model)):
        return True
    abandoned = select(jobs.c.queue).where(lapsed(clock), jobs.c.model == model).distinct()
    return any(queue_of(queue).may_go_to(pool) for queue in connection.scalars(abandoned))


def claim(
    connection: Connection,
    clock: StoreClock,
    turns: Turns,
    pool: str,
    model: str,
    worker: str,
    lease_s: float,
    max_attempts: int,
    within_s: float | None = None,
    preempts: str | None = None,
) -> Job | None:
    recover(connection, clock, max_attempts)
    now = float(connection.execute(select(clock.wall())).scalar_one())
    served = usage.recent(connection, pool, now)
    taken: list[str] = []
    while True:
        head = choose(_heads(connection, pool, model, turns, within_s, taken), pool, now, served)
        if head is None:
            return None
        chosen = select(jobs).where(jobs.c.id == head.job_id, jobs.c.status == JobStatus.QUEUED)
        row = connection.execute(chosen.with_for_update(skip_locked=True)).mappings().first()
        if row is not None:
            return change(
                connection, row, transitions.started(clock, row["attempt"] + 1, pool, worker, lease_s, preempts)
            )
        # Another card is taking it at this moment.
        taken.append(head.job_id)


def waiting_within(connection: Connection, pool: str, model: str, turns: Turns, within_s: float) -> frozenset[str]:
    return frozenset(head.job_id for head in _heads(connection, pool, model, turns, within_s))


def _heads(
    connection: Connection, pool: str, model: str, turns: Turns, within_s: float | None, taken: Collection[str] = ()
) -> list[Head]:
    heads = line.heads(connection, pool, model, turns, taken, within_s)
    return heads if within_s is None else preempting(heads, within_s)


def recover(connection: Connection, clock: StoreClock, max_attempts: int) -> None:
    """Take every job whose lease has lapsed from its worker; of all models, so that none is forgotten."""
    found = connection.execute(select(jobs).where(lapsed(clock)).with_for_update(skip_locked=True))
    for row in found.mappings().all():
        reason = f"{row['worker']} stopped renewing its lease"
        let_go(connection, clock, row, Failure(row["attempt"], "lease_expired", reason), max_attempts)


def adopt(connection: Connection, pools: Mapping[str, str]) -> None:
    unended = jobs.c.status.in_((JobStatus.QUEUED, JobStatus.IN_PROGRESS))
    for model in set(pools.values()):
        mine = {pool for pool, served in pools.items() if served == model}
        found = select(jobs.c.queue).where(unended, jobs.c.model == model).distinct()
        for name in connection.scalars(found).all():
            queue = queue_of(name)
            if queue.fit and queue.fit.isdisjoint(mine):
                orphans = update(jobs).where(unended, jobs.c.model == model, jobs.c.queue == name)
                connection.execute(orphans.values(queue=queue_name((), queue.priority, timed=queue.timed)))


def release(
    connection: Connection,
    clock: StoreClock,
    job_id: str,
    attempt: int,
    failure: Failure | None,
    max_attempts: int,
) -> Job | None:
    mine = select(jobs).where(at_work(job_id, attempt)).with_for_update()
    row = connection.execute(mine).mappings().first()
    return None if row is None else let_go(connection, clock, row, failure, max_attempts)


def let_go(
    connection: Connection, clock: StoreClock, row: RowMapping, failure: Failure | None, max_attempts: int
) -> Job | None:
    """Back into its old place in line; or ended, when it was cancelled or has used up its attempts.

    Args:
        row: the locked row of a job in progress.
        failure: the crash to charge; None charges nothing.

    Returns:
        The job as it is now; None where it was deleted and is gone.
    """
    if row["deleted"]:
        connection.execute(delete(jobs).where(jobs.c.seq == row["seq"]))
        return None
    failures = [*row["failures"], *([asdict(failure)] if failure else [])]
    charged = {"failures": failures, "crashes": row["crashes"] + (failure is not None)}
    if row["cancel_requested"]:
        outcome = transitions.cancelled(clock)
    elif failure is not None and charged["crashes"] >= max_attempts:
        reasons = "; ".join(f"attempt {past['attempt']}: {past['message']}" for past in failures)
        message = f"The worker died under this job {charged['crashes']} times: {reasons}."
        outcome = transitions.failed(clock, WorkerCrashed.code, message)
    else:
        outcome = transitions.in_line_again()
    return change(connection, row, charged | outcome)


def cancel(connection: Connection, clock: StoreClock, job_id: str) -> Job:
    row = _locked(connection, job_id)
    if JobStatus(row["status"]).ended:
        raise NotCancellable
    if _at_work(connection, clock, row):
        return change(connection, row, {"cancel_requested": True})
    return change(connection, row, transitions.cancelled(clock))


def remove(connection: Connection, clock: StoreClock, job_id: str) -> Job:
    row = _locked(connection, job_id)
    if _at_work(connection, clock, row):
        return change(connection, row, {"cancel_requested": True, "deleted": True})
    connection.execute(delete(jobs).where(jobs.c.seq == row["seq"]))
    return job_of(row)


def _at_work(connection: Connection, clock: StoreClock, row: RowMapping) -> bool:
    """Whether a worker holds the job. One whose lease has lapsed does not, and need not be waited for."""
    if row["status"] != JobStatus.IN_PROGRESS:
        return False
    return not connection.scalar(select(exists().where(jobs.c.seq == row["seq"], lapsed(clock))))


def _locked(connection: Connection, job_id: str) -> RowMapping:
    row = connection.execute(select(jobs).where(visible(job_id)).with_for_update()).mappings().first()
    if row is None:
        raise VideoNotFound
    return row
