"""When a claimed job gets a second card, and what a card that helps leaves behind: real store, real connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from serving import assisting
from serving.assisting import Assistant
from serving.card_meter import CardMeter
from serving.engine.link import Door, connect
from serving.errors import InsufficientGpuMemory
from serving.jobs.job import Job, NewJob
from serving.jobs.store import JobStore
from serving.jobs.worker import Worker
from serving.metrics import BUSY_SECONDS, OUT_OF_MEMORY, STEPS
from serving.pairing import Pairing
from serving.patience import Patience
from serving.pools import ServedPool
from serving.presets import I2VGEN_XL
from serving.scheduling.cards import CARDS
from serving.scheduling.plans import PLANS
from serving.settings import PoolSettings
from serving.testing import EmulatedPipeline, InMemoryMetrics

POOL = ServedPool(PoolSettings(name="h100", card="h100"), "emulated", I2VGEN_XL, 2, 2)
OTHER = ServedPool(PoolSettings(name="a100", card="a100-40gb"), "emulated", I2VGEN_XL, 2, 2)
FIT = {"estimates": {"h100": 6.0, "a100": 30.0}}
Make = Callable[..., NewJob]


def never() -> bool:
    return False


@pytest.fixture
def claimed(sqlite_store: JobStore, new_job: Make) -> Callable[..., Job]:
    """Claims a job for a pool of two cards that are up."""
    for name in ("one", "two"):
        sqlite_store.beat(Worker(id=name, role="generator", pool="h100"))

    def claim(**changes: Any) -> Job:
        sqlite_store.insert(new_job(**FIT, **changes))
        job = sqlite_store.claim("h100", "i2vgen-xl", "w", 30.0)
        assert job is not None
        return job

    return claim


def wanted(store: JobStore, job: Job) -> bool:
    return Pairing(store, [OTHER, POOL]).wanted(job, POOL, time.time())


def test_a_tight_deadline_and_an_idle_card(sqlite_store: JobStore, claimed: Callable[..., Job]) -> None:
    assert wanted(sqlite_store, claimed(deadline=time.time() + 1))


@pytest.mark.parametrize(
    "changes",
    [{}, {"deadline": 600.0}, {"deadline": 1.0, "guidance_scale": 1.0}],
    ids=["no deadline", "time enough", "no halves"],
)
def test_one_card_is_enough(sqlite_store: JobStore, claimed: Callable[..., Job], changes: dict[str, float]) -> None:
    if "deadline" in changes:
        changes = changes | {"deadline": time.time() + changes["deadline"]}
    assert not wanted(sqlite_store, claimed(**changes))


def test_no_card_is_idle(sqlite_store: JobStore, claimed: Callable[..., Job]) -> None:
    first, second = (claimed(deadline=time.time() + 1) for _ in range(2))
    assert not wanted(sqlite_store, second)
    sqlite_store.renew(first.id, 1, 30.0, stage="encoding", progress=95)
    assert wanted(sqlite_store, second)
    sqlite_store.beat(Worker(id="one", role="generator", pool="h100", assists=second.id))
    assert not wanted(sqlite_store, second)


def test_a_card_of_another_pool_is_none(sqlite_store: JobStore, claimed: Callable[..., Job]) -> None:
    job = claimed(deadline=time.time() + 1)
    sqlite_store.beat(Worker(id="two", role="generator", pool="a100"))
    assert not wanted(sqlite_store, job)


def test_a_job_that_waits_goes_first(sqlite_store: JobStore, claimed: Callable[..., Job], new_job: Make) -> None:
    job = claimed(deadline=time.time() + 1)
    sqlite_store.insert(new_job(estimates={"a100": 3.0}))
    assert wanted(sqlite_store, job)  # that one is not for these cards
    sqlite_store.insert(new_job(**FIT, priority="batch"))
    assert not wanted(sqlite_store, job)


# The card that helps.


def assistant(model: Any, metrics: InMemoryMetrics, **options: Any) -> Assistant:
    told = {"on_hang": lambda job, missing: pytest.fail("nothing hangs here")} | options
    return Assistant(model, Patience(I2VGEN_XL.cost, **told), CardMeter(metrics, "h100"))


class Helping:
    """A model that helps as it is told."""

    card = EmulatedPipeline(I2VGEN_XL, CARDS["h100"]).card

    def __init__(self, assist: Callable[..., int]) -> None:
        self.assist = assist

    def plan_for(self, request: object) -> object:
        return PLANS[0]


def help_with(job: Job, helper: Assistant) -> None:
    """Met by a leader that asks for nothing."""
    with Door("127.0.0.1") as door, ThreadPoolExecutor(1) as pool:
        leader = pool.submit(connect, door.meeting)
        helper.assist(job, door, never)
        leader.result(20).close()


def test_it_is_busy_and_counts_no_steps_of_its_own(claimed: Callable[..., Job]) -> None:
    job, metrics = claimed(num_inference_steps=5), InMemoryMetrics()
    model = EmulatedPipeline(I2VGEN_XL.faster(100), CARDS["h100"])
    with Door("127.0.0.1") as door, ThreadPoolExecutor(1) as pool:
        began = time.perf_counter()
        clip = pool.submit(model.generate, Image.new("RGB", (8, 8)), job.request, meeting=door.meeting)
        assistant(EmulatedPipeline(I2VGEN_XL, CARDS["h100"]), metrics).assist(job, door, never)
        took_s = time.perf_counter() - began
        assert clip.result(20).shared_steps == 5
    busy_s = metrics.value(BUSY_SECONDS, pool="h100")
    assert busy_s is not None
    assert 0 < busy_s <= took_s
    assert metrics.value(STEPS, pool="h100") is None


def test_nobody_comes(claimed: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assisting, "COMING_S", 0.1)
    with Door("127.0.0.1") as door:
        assistant(EmulatedPipeline(I2VGEN_XL, CARDS["h100"]), InMemoryMetrics()).assist(claimed(), door, never)


@pytest.mark.parametrize(("error", "counted"), [(InsufficientGpuMemory(), 1.0), (RuntimeError("shapes"), None)])
def test_an_error_ends_the_help_alone(claimed: Callable[..., Job], error: Exception, counted: float | None) -> None:
    metrics = InMemoryMetrics()

    def fail(*_: Any, **__: Any) -> int:
        raise error

    help_with(claimed(), assistant(Helping(fail), metrics))
    assert metrics.value(OUT_OF_MEMORY, pool="h100") == counted


def test_a_poisoned_card_is_the_process_s_end(claimed: Callable[..., Job]) -> None:
    def fail(*_: Any, **__: Any) -> int:
        raise RuntimeError("CUDA error: device-side assert triggered")

    job = claimed()
    with pytest.raises(RuntimeError, match="device-side"):
        help_with(job, assistant(Helping(fail), InMemoryMetrics()))


def test_a_half_that_hangs_is_told_and_waiting_is_no_hang(claimed: Callable[..., Job]) -> None:
    told, done = [], threading.Event()

    def on_hang(job: Job, missing: str) -> None:
        told.append((job.id, missing))
        done.set()

    def wait_and_hang(*_: Any, should_stop: Callable[[], bool], on_half: Callable[[int], object], **__: Any) -> int:
        on_half(1)
        for _ in range(8):
            should_stop()
            time.sleep(0.1)
        assert told == []
        assert done.wait(20)
        return 1

    job = claimed(width=8, height=8)
    help_with(job, assistant(Helping(wait_and_hang), InMemoryMetrics(), on_hang=on_hang, least_step_s=0.4))
    assert told == [(job.id, "no step within 0 s")]
