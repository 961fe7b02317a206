"""Transactions that are tried again while the trouble is passing, and the errors that remain.

Knows nothing of jobs, HTTP, Ray or video.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import stamina
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from serving.errors import StorageUnavailable
from serving.jobs.clock import StoreClock

T = TypeVar("T")

PATIENCE_S = 8.0
RETRY_AFTER_S = 5.0

# PostgreSQL: serialization failure, deadlock, lock timeout, too many connections, shutdown, crash, starting
# up, idle inside a transaction for too long.
_PASSING_STATES = {"40001", "40P01", "55P03", "53300", "57P01", "57P02", "57P03", "25P03"}


class Database:
    """One database: reads that take no write lock, and writes that take it at their start."""

    def __init__(self, engine: Engine, clock: StoreClock, unwaiting: Engine | None = None) -> None:
        """`unwaiting`: of the same database, and fails at once where it would have to wait; None where none can."""
        self.engine = engine
        self.clock = clock
        self._unwaiting = unwaiting
        self.dialect = engine.dialect.name
        self._writer = engine.execution_options(begin="IMMEDIATE")
        # AUTOCOMMIT saves a server two round trips. SQLite has none to save, and its dialect would switch the
        # driver's own transactions back on afterwards.
        self._reader = engine if self.dialect == "sqlite" else engine.execution_options(isolation_level="AUTOCOMMIT")

    def read(self, work: Callable[[Connection], T], *, patience_s: float = PATIENCE_S) -> T:
        """Run `work` without the write lock; it may run again from its start.

        Raises:
            StorageUnavailable: the database stayed locked, full or out of reach for about `patience_s`.
        """
        return _patiently(lambda: self._read(work), patience_s)

    async def look(self, work: Callable[[Connection], T]) -> T:
        """`read` for an event loop; on the loop itself where nothing has to be waited for, as `work` must be short.

        A thread and the way back cost more than a small read; and for a request that waits for anything at all, Serve's
        replica asks the proxy over and over whether the client is still there, which costs more than both.
        """
        if self._unwaiting is not None:
            with suppress(DBAPIError, PoolExhausted), self._unwaiting.connect() as connection:
                return work(connection)
        return await asyncio.to_thread(self.read, work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction, which may run again from its start.

        Raises:
            StorageUnavailable: the database stayed locked, full or out of reach for about `PATIENCE_S`.
        """
        return _patiently(lambda: self._write(work), PATIENCE_S)

    def close(self) -> None:
        self.engine.dispose()
        if self._unwaiting is not None:
            self._unwaiting.dispose()

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._reader.connect() as connection:
            return work(connection)

    def _write(self, work: Callable[[Connection], T]) -> T:
        with self._writer.begin() as connection:
            return work(connection)


def _patiently(work: Callable[[], T], patience_s: float) -> T:
    try:
        if patience_s <= 0:
            return work()
        return stamina.RetryingCaller(
            attempts=None, timeout=patience_s, wait_initial=0.02, wait_jitter=0.05, wait_max=1.0
        )(is_passing, work)
    except (OperationalError, InterfaceError, PoolExhausted) as error:
        raise StorageUnavailable(retry_after_s=RETRY_AFTER_S) from error
    except DBAPIError as error:
        if not is_passing(error):
            raise
        raise StorageUnavailable(retry_after_s=RETRY_AFTER_S) from error


def is_passing(error: Exception) -> bool:
    """Whether the same transaction may succeed a moment later: locked, deadlocked, or cut off."""
    if isinstance(error, PoolExhausted):
        return True
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or state in _PASSING_STATES:
        return True
    text = str(error.orig)
    if "locked" in text or "busy" in text:
        return True
    # psycopg gives a refused or broken connection no state at all; sqlite3's errors have no such field.
    return isinstance(error, OperationalError) and hasattr(error.orig, "sqlstate") and state is None
