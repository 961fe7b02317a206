"""Events of jobs that have ended, from the transaction that ended them until a receiver has them.

Whoever takes an event has it for a while; if nothing more is heard of it, it is due again. So it is delivered at least
once, under one id. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, RowMapping, and_, delete, exists, func, insert, or_, select, update

from serving.jobs.database import Database
from serving.jobs.job import JobStatus
from serving.jobs.tables import jobs, webhooks

KEPT_S = 7 * 86_400.0
"""How long an event that has ended is kept, for people."""
OF_ONE_OWNER = 8
"""Events of one owner that are taken at once: nobody's dead receiver holds up another's."""

ANNOUNCED = (jobs.c.id, jobs.c.owner, jobs.c.status, jobs.c.completed_at, jobs.c.webhook_url)
"""What `announce` needs of a job's row."""
_TYPES = {JobStatus.COMPLETED: "video.completed", JobStatus.FAILED: "video.failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event, taken to be delivered."""

    id: str
    job_id: str
    owner: str
    url: str
    payload: str
    attempt: int
    """1 for the first delivery."""


def announce(connection: Connection, job: Row[Any] | RowMapping) -> None:
    """Put the event of a job that has just ended into the box, in the transaction that ended it.

    Args:
        job: `ANNOUNCED` of it, as it is now; one that waits or is in progress has no event.
    """
    row = job._mapping if isinstance(job, Row) else job
    kind = _TYPES.get(row["status"])
    if kind is None or row["webhook_url"] is None:
        return
    event_id, at = f"evt_{secrets.token_hex(16)}", row["completed_at"]
    event = {"id": event_id, "object": "event", "created_at": int(at), "type": kind, "data": {"id": row["id"]}}
    new = {"id": event_id, "job_id": row["id"], "owner": row["owner"], "url": row["webhook_url"]}
    connection.execute(insert(webhooks).values(**new, payload=json.dumps(event), attempt=0, next_at=at))


class Outbox:
    """The events in one database; every method may block for some seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, limit: int, lease_s: float, but_of: Collection[str] = ()) -> tuple[Event, ...]:
        """Events that are due, the oldest first, and no other taker's for `lease_s` seconds.

        Args:
            limit: events, and of one owner `OF_ONE_OWNER`.
            but_of: owners whose events stay.
        """
        wall = self._database.clock.wall
        old = webhooks.c.ended_at < wall() - KEPT_S
        found = select(exists().where(or_(webhooks.c.next_at <= wall(), old)))
        if limit <= 0 or not self._database.read(lambda c: c.scalar(found)):
            return ()

        def work(connection: Connection) -> tuple[Event, ...]:
            connection.execute(delete(webhooks).where(webhooks.c.ended_at < wall() - KEPT_S))
            due = webhooks.c.next_at <= wall()
            nth = func.row_number().over(partition_by=webhooks.c.owner, order_by=webhooks.c.next_at).label("nth")
            waiting = select(webhooks.c.id, webhooks.c.next_at, nth).where(due, webhooks.c.owner.not_in(but_of))
            each = waiting.subquery()
            first = select(each.c.id).where(each.c.nth <= OF_ONE_OWNER).order_by(each.c.next_at).limit(limit)
            mine = select(webhooks.c.id).where(due, webhooks.c.id.in_(first)).with_for_update(skip_locked=True)
            ids = connection.scalars(mine).all()
            leased = {"attempt": webhooks.c.attempt + 1, "next_at": wall() + lease_s}
            taken = update(webhooks).where(webhooks.c.id.in_(ids)).values(leased).returning(webhooks)
            return tuple(_event_of(row) for row in connection.execute(taken).mappings())

        return self._database.write(work)

    def delivered(self, event: Event) -> bool:
        """Note that the receiver has it; False where another taker has it now, or it has ended."""
        return self._end(event, {"ended_at": self._database.clock.wall(), "next_at": None, "error": None})

    def failed(self, event: Event, error: str, retry_in_s: float | None) -> bool:
        """Note why it could not be delivered, and when to try again; None: never, it is dead. False as `delivered`."""
        now = self._database.clock.wall()
        if retry_in_s is None:
            return self._end(event, {"ended_at": now, "next_at": None, "error": error})
        return self._end(event, {"next_at": now + retry_in_s, "error": error})

    def _end(self, event: Event, values: dict[str, Any]) -> bool:
        mine = and_(webhooks.c.id == event.id, webhooks.c.attempt == event.attempt, webhooks.c.ended_at.is_(None))
        ending = update(webhooks).where(mine).values(values).returning(webhooks.c.id)
        return self._database.write(lambda c: c.scalar(ending)) is not None


def _event_of(row: RowMapping) -> Event:
    return Event(**{name: row[name] for name in Event.__dataclass_fields__})
