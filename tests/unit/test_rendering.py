"""What becomes of a job whose card or storage fails: on a real store, with a pipeline that fails on purpose."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from serving.card_meter import CardMeter
from serving.engine.contract import Card
from serving.engine.pipeline import Clip, Pipeline
from serving.engine.weights import locate
from serving.errors import InsufficientGpuMemory, StorageUnavailable
from serving.jobs.job import Job, JobStatus, NewJob
from serving.jobs.lease import JobLease
from serving.jobs.store import JobStore
from serving.metrics import UNMEASURED
from serving.presets import BUILTIN, I2VGEN_XL
from serving.rendering import Rendered, Renderer
from serving.scheduling.cost import Shape
from serving.storage import DirectoryStorage


class Failing:
    """A pipeline whose generation raises."""

    card = Card("x86_64", 0)

    def __init__(self, error: Exception) -> None:
        self._error = error

    def plan_for(self, request: object) -> None:
        return None

    def generate(self, *args: Any, **options: Any) -> None:
        raise self._error


@pytest.fixture
def pictures(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path)


@pytest.fixture
def render(
    sqlite_store: JobStore, new_job: Callable[..., NewJob], pictures: DirectoryStorage
) -> Callable[[Exception], Job]:
    """Renders a job by a pipeline that raises; the job as it is afterwards."""
    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")

    def run(error: Exception, picture_key: str | None = None) -> Job:
        key = picture_key or pictures.put_picture(png.getvalue())
        sqlite_store.insert(new_job(picture_key=key))
        job = sqlite_store.claim("default", "i2vgen-xl", "w", 30.0)
        assert job is not None
        renderer = Renderer(
            Failing(error),  # type: ignore[arg-type]
            I2VGEN_XL.cost,
            sqlite_store,
            pictures,
            CardMeter(UNMEASURED, "default"),
            on_hang=lambda *_: pytest.fail("nothing hangs here"),
        )
        with JobLease(sqlite_store, job) as lease:
            assert renderer.render(job, lease) is None
        return sqlite_store.get(job.id)

    return run


def test_out_of_memory_fails_the_job_alone(render: Callable[[Exception], Job]) -> None:
    job = render(InsufficientGpuMemory())
    assert (job.status, job.error_code) == (JobStatus.FAILED, "insufficient_gpu_memory")


def test_another_error_fails_the_job_with_its_words(render: Callable[[Exception], Job]) -> None:
    job = render(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert (job.status, job.error_code) == (JobStatus.FAILED, "generation_failed")
    assert "mat1" in (job.error_message or "")


def test_storage_out_of_reach_puts_the_job_back(render: Callable[[Exception], Job]) -> None:
    job = render(StorageUnavailable())
    assert (job.status, job.crashes) == (JobStatus.QUEUED, 1)


def test_a_poisoned_card_is_the_processs_end_not_the_jobs(
    render: Callable[[Exception], Job], sqlite_store: JobStore
) -> None:
    with pytest.raises(RuntimeError, match="device-side assert"):
        render(RuntimeError("CUDA error: device-side assert triggered"))
    (job,) = sqlite_store.list()[0]
    assert job.status == JobStatus.IN_PROGRESS  # the replica releases it and exits


def test_a_clip_tells_the_card_s_speed_unless_memory_ran_short_or_its_work_is_not_counted(
    sqlite_store: JobStore, new_job: Callable[..., NewJob], pictures: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = Pipeline.load(locate(BUILTIN), device="cpu")
    renderer = Renderer(
        pipeline, I2VGEN_XL.cost, sqlite_store, pictures, CardMeter(UNMEASURED, "default"), on_hang=lambda *_: None
    )
    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")

    def render(*acceleration: str) -> Rendered | None:
        small = {"width": 64, "height": 64, "num_frames": 2, "num_inference_steps": 1, "acceleration": acceleration}
        sqlite_store.insert(new_job(picture_key=pictures.put_picture(png.getvalue()), **small))
        job = sqlite_store.claim("default", "i2vgen-xl", "w", 30.0)
        assert job is not None
        with JobLease(sqlite_store, job) as lease:
            return renderer.render(job, lease)

    planned = render()
    assert planned is not None
    assert planned.observation is not None
    assert planned.observation.shape == Shape(64, 64, 2, 1, True)
    assert set(planned.observation.seconds) == {"condition", "denoise", "decode"}

    cached = render("deepcache")
    assert cached is not None
    assert cached.observation is not None
    assert cached.observation.shape.accelerations == ("deepcache",)
    assert cached.recipe["parameters"]["acceleration"] == ("deepcache",)
    pipeline.card = replace(pipeline.card, compute_capability=9.0)
    uncounted = render("fp8")
    assert uncounted is not None
    assert uncounted.observation is None

    whole, calls = pipeline._generate, []

    def short_of_memory_at_first(*args: Any) -> Clip:
        calls.append(args)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(*args)

    monkeypatch.setattr(pipeline, "_generate", short_of_memory_at_first)
    replanned = render()
    assert replanned is not None
    assert replanned.observation is None


def test_a_step_that_hangs_is_told_with_its_job(
    sqlite_store: JobStore, new_job: Callable[..., NewJob], pictures: DirectoryStorage
) -> None:
    hung: list[tuple[Job, str]] = []
    done = threading.Event()

    def on_hang(job: Job, missing: str) -> None:
        hung.append((job, missing))
        done.set()

    class Hanging(Failing):
        def generate(self, *args: Any, on_step: Callable[[int, int], None], **options: Any) -> None:
            on_step(1, 50)
            assert done.wait(20)
            raise InsufficientGpuMemory

    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")
    sqlite_store.insert(new_job(picture_key=pictures.put_picture(png.getvalue()), width=8, height=8))
    job = sqlite_store.claim("default", "i2vgen-xl", "w", 30.0)
    assert job is not None
    renderer = Renderer(
        Hanging(RuntimeError()),  # type: ignore[arg-type]
        I2VGEN_XL.cost,
        sqlite_store,
        pictures,
        CardMeter(UNMEASURED, "default"),
        on_hang=on_hang,
        least_step_s=0.1,
    )
    with JobLease(sqlite_store, job) as lease:
        renderer.render(job, lease)
    ((told, missing),) = hung
    assert told.id == job.id
    assert missing.startswith("no step within")
