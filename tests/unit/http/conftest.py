"""The HTTP application over the real service, store, storage and preprocessing, without Ray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hands import Api

from serving.http.app import create_app
from serving.jobs.store import JobStore
from serving.jobs.worker import Worker
from serving.preprocessing import Prepared, prepare
from serving.presets import BUILTIN, ModelProfile, profile_for
from serving.request import VideoParameters
from serving.service import ServedPool, VideoService
from serving.settings import PoolSettings, load_settings
from serving.storage import DirectoryStorage
from serving.testing import InMemoryMetrics


@pytest.fixture
def api(tmp_path: Path, sqlite_store: JobStore) -> Iterator[Api]:
    args = {"data_dir": tmp_path, "output_dir": tmp_path / "out", "max_upload_bytes": 2**20, "max_waiting_jobs": 5}
    settings = load_settings(args)
    outputs = DirectoryStorage(settings.output_dir)

    async def prepare_here(data: bytes, parameters: VideoParameters, profile: ModelProfile) -> Prepared:
        return prepare(data, parameters, profile)

    async def expose() -> str:
        return "ray_i2v_cards 1.0\n"

    metrics = InMemoryMetrics()
    service = VideoService(
        settings=settings,
        pools=(ServedPool(PoolSettings(), BUILTIN, profile_for(BUILTIN)),),
        store=sqlite_store,
        pictures=DirectoryStorage(settings.data_dir),
        outputs=outputs,
        prepare=prepare_here,
        metrics=metrics,
    )
    sqlite_store.beat(Worker(id="d", role="dispatcher"))
    sqlite_store.beat(Worker(id="g", role="generator", pool="default", card={"name": "x86", "memory_bytes": None}))
    app = create_app(service, settings, metrics=metrics, expose=expose)
    with TestClient(app, raise_server_exceptions=False) as http:
        yield Api(http, sqlite_store, outputs, metrics)
