"""How the databases are opened, locked, timed and migrated."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from serving.errors import ConfigurationInvalid, StorageUnavailable, VideoNotFound
from serving.jobs import clock, database, engines
from serving.jobs.clock import MachineClock
from serving.jobs.engines import journal_mode, open_database, sqlite_driver
from serving.jobs.job import Held, JobStatus, NewJob, new_job_id
from serving.jobs.line import heads_statement
from serving.jobs.store import JobStore, open_store
from serving.jobs.tables import metadata

Make = Callable[..., NewJob]
MODEL = "i2vgen-xl"


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "TRUNCATE"),
        ((3, 51, 2), "TRUNCATE"),
        ((3, 51, 3), "WAL"),
        ((3, 53, 4), "WAL"),
        ((4, 0, 0), "WAL"),
    ],
)
def test_a_wal_only_where_it_is_safe(version: tuple[int, ...], mode: str) -> None:
    assert journal_mode(version) == mode


def test_sqlite_is_set_up_to_keep_what_it_acknowledges(sqlite_store: JobStore) -> None:
    unwaiting = sqlite_store._database._unwaiting
    assert unwaiting is not None
    for engine, busy_timeout in ((sqlite_store._database.engine, 4000), (unwaiting, 0)):
        with engine.connect() as connection:
            pragmas = {
                name: connection.scalar(text(f"PRAGMA {name}"))
                for name in ("journal_mode", "synchronous", "busy_timeout")
            }
        assert pragmas == {
            "journal_mode": journal_mode(sqlite_driver().sqlite_version_info).lower(),
            "synchronous": 2,
            "busy_timeout": busy_timeout,
        }


def test_the_standard_library_s_sqlite_serves_too(
    tmp_path: Path, new_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pysqlite3", None)
    assert sqlite_driver() is sqlite3
    with closing(open_store(f"sqlite:///{tmp_path}/new/folder/jobs.db")) as store:
        store.insert(new_job())
        job = store.claim("default", MODEL, "card", 30.0)
        assert job is not None
        assert store.complete(job.id, 1, {})
        with store._database.engine.connect() as connection:
            assert connection.scalar(text("PRAGMA journal_mode")) == journal_mode(sqlite3.sqlite_version_info).lower()


@pytest.mark.parametrize("url", ["", "jobs.db", "sqlite://", "sqlite:///:memory:", "mysql://host/name"])
def test_urls_that_cannot_hold_jobs_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationInvalid):
        open_store(url)


def test_databases_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "PATIENCE_S", 0.2)
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailable):
        open_store(f"sqlite:///{tmp_path}/file/jobs.db")
    with pytest.raises(StorageUnavailable) as refusal:
        open_store("postgresql://127.0.0.1:1/jobs")
    assert refusal.value.retry_after_s is not None


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_migrations_give_the_tables_the_code_expects(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    if kind == "postgresql":
        url = request.getfixturevalue("empty_postgres_url")
    for _ in range(2):
        with closing(open_database(url)) as opened:
            differences = opened.write(
                lambda connection: compare_metadata(MigrationContext.configure(connection), metadata)
            )
    assert differences == []


OLD_JOB = """
INSERT INTO jobs (id, model, status, rank, estimate_s, progress, step, steps, request, picture_key, source_width,
    source_height, warnings, attempt, crashes, failures, created_at, worker, started_at, lease_until, lease_boot)
