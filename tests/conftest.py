"""Fixtures many tests share: job stores in SQLite and in a real PostgreSQL, jobs to put in, storages, and a service.

PostgreSQL's binaries are looked for in PATH and in /usr/lib/postgresql. Without them, or without the S3 server
(moto), their tests are skipped, and fail where CI=true.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from missing import missing
from sqlalchemy import create_engine, text

from deployments.child import ChildService, free_port
from serving.jobs.job import NewJob
from serving.jobs.store import JobStore, open_store
from serving.presets import BUILTIN_FOLDER, PROFILE_FILE
from serving.request import VideoRequest
from serving.storage import DirectoryStorage, S3Storage, Storage

# Triton decides at its first import, which other conftests cause, whether it compiles kernels or interprets them.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

USE_THE_SERVICE = ("tests/integration/test_main_job.py", "tests/browser/", "tests/clients/test_clients.py")
BUCKET = "clips"
REQUEST = VideoRequest(
    model="i2vgen-xl",
    prompt="the dress turns slowly",
    negative_prompt=None,
    preset=None,
    width=512,
    height=512,
    fit="crop",
    num_frames=16,
    fps=8,
    num_inference_steps=50,
    guidance_scale=9.0,
    seed=2**63 - 1,
    format="mp4",
    priority="interactive",
    metadata={},
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile` modules are kept whole, and those that use the one service go to the same process."""
    if config.option.dist != "loadfile":
        return None
    # Not at the top: pytest-xdist itself imports it when there is something to distribute.
    from xdist.scheduler import LoadFileScheduling

    class OneService(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "service" if nodeid.startswith(USE_THE_SERVICE) else super()._split_scope(nodeid)

    return OneService(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        if folder in ("integration", "stores"):
            item.add_marker(folder)


@pytest.fixture
def new_job() -> Callable[..., NewJob]:
    """Makes jobs to insert; keywords change fields of the request, of the job, or both."""

    def make(**changes: Any) -> NewJob:
        asked = {name: changes.pop(name) for name in list(changes) if name in VideoRequest.model_fields}
        values = {
            "request": REQUEST.model_copy(update=asked),
            "picture_key": "pictures/0.png",
            "source_size": (1200, 800),
            "estimates": {"default": 10.0},
        }
        return NewJob(**(values | changes))

    return make


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a throw-away PostgreSQL server, without a database's name."""
    initdb, pg_ctl = _binary("initdb"), _binary("pg_ctl")
    if initdb is None or pg_ctl is None:
        missing("PostgreSQL's initdb and pg_ctl are not installed")
    # Not pytest's own folder: nobody but its owner may enter that, and the server refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="i2v-postgres-"))
    user = _unprivileged_user()
    if user is not None:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)

    def run(*argv: str) -> None:
        # Its output goes to a file: the server would hold a pipe open for as long as it lives.
        with (folder.parent / f"{folder.name}.log").open("ab") as out:
            subprocess.run(argv, user=user, cwd="/", stdout=out, stderr=out, check=True, timeout=60)

    data = str(folder / "data")
    port = free_port()
    settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c autovacuum=off"
    try:
        run(initdb, "-D", data, "-U", "i2v", "-A", "trust", "-E", "UTF8", "--no-sync")
        run(pg_ctl, "-D", data, "-l", str(folder / "log"), "-w", "-o", settings, "start")
        try:
            yield f"postgresql+psycopg://i2v@127.0.0.1:{port}"
        finally:
            run(pg_ctl, "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        (folder.parent / f"{folder.name}.log").unlink(missing_ok=True)


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "jobs.db"
    open_store(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path, _migrated_sqlite: Path) -> str:
    shutil.copy(_migrated_sqlite, tmp_path)
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture(scope="session")
def _migrated_postgres(postgres_server: str) -> str:
    _execute(f"{postgres_server}/postgres", "CREATE DATABASE migrated")
    open_store(f"{postgres_server}/migrated").close()
    return f"{postgres_server}/migrated"


@pytest.fixture
def postgres_url(_migrated_postgres: str) -> str:
    """One database for all tests, emptied for each: to create one takes longer than most tests do."""
    tables = ("jobs", "workers", "usage", "calibrations", "api_keys", "spending", "submissions", "webhooks")
    _execute(_migrated_postgres, *(f"DELETE FROM {table}" for table in tables))
    return _migrated_postgres


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> str:
    """A database without any table."""
    name = f"test_{secrets.token_hex(6)}"
    _execute(f"{postgres_server}/postgres", f"CREATE DATABASE {name}")
    return f"{postgres_server}/{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Each test that uses it, or `store`, runs on both databases."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
def store(store_url: str) -> Iterator[JobStore]:
    with closing(open_store(store_url)) as opened:
        yield opened


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[JobStore]:
    with closing(open_store(sqlite_url)) as opened:
        yield opened


@pytest.fixture
def postgres_store(postgres_url: str) -> Iterator[JobStore]:
    with closing(open_store(postgres_url)) as opened:
        yield opened


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of a throw-away S3 server with one bucket."""
    try:
        from moto.server import ThreadedMotoServer
    except ImportError as error:
        missing(f"moto's S3 server is not installed ({error})")
    # It tells of each request.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        httpx.put(f"http://{host}:{port}/{BUCKET}").raise_for_status()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def s3_environment(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables by which S3Storage finds the server, and a folder of the test's own for its uploads.

    A test that sweeps with a late clock would remove the uploads that another process is making.
    """
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def s3_url(s3_environment: None) -> str:
    """An empty prefix."""
    return f"s3://{BUCKET}/{secrets.token_hex(6)}"


@pytest.fixture(params=["directory", "s3"])
def storage_at(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """Each test that uses it, or `storage`, runs in a directory and on S3."""
    return tmp_path / "outputs" if request.param == "directory" else str(request.getfixturevalue("s3_url"))


@pytest.fixture
def storage(storage_at: str | Path) -> Storage:
    return S3Storage(storage_at) if isinstance(storage_at, str) else DirectoryStorage(storage_at)


@pytest.fixture(scope="session")
def model_of_steps(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a folder of the built-in model with such steps (`low`, `high`, `default`) in its profile."""

    def made(**steps: float) -> Path:
        folder = tmp_path_factory.mktemp("model") / "builtin"
        shutil.copytree(BUILTIN_FOLDER, folder)
        profile = json.loads((folder / PROFILE_FILE).read_text())
        profile["num_inference_steps"] |= steps
        (folder / PROFILE_FILE).write_text(json.dumps(profile))
        return folder

    return made


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, model_of_steps: Callable[..., Path]) -> Iterator[ChildService]:
    """A whole service with its page: one for all tests that leave it whole."""
    # Ray's processes tell their metrics every ten seconds, if not told otherwise.
    often = {"RAY_metrics_report_interval_ms": "2000"}
    # Most tests look at no more of a clip than a single step gives.
    model = str(model_of_steps(low=1.0))
    running = ChildService(tmp_path_factory.mktemp("service"), I2V_MODEL=model, I2V_PAGE="1", **often)
    running.start()
    while httpx.get(f"{running.url}/ui/", timeout=60).status_code == 503:
        time.sleep(0.2)
    yield running
    assert running.stop(signal.SIGTERM) == 0


def _execute(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
    finally:
        engine.dispose()


def _binary(name: str) -> str | None:
    found = shutil.which(name)
    if found is not None:
        return found
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return str(versions[-1]) if versions else None


def _unprivileged_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
