"""What each pool served to whom lately: finished attempts, which fade, and the jobs in progress.

Every function runs inside the caller's transaction. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, and_, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from serving.jobs import spending
from serving.jobs.clock import StoreClock
from serving.jobs.job import JobStatus
from serving.jobs.tables import jobs, usage
from serving.scheduling.queueing import HALF_LIFE_S, Usage, faded

# After so many half-lives a thousand GPU seconds count for less than one.
_FORGOTTEN_S = 10 * HALF_LIFE_S
_KEY = ("pool", "owner", "priority", "timed")
_TIMED = jobs.c.deadline.is_not(None).label("timed")

CHARGED = (
    jobs.c.pool,
    jobs.c.owner,
    jobs.c.priority,
    _TIMED,
    jobs.c.started_at,
    jobs.c.preempted_s,
)
"""What `charge` needs of a job's row."""


def recent(connection: Connection, pool: str, now: float) -> Usage:
    """What `pool` served until `now`, epoch seconds; jobs in progress count with their whole estimates."""
    entries: list[tuple[str, str, bool, float, float]] = []
    finished = select(usage.c.owner, usage.c.priority, usage.c.timed, usage.c.gpu_s, usage.c.jobs, usage.c.at)
    for owner, priority, timed, gpu_s, count, at in connection.execute(finished.where(usage.c.pool == pool)):
        entries.append((owner, priority, timed, faded(gpu_s, now - at), faded(count, now - at)))
    columns = (jobs.c.owner, jobs.c.priority, _TIMED, jobs.c.estimates, jobs.c.estimate_s)
    running = select(*columns).where(jobs.c.status == JobStatus.IN_PROGRESS, jobs.c.pool == pool)
    for owner, priority, timed, estimates, estimate_s in connection.execute(running):
        entries.append((owner, priority, timed, estimates.get(pool, estimate_s), 1.0))
    by_owner: dict[str, float] = {}
    counts: dict[str, float] = {}
    for owner, _, _, gpu_s, count in entries:
        by_owner[owner] = by_owner.get(owner, 0.0) + gpu_s
        counts[owner] = counts.get(owner, 0.0) + count
    return Usage(
        by_owner=by_owner,
        batch_s=sum(gpu_s for _, priority, _, gpu_s, _ in entries if priority == "batch"),
        deadline_s=sum(gpu_s for _, _, timed, gpu_s, _ in entries if timed),
        jobs=counts,
    )


def charge(connection: Connection, clock: StoreClock, job: Row[Any]) -> None:
    """Add the seconds since a finished attempt's claim, encoding included, to its pool's usage and its owner's day.

    Those that it was put off for other jobs are not its own.

    Args:
        job: `CHARGED` of the attempt.
    """
    if job.pool is None or job.started_at is None:
        return
    now = float(connection.execute(select(clock.wall())).scalar_one())
    took_s = max(0.0, now - job.started_at - job.preempted_s)
    mine = and_(*(usage.c[name] == getattr(job, name) for name in _KEY))
    new = {name: getattr(job, name) for name in _KEY} | {"gpu_s": 0.0, "jobs": 0.0, "at": now}
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(insert(usage).values(new).on_conflict_do_nothing())
    columns = (usage.c.gpu_s, usage.c.jobs, usage.c.at)
    before = connection.execute(select(*columns).where(mine).with_for_update()).one()
    gpu_s = faded(before.gpu_s, now - before.at) + took_s
    count = faded(before.jobs, now - before.at) + 1.0
    connection.execute(update(usage).where(mine).values(gpu_s=gpu_s, jobs=count, at=now))
    spending.charge(connection, job.owner, took_s, now)
    connection.execute(delete(usage).where(usage.c.at < now - _FORGOTTEN_S))
