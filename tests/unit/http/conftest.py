"""The HTTP application over the real service, store, storage and preprocessing, without Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import stamina
from fastapi.testclient import TestClient
from hands import Api
from sqlalchemy import update

from serving.batch import running
from serving.http.app import create_app
from serving.jobs.store import JobStore
from serving.jobs.tables import workers
from serving.jobs.worker import Worker
from serving.parameters import VideoParameters
from serving.pools import ServedPool
from serving.preprocessing import Prepared, prepare
from serving.presets import BUILTIN, ModelProfile, profile_for
from serving.service import VideoService
from serving.settings import PoolSettings, load_settings
from serving.storage import open_storage
from serving.testing import InMemoryMetrics

A_DAY_S = 86_400.0


def served(pool: PoolSettings) -> ServedPool:
    model = pool.model or BUILTIN
    least = 1 if pool.min_replicas is None else pool.min_replicas
    return ServedPool(pool, model, profile_for(model), least, pool.max_replicas or max(least, 1))


@pytest.fixture
def make_api(tmp_path: Path, sqlite_store: JobStore) -> Iterator[Callable[..., Api]]:
    """Makes the application, with settings over the tests' own; all of one test share a job store."""
    sqlite_store.beat(Worker(id="d", role="dispatcher"))
    sqlite_store.beat(Worker(id="g", role="generator", pool="default", card={"name": "x86", "memory_bytes": None}))
    # They beat once alone: however slow the machine, they are there.
    sqlite_store._database.write(lambda c: c.execute(update(workers).values(seen_at=workers.c.seen_at + A_DAY_S)))

    async def prepare_here(data: bytes, parameters: VideoParameters, profile: ModelProfile) -> Prepared:
        return prepare(data, parameters, profile)

    async def expose() -> str:
        return "ray_i2v_cards 1.0\n"

    with ExitStack() as opened:

        def make(**args: object) -> Api:
            own = {"data_dir": tmp_path, "output_dir": tmp_path / "out", "max_upload_bytes": 2**20}
            settings = load_settings({**own, "max_waiting_jobs": 5, **args})
            outputs = open_storage(settings.outputs)
            metrics = InMemoryMetrics()
            service = VideoService(
                settings=settings,
                pools=tuple(served(pool) for pool in settings.pools),
                store=sqlite_store,
                pictures=open_storage(settings.pictures),
                outputs=outputs,
                prepare=prepare_here,
                metrics=metrics,
            )
            app = create_app(service, settings, metrics=metrics, expose=expose)
            http = opened.enter_context(TestClient(app, raise_server_exceptions=False))
            return Api(http, sqlite_store, outputs, settings, metrics)

        yield make


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return make_api()


@pytest.fixture
def s3_api(make_api: Callable[..., Api], s3_url: str) -> Api:
    """The application with its pictures and clips on S3."""
    return make_api(storage_url=s3_url)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody waits: what the service says of when to ask again is shown elsewhere."""
    monkeypatch.setattr(running, "POLL_S", (0.01, 0.01))
    stamina.set_testing(True, attempts=100)
    yield
    stamina.set_testing(False)


@pytest.fixture
def roomy(make_api: Callable[..., Api]) -> Api:
    return make_api(max_waiting_jobs=1000)
