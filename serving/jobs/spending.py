"""GPU seconds that each key's jobs had today, by UTC's days, and the bound on them.

Every function runs inside the caller's transaction. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from serving.errors import RateLimited
from serving.jobs.clock import StoreClock
from serving.jobs.job import JobStatus
from serving.jobs.tables import jobs, spending

DAY_S = 86_400


def charge(connection: Connection, owner: str, gpu_s: float, now: float) -> None:
    """Add what an attempt that ended at `now`, epoch seconds, took; of no key's jobs nothing is kept."""
    if owner == "":
        return
    today = int(now // DAY_S)
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    new = insert(spending).values(owner=owner, day=today, gpu_s=gpu_s)
    total = spending.c.gpu_s + new.excluded.gpu_s
    connection.execute(new.on_conflict_do_update(index_elements=["owner", "day"], set_={"gpu_s": total}))
    connection.execute(delete(spending).where(spending.c.day < today))


def today(connection: Connection, clock: StoreClock) -> dict[str, float]:
    """By owner."""
    now = float(connection.execute(select(clock.wall())).scalar_one())
    found = select(spending.c.owner, spending.c.gpu_s).where(spending.c.day == int(now // DAY_S))
    return {row.owner: row.gpu_s for row in connection.execute(found)}


def check(connection: Connection, clock: StoreClock, owner: str, allowed_s: float) -> None:
    """Refuse what would be one job too many: what waits and what is in progress counts as if it were done.

    Raises:
        RateLimited: until the day is over.
    """
    now = float(connection.execute(select(clock.wall())).scalar_one())
    day = int(now // DAY_S)
    had = select(func.sum(spending.c.gpu_s)).where(spending.c.owner == owner, spending.c.day == day)
    unended = jobs.c.status.in_((JobStatus.QUEUED, JobStatus.IN_PROGRESS))
    coming = select(func.sum(jobs.c.estimate_s)).where(unended, jobs.c.owner == owner)
    had_s, coming_s = (float(connection.scalar(seconds) or 0.0) for seconds in (had, coming))
    if had_s + coming_s >= allowed_s:
        left_s = (day + 1) * DAY_S - now
        raise RateLimited(
            f"Your jobs of today (UTC) had {had_s:.0f} s of GPU time, {coming_s:.0f} s are to come, and "
            f"{allowed_s:.0f} s are allowed; try again in {left_s:.0f} s.",
            retry_after_s=left_s,
        )
