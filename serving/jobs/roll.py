"""The roll of live workers, by their heartbeats on the store's clock.

Every function runs inside the caller's transaction. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from serving.jobs.clock import StoreClock
from serving.jobs.tables import worker_of, workers
from serving.jobs.worker import Worker

PRESENT_S = 15.0
_FORGOTTEN_S = 3600.0


def beat(connection: Connection, clock: StoreClock, worker: Worker) -> None:
    values = {
        "role": worker.role,
        "pool": worker.pool,
        "model": worker.model,
        "card": worker.card,
        "assists": worker.assists,
        "seen_at": clock.now(),
        "boot": clock.boot,
    }
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(workers).values(id=worker.id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))
    gone = or_(workers.c.boot != clock.boot, workers.c.seen_at < clock.now() - _FORGOTTEN_S)
    connection.execute(delete(workers).where(gone))


def present(connection: Connection, clock: StoreClock, role: str | None, within_s: float) -> tuple[Worker, ...]:
    statement = select(workers).where(seen(clock, within_s)).order_by(workers.c.id)
    if role is not None:
        statement = statement.where(workers.c.role == role)
    return tuple(worker_of(row) for row in connection.execute(statement).mappings())


def seen(clock: StoreClock, within_s: float = PRESENT_S) -> ColumnElement[bool]:
    """Whether the worker beat within so many seconds."""
    return and_(workers.c.boot == clock.boot, workers.c.seen_at >= clock.now() - within_s)


def leave(connection: Connection, worker_id: str) -> None:
    connection.execute(delete(workers).where(workers.c.id == worker_id))