VALUES (:id, 'i2vgen-xl', :status, :rank, 10.0, 0, 0, 50, :request, 'pictures/0.png', 1, 1, '["too dark"]', :attempt, 0,
    '[]', :created_at, :worker, :created_at, :lease, :boot)
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_jobs_of_the_first_schema_are_kept_in_their_order(
    kind: str,
    tmp_path: Path,
    new_job: Make,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They name no pool, so any of their model takes them; leases, results and the order of priorities stay."""
    url = f"sqlite:///{tmp_path}/old.db"
    if kind == "postgresql":
        url = request.getfixturevalue("empty_postgres_url")
    asked = new_job().request.model_dump(mode="json", exclude={"deadline_s"})
    now = time.time()
    rows = [
        {"id": new_job_id(now - 60 + number), "status": status, "rank": int(priority == "batch"), "attempt": attempt}
        | {"request": json.dumps(asked | {"priority": priority}), "created_at": now - 60 + number}
        | {"worker": "old" if attempt else None, "lease": 0.0 if attempt else None, "boot": "" if attempt else None}
        for number, (status, priority, attempt) in enumerate(
            [
                ("queued", "batch", 0),
                ("queued", "interactive", 0),
                ("in_progress", "interactive", 1),
                ("completed", "interactive", 1),
            ]
        )
    ]
    ids = [row["id"] for row in rows]
    with monkeypatch.context() as first_version:
        upgrade = engines.command.upgrade
        first_version.setattr(engines.command, "upgrade", lambda config, _: upgrade(config, "0001"))
        with closing(open_database(url)) as old:
            old.write(lambda c: c.execute(text(OLD_JOB), rows))
    with closing(open_store(url)) as store:
        assert [job.id for job in store.list(newest_first=False)[0]] == ids
        batch, completed = store.get(ids[0]), store.get(ids[3])
        assert (batch.priority, batch.owner, batch.estimates, batch.estimate_s) == ("batch", "", {}, 10.0)
        assert (batch.deadline, batch.pool, completed.status) == (None, None, JobStatus.COMPLETED)
        assert [(caution.code, caution.message) for caution in batch.warnings] == [("notice", "too dark")]
        assert store.queue_position(ids[0]) == 2
        assert store.backlog().waiting("anything", MODEL) == (3, 30.0)
        new = store.insert(new_job(estimates={"large": 10.0}))
        # The old ones have waited for longer than they need four times over.
        claimed = [store.claim("large", MODEL, "card", 30.0) for _ in range(4)]
        assert [job and job.id for job in claimed] == [ids[1], ids[2], new.id, ids[0]]
        monkeypatch.setattr(engines.command, "upgrade", lambda config, _: engines.command.downgrade(config, "0001"))
        with store._database.engine.begin() as connection:
            engines.migrate(connection)
            left = connection.execute(text("SELECT rank, estimate_s FROM jobs ORDER BY seq")).all()
        assert [tuple(row) for row in left] == [(1, 10.0), (0, 10.0), (0, 10.0), (0, 10.0), (0, 10.0)]
    monkeypatch.undo()
    with closing(open_store(url)) as store:
        assert len(store.list()[0]) == 5


def test_a_newer_schema_is_refused(store: JobStore, store_url: str, request: pytest.FixtureRequest) -> None:
    def mark(connection: Connection, revision: str) -> None:
        connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})

    known = store._database.read(lambda c: c.scalar(text("SELECT version_num FROM alembic_version")))
    assert known is not None
    request.addfinalizer(lambda: store._database.write(lambda c: mark(c, known)))
    store._database.write(lambda c: mark(c, "9999"))
    with pytest.raises(ConfigurationInvalid, match="newer"):
        open_store(store_url)


@pytest.mark.parametrize("journal", ["WAL", "TRUNCATE"])
def test_reads_do_not_wait_for_a_writer_and_writers_give_up_in_time(
    sqlite_url: str, new_job: Make, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "journal_mode", lambda version: journal)
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_S", 0.1)
    monkeypatch.setattr(database, "PATIENCE_S", 0.4)
    whole, tries = database.is_passing, []

    def is_passing(error: Exception) -> bool:
        tries.append(error)
        return whole(error)

    monkeypatch.setattr(database, "is_passing", is_passing)
    with closing(open_store(sqlite_url)) as store:
        job_id = store.insert(new_job()).id
        # Not through sqlite3: two copies of SQLite in one process do not see each other's locks.
        path = sqlite_url.removeprefix("sqlite:///")
        blocker = sqlite_driver().connect(path, isolation_level=None, check_same_thread=False)
        with closing(blocker):
            blocker.execute("BEGIN IMMEDIATE")
            assert store.get(job_id).id == job_id
            assert store.claimable("default", MODEL)
            store.list()
            store.ping()
            started = time.monotonic()
            with pytest.raises(StorageUnavailable) as refusal:
                store.claim("default", MODEL, "card", 30.0)
            assert refusal.value.retry_after_s is not None
            assert time.monotonic() - started > 0.3
            # Each of which waited for at least a tenth of a second.
            assert len(tries) <= 0.4 / 0.1
            threading.Timer(0.3, blocker.rollback).start()
            monkeypatch.setattr(database, "PATIENCE_S", 120.0)
            assert store.claim("default", MODEL, "card", 30.0) is not None


def test_a_job_is_looked_up_without_giving_up_the_event_loop(sqlite_store: JobStore, new_job: Make) -> None:
    job_id = sqlite_store.insert(new_job()).id
    with pytest.raises(StopIteration) as answered:
        sqlite_store.look_up(job_id).send(None)
    job, position = answered.value.value
    assert (job.id, position) == (job_id, 1)
    with pytest.raises(VideoNotFound):
        sqlite_store.look_up(new_job_id()).send(None)


def test_who_has_to_wait_to_look_a_job_up_does_so_beside_the_event_loop(
    sqlite_url: str, new_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "journal_mode", lambda version: "TRUNCATE")  # a WAL's readers wait for nobody
    with closing(open_store(sqlite_url)) as store:
        job_id = store.insert(new_job()).id
        blocker = sqlite_driver().connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)

        async def look_up_while_locked() -> str:
            looking = asyncio.create_task(store.look_up(job_id))
            await asyncio.sleep(0)
            assert not looking.done()
            blocker.rollback()
            return (await looking)[0].id

        with closing(blocker):
            blocker.execute("BEGIN EXCLUSIVE")
            assert asyncio.run(look_up_while_locked()) == job_id


def test_a_database_server_is_asked_in_a_thread(postgres_store: JobStore, new_job: Make) -> None:
    job_id = postgres_store.insert(new_job()).id
    threads = []

    def looking(connection: Connection) -> None:
        threads.append(threading.get_ident())

    asyncio.run(postgres_store._database.look(looking))
    assert threads != [threading.get_ident()]
    assert asyncio.run(postgres_store.look_up(job_id))[0].id == job_id


def test_cut_connections_are_replaced(postgres_store: JobStore, postgres_url: str, new_job: Make) -> None:
    def cut(connection: Connection) -> None:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )

    job_id = postgres_store.insert(new_job()).id
    for work in (
        lambda: postgres_store.get(job_id),
        lambda: postgres_store.claim("default", MODEL, "card", 30.0),
        lambda: postgres_store.complete(job_id, 1, {}),
    ):
        with closing(open_database(postgres_url)) as other:
            other.read(cut)
        assert work()


def test_the_line_is_read_from_the_index_alone(sqlite_store: JobStore) -> None:
    def plan(statement: str) -> str:
        rows = sqlite_store._database.read(lambda c: c.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}").all())
        return " ".join(str(row[-1]) for row in rows)

    bound = "SELECT count(*) FROM (SELECT seq FROM jobs WHERE status = 'queued' LIMIT 100)"
    sums = "SELECT model, queue, count(*), sum(estimate_s) FROM jobs WHERE status = 'queued' GROUP BY model, queue"
    for statement in (bound, sums):
        assert "COVERING INDEX jobs_line" in plan(statement)
    engine = sqlite_store._database.engine
    values = {"model": MODEL, "queue_0": "a/batch", "queue_1": "b/batch", "start_0": "", "start_1": "x", "most": 9}
    statement = heads_statement("a", 2).params(values)
    heads = str(statement.compile(engine, compile_kwargs={"literal_binds": True}))
    assert plan(heads).count("INDEX jobs_line (status=? AND model=? AND queue=? AND owner>?)") == 3
    # Of the heads, in the order of their owners; never of the line.
    assert plan(heads).count("TEMP B-TREE") == 1


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_wall_clock_that_jumps_ends_no_lease(
    sqlite_store: JobStore, new_job: Make, jump_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sqlite_store.insert(new_job())
    assert sqlite_store.claim("default", MODEL, "card-1", 60.0)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump_s)
    assert not sqlite_store.claimable("default", MODEL)
    assert sqlite_store.held(first.id, 1) is Held.HELD
    # Nor does it let a new job pass an old one.
    second = sqlite_store.insert(new_job())
    monkeypatch.setattr(time, "time", real)
    third = sqlite_store.insert(new_job())
    assert [job.id for job in sqlite_store.list(newest_first=False)[0]] == [first.id, second.id, third.id]
    claimed = sqlite_store.claim("default", MODEL, "card-1", 60.0)
    assert claimed is not None
    assert claimed.id == second.id


def test_a_reboot_ends_every_lease_and_every_presence(sqlite_url: str, new_job: Make) -> None:
    with closing(open_database(sqlite_url)) as before:
        store = JobStore(before, max_attempts=3)
        job_id = store.insert(new_job()).id
        assert store.claim("default", MODEL, "card-1", 1e6)
        before.clock.boot = "another boot"
        assert store.claimable("default", MODEL)
        assert store.get(job_id).status is JobStatus.IN_PROGRESS
        again = store.claim("default", MODEL, "card-2", 30.0)
        assert again is not None
        assert (again.id, again.attempt, again.crashes) == (job_id, 2, 1)


def test_without_the_kernel_s_boot_id(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert MachineClock().boot == MachineClock().boot != "unknown"
    monkeypatch.setattr(clock, "_BOOT_ID", tmp_path / "nothing")
    assert MachineClock().boot == "unknown"
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    before = time.monotonic()
    assert before <= clock.uptime() <= time.monotonic()


def test_a_slow_disk_is_told(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engines, "fsync_seconds", lambda folder: 0.02)
    open_store(sqlite_url).close()
    assert "takes 20 ms to flush a write" in caplog.text
