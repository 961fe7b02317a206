"""Opens the database behind a URL, set up so that what it acknowledges survives a power cut, and migrates it.

Knows nothing of jobs, HTTP, Ray or video.
"""

from __future__ import annotations

import importlib
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError

from serving.errors import ConfigurationInvalid, StorageUnavailable
from serving.jobs.clock import MachineClock, ServerClock
from serving.jobs.database import Database

log = logging.getLogger(__name__)

BUSY_TIMEOUT_S = 4.0
SLOW_FSYNC_S = 0.005
# Before this one, connections that write and checkpoint a WAL at once can lose commits: sqlite.org/wal.html
WAL_IS_SAFE_FROM = (3, 51, 3)
_MIGRATION_LOCK = 0x69327673


def open_database(url: str) -> Database:
    """Open and migrate the database; any number of processes may do so at once.

    Args:
        url: `sqlite:///folder/jobs.db`, or `postgresql+psycopg://user@host/name`.

    Raises:
        ConfigurationInvalid: the URL names no such database, or one written by a newer version.
        StorageUnavailable: the database cannot be reached, or stays locked.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationInvalid("The job store's URL cannot be read.") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        _check(parsed)
        database = Database(_sqlite(parsed, BUSY_TIMEOUT_S), MachineClock(), unwaiting=_sqlite(parsed, 0.0))
    elif backend == "postgresql":
        database = Database(_postgresql(parsed), ServerClock())
    else:
        raise ConfigurationInvalid(f"Jobs are kept in sqlite or postgresql, not in {backend}.")
    try:
        database.write(migrate)
    except BaseException:
        database.close()
        raise
    return database


def migrate(connection: Connection) -> None:
    """Bring the schema up to date inside the connection's transaction; those who come second find it done."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise ConfigurationInvalid(
            f"The job store's schema is not one this version knows; was it written by a newer one? ({error})"
        ) from error


def journal_mode(sqlite_version: tuple[int, ...]) -> str:
    """WAL where the library keeps it safe, else TRUNCATE, which is slower and was always safe."""
    return "WAL" if sqlite_version >= WAL_IS_SAFE_FROM else "TRUNCATE"


def sqlite_driver() -> ModuleType:
    """pysqlite3, which carries a recent SQLite; the standard library's module where it is not installed.

    A process must open the file through this one alone: two copies of SQLite in one process do not see each
    other's locks.
    """
    try:
        return importlib.import_module("pysqlite3")
    except ImportError:
        return importlib.import_module("sqlite3")


def fsync_seconds(folder: Path, *, tries: int = 5) -> float:
    """The median time to get a small write onto the disk under `folder`."""
    spent = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(tries):
            file.write(b"0" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fsync(file.fileno())
            spent.append(time.perf_counter() - started)
    return statistics.median(spent)


def _check(url: URL) -> None:
    if url.database in (None, "", ":memory:"):
        raise ConfigurationInvalid("Jobs must survive a restart; give sqlite a file: sqlite:///folder/jobs.db")
    folder = Path(str(url.database)).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        flush_s = fsync_seconds(folder)
    except OSError as error:
        raise StorageUnavailable(f"The job store's folder {folder} cannot be written: {error}") from error
    if flush_s > SLOW_FSYNC_S:
        log.warning("%s takes %.0f ms to flush a write; submissions will be slow", folder, flush_s * 1000)
    driver = sqlite_driver()
    if journal_mode(driver.sqlite_version_info) != "WAL":
        log.warning(
            "SQLite %s can lose commits in WAL mode; using a rollback journal, which is slower", driver.sqlite_version
        )


def _sqlite(url: URL, timeout_s: float) -> Engine:
    """`timeout_s`: how long to wait for others' locks."""
    driver = sqlite_driver()
    journal = journal_mode(driver.sqlite_version_info)
    # isolation_level None stops the driver from beginning transactions of its own; the hook below does.
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        module=driver,
        connect_args={"isolation_level": None, "timeout": timeout_s, "check_same_thread": False},
        pool_size=10,
        max_overflow=20,
        pool_timeout=timeout_s,
        # Every connection keeps two MiB of pages: better the few that are needed than all in turn.
        pool_use_lifo=True,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A plain BEGIN takes no lock until its first statement, and a read lock then. Were readers to begin
        # IMMEDIATE as writers must, each would wait for every writer.
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")

    return engine


def _postgresql(url: URL) -> Engine:
    options = {
        # A process stopped inside a transaction must not hold its locks for ever. The planner takes the recursion that
        # finds the heads of a line for long work, and compiling it took ten times as long as running it.
        "options": "-c idle_in_transaction_session_timeout=15s -c lock_timeout=5s -c jit=off",
        "connect_timeout": 5,
        "tcp_user_timeout": 10_000,
    }
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args=options,
            pool_size=10,
            max_overflow=20,
            pool_timeout=BUSY_TIMEOUT_S,
        )
    except ImportError as error:
        raise ConfigurationInvalid("PostgreSQL needs psycopg: pip install 'i2v-serve[postgres]'") from error
