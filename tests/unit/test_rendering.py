"""What becomes of a job whose card or storage fails: on a real store, with a pipeline that fails on purpose."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from serving.card_meter import CardMeter
from serving.engine.contract import Card, Clip
from serving.engine.link import Door
from serving.engine.pipeline import Pipeline
from serving.engine.weights import locate
from serving.errors import InsufficientGpuMemory, StorageUnavailable
from serving.giving_way import GivingWay
from serving.jobs.job import Job, JobStatus, NewJob
from serving.jobs.lease import JobLease
from serving.jobs.store import JobStore
from serving.metrics import UNMEASURED
from serving.patience import Patience
from serving.presets import BUILTIN, I2VGEN_XL
from serving.rendering import LEAD_S, Rendered, Renderer
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import Shape
from serving.scheduling.plans import PLANS
from serving.storage import DirectoryStorage
from serving.testing import EmulatedPipeline
from serving.watchdog import Limits, Watchdog


class Failing:
    """A pipeline whose generation raises."""

    card = Card("x86_64", 0)

    def __init__(self, error: Exception) -> None:
        self._error = error

    def plan_for(self, request: object) -> None:
        return None

    def read(self, picture: Image.Image, request: object) -> Image.Image:
        return picture

    def generate(self, *args: Any, **options: Any) -> None:
        raise self._error


@pytest.fixture
def pictures(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path)


NOTHING_HANGS = Patience(I2VGEN_XL.cost, lambda *_: pytest.fail("nothing hangs here"))


def renderer_of(
    model: Any, store: JobStore, pictures: DirectoryStorage, patience: Patience = NOTHING_HANGS
) -> Renderer:
    return Renderer(model, patience, store, pictures, CardMeter(UNMEASURED, "default"))


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
        renderer = renderer_of(Failing(error), sqlite_store, pictures)
        with JobLease(sqlite_store, job) as lease:
            prepared = renderer.prepare(job, lease)
            assert prepared is None or renderer.render(prepared, lease) is None
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
    renderer = renderer_of(pipeline, sqlite_store, pictures)
    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")

    def render(*acceleration: str) -> Rendered | None:
        small = {"width": 64, "height": 64, "num_frames": 2, "num_inference_steps": 1, "acceleration": acceleration}
        sqlite_store.insert(new_job(picture_key=pictures.put_picture(png.getvalue()), **small))
        job = sqlite_store.claim("default", "i2vgen-xl", "w", 30.0)
        assert job is not None
        with JobLease(sqlite_store, job) as lease:
            prepared = renderer.prepare(job, lease)
            assert prepared is not None
            return renderer.render(prepared, lease)

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

    whole, calls = pipeline._denoise, []

    def short_of_memory_at_first(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(*args)

    monkeypatch.setattr(pipeline, "_denoise", short_of_memory_at_first)
    replanned = render()
    assert replanned is not None
    assert replanned.observation is None


def test_what_a_second_card_did_stands_in_the_recipe_and_teaches_nothing(
    sqlite_store: JobStore, new_job: Callable[..., NewJob], pictures: DirectoryStorage
) -> None:
    model = EmulatedPipeline(I2VGEN_XL.faster(1e6), CARDS["h100"])
    renderer = renderer_of(model, sqlite_store, pictures)
    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")
    found = []
    for helped in (False, True):
        sqlite_store.insert(new_job(picture_key=pictures.put_picture(png.getvalue()), num_inference_steps=5))
        job = sqlite_store.claim("default", "i2vgen-xl", "w", 30.0)
        assert job is not None
        with Door("127.0.0.1") as door, ThreadPoolExecutor(1) as pool, JobLease(sqlite_store, job) as lease:
            if helped:
                second = pool.submit(
                    lambda door=door, job=job: model.assist(door.accept(20, lambda: False), job.request)
                )
            prepared = renderer.prepare(job, lease)
            assert prepared is not None
            rendered = renderer.render(prepared, lease, meeting=door.meeting if helped else None)
            assert not helped or second.result(20) == 5
        assert rendered is not None
        found.append((rendered.recipe["shared_steps"], rendered.observation is not None))
    assert found == [(0, True), (5, False)]


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
            assert done.wait(120)
            raise InsufficientGpuMemory

    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")
    sqlite_store.insert(new_job(picture_key=pictures.put_picture(png.getvalue()), width=8, height=8))
    job = sqlite_store.claim("default", "i2vgen-xl", "w", 30.0)
    assert job is not None
    patience = Patience(I2VGEN_XL.cost, on_hang, least_step_s=0.1)
    renderer = renderer_of(Hanging(RuntimeError()), sqlite_store, pictures, patience)
    with JobLease(sqlite_store, job) as lease:
        prepared = renderer.prepare(job, lease)
        assert prepared is not None
        renderer.render(prepared, lease)
    ((told, missing),) = hung
    assert told.id == job.id
    assert missing.startswith("no step within")


def test_a_job_whose_picture_is_gone_ends_without_a_card(render: Callable[..., Job]) -> None:
    job = render(AssertionError("it had a card"), picture_key="pictures/gone.png")
    assert job.status == JobStatus.FAILED
    assert "nothing is stored" in (job.error_message or "")


def test_the_end_of_a_clip_is_told_ahead_by_what_the_last_one_took(
    sqlite_store: JobStore, new_job: Callable[..., NewJob], pictures: DirectoryStorage
) -> None:
    soon = threading.Event()
    foreseen: list[bool] = []

    class Decoding(Failing):
        source = EmulatedPipeline.source

        def plan_for(self, request: object) -> Any:
            return PLANS[0]

        def generate(self, *args: Any, on_step: Callable[[int, int], None], **options: Any) -> Clip:
            on_step(50, 50)
            # The first one's end cannot be foreseen; of the others the frames are not there before it is told.
            foreseen.append(soon.wait(120) if foreseen else soon.is_set())
            return Clip(np.zeros((8, 8, 8, 3), np.uint8), {"decode": LEAD_S / 2}, None)

    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")
    renderer = renderer_of(Decoding(RuntimeError()), sqlite_store, pictures)
    for _ in range(2):
        sqlite_store.insert(new_job(picture_key=pictures.put_picture(png.getvalue())))
        job = sqlite_store.claim("default", "i2vgen-xl", "w", 30.0)
        assert job is not None
        with JobLease(sqlite_store, job) as lease:
            prepared = renderer.prepare(job, lease)
            assert prepared is not None
            assert renderer.render(prepared, lease, soon.set) is not None
    assert foreseen == [False, True]


def test_a_job_of_several_parts_counts_the_steps_of_all(
    sqlite_store: JobStore, new_job: Callable[..., NewJob], pictures: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[tuple[float, int]] = []
    steps: list[tuple[int, int]] = []
    news: list[tuple[str, int, int]] = []

    def limits_for(expected_s: float, steps: int, least_step_s: float) -> Limits:
        limits.append((expected_s, steps))
        return Limits(60.0, 60.0)

    monkeypatch.setattr("serving.patience.limits_for", limits_for)
    monkeypatch.setattr(Watchdog, "step", lambda _, *told: steps.append(told))
    monkeypatch.setattr(JobLease, "report", lambda _, *told: news.append(told))
    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")
    found = []
    for segments in (1, 3):
        model = EmulatedPipeline(I2VGEN_XL.faster(1e6), CARDS["h100"])
        renderer = renderer_of(model, sqlite_store, pictures)
        asked = {"num_inference_steps": 5, "segments": segments, "seed": 7}
        sqlite_store.insert(new_job(picture_key=pictures.put_picture(png.getvalue()), **asked))
        job = sqlite_store.claim("default", "i2vgen-xl", "w", 30.0)
        assert job is not None
        assert job.steps == 5 * segments
        with JobLease(sqlite_store, job) as lease:
            prepared = renderer.prepare(job, lease)
            assert prepared is not None
            rendered = renderer.render(prepared, lease)
        assert rendered is not None
        found.append(rendered)
    one, three = found
    assert (len(one.frames), len(three.frames)) == (16, 46)
    assert "montage" not in one.recipe
    assert [part["seed"] for part in three.recipe["montage"]["parts"]] == [7, 8, 9]
    assert three.recipe["parameters"]["segments"] == 3
    assert three.observation is not None
    assert three.observation.shape.parts == 3
    # A part that hangs is found as soon as a clip of its own would be.
    assert limits[0] == limits[1]
    assert steps[5:] == 3 * [(step, 5) for step in range(1, 6)]
    assert news[6:] == [
        ("conditioning", 0, 15),
        *(("denoising", step, 15) for step in range(1, 15)),
        ("decoding", 15, 15),
    ]


def test_a_long_clip_gives_way_to_a_short_one_and_tells_neither_as_the_other_s(
    sqlite_store: JobStore, new_job: Callable[..., NewJob], pictures: DirectoryStorage
) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    model = EmulatedPipeline(I2VGEN_XL, CARDS["h100"], sleep, lambda: now[0])
    renderer = renderer_of(model, sqlite_store, pictures)
    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")

    def insert(estimate_s: float) -> None:
        key = pictures.put_picture(png.getvalue())
        sqlite_store.insert(new_job(picture_key=key, estimates={"default": estimate_s}))

    def claimed(**how: Any) -> Job:
        job = sqlite_store.claim("default", "i2vgen-xl", "w", 30.0, **how)
        assert job is not None
        return job

    def render(job: Job, giving_way: GivingWay | None = None) -> Rendered | None:
        with JobLease(sqlite_store, job) as lease:
            prepared = renderer.prepare(job, lease)
            assert prepared is not None
            return renderer.render(prepared, lease, giving_way=giving_way)

    insert(100.0)
    long = claimed()
    shorts: list[Rendered | None] = []

    def claim(within_s: float) -> Job | None:
        return claimed(within_s=within_s, preempts=long.id)

    def work(job: Job) -> bool:
        sleep(1000.0)
        shorts.append(render(job))
        return True

    insert(10.0)
    giving_way = GivingWay(sqlite_store, long, 60.0, claim, work)
    giving_way.look()
    giving_way.look()
    rendered = render(long, giving_way)
    assert rendered is not None
    (short,) = shorts
    assert short is not None
    assert rendered.recipe["preempted_s"] > 1000.0
    assert short.recipe["preempted_s"] == 0.0
    assert rendered.recipe["id"] == long.id != short.recipe["id"]
    assert rendered.observation is not None
    assert sum(rendered.observation.seconds.values()) < 100.0


def test_one_without_room_beside_a_longer_one_waits_again_and_is_not_failed(
    sqlite_store: JobStore, new_job: Callable[..., NewJob], pictures: DirectoryStorage
) -> None:
    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")
    renderer = renderer_of(Failing(InsufficientGpuMemory()), sqlite_store, pictures)
    sqlite_store.insert(new_job(picture_key=pictures.put_picture(png.getvalue())))
    job = sqlite_store.claim("default", "i2vgen-xl", "w", 30.0, within_s=1e9, preempts="video_other")
    assert job is not None
    with JobLease(sqlite_store, job) as lease:
        prepared = renderer.prepare(job, lease)
        assert prepared is not None
        with pytest.raises(InsufficientGpuMemory):
            renderer.render(prepared, lease)
    again = sqlite_store.get(job.id)
    assert (again.status, again.crashes, again.preempts) == (JobStatus.QUEUED, 0, None)
