"""The dispatcher and the generator in this process: a real store, and handles whose calls fail on purpose."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from ray import serve
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.serve.exceptions import ReplicaUnavailableError, RequestCancelledError

from deployments import dispatcher
from deployments.aftermath import Aftermath, aftermath
from deployments.dispatcher import Dispatcher
from deployments.encoder import RECEIVED
from deployments.generator import Generator
from deployments.wiring import Wiring
from serving.jobs.database import Database
from serving.jobs.job import Job, JobStatus, NewJob
from serving.jobs.store import JobStore
from serving.jobs.worker import Worker
from serving.metrics import UNMEASURED, Metrics
from serving.pools import ServedPool
from serving.presets import EMULATED, profile_for
from serving.settings import load_settings

Make = Callable[..., NewJob]


class Unmeasured(Wiring):
    """Without what only Ray's own replicas can have."""

    def metrics(self) -> Metrics:
        return UNMEASURED

    def open_log(self) -> None:
        pass


@pytest.fixture
def wiring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wiring:
    monkeypatch.setattr(serve, "get_replica_context", lambda: SimpleNamespace(replica_tag="r"))
    monkeypatch.setattr(dispatcher, "BACKOFF_S", 0.01)
    pools = [{"name": "default", "card": "rtx4090", "model": EMULATED}]
    folders = {name: tmp_path / name for name in ("data_dir", "output_dir", "log_dir")}
    settings = load_settings({**folders, "pools": pools, "max_attempts": 2})
    served = ServedPool(settings.pools[0], EMULATED, profile_for(EMULATED).faster(1e6))
    return Unmeasured(settings, (served,), tmp_path / "log")


@pytest.fixture
def store(wiring: Wiring) -> Iterator[JobStore]:
    opened = wiring.open_store()
    yield opened
    opened.close()


@pytest.fixture
def job(store: JobStore, wiring: Wiring, new_job: Make) -> Job:
    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")
    return store.insert(new_job(model=EMULATED, picture_key=wiring.pictures().put_picture(png.getvalue())))


def test_crashes_that_end_a_job_are_as_set(store: JobStore, job: Job) -> None:
    for left in (JobStatus.QUEUED, JobStatus.FAILED):
        claimed = store.claim("default", EMULATED, "w", 30.0)
        assert claimed is not None
        store.release(job.id, claimed.attempt, reason_code="worker_crashed", reason="died", charge=True)
        assert store.get(job.id).status is left


class Cards:
    """A pool's handle: each dispatch does the next of `acts`, and then nothing ever comes back."""

    def __init__(self, *acts: Callable[[], Awaitable[None]]) -> None:
        self._acts, self._names = list(acts), ["card", "another"]
        self.dispatched = asyncio.Queue[Job]()
        self.looked_for = 0

    def options(self, **_: object) -> Cards:
        return self

    @asynccontextmanager
    async def choose_replica(self) -> AsyncIterator[SimpleNamespace]:
        self.looked_for += 1
        yield SimpleNamespace(replica_id=self._names[min(self.looked_for, 2) - 1])

    def dispatch(self, card: object, job: Job, meeting: object) -> Awaitable[None]:
        assert meeting is None
        self.dispatched.put_nowait(job)
        return self._acts.pop(0)() if self._acts else asyncio.sleep(3600)


def raises(error: BaseException) -> Callable[[], Awaitable[None]]:
    def at_once() -> Awaitable[None]:
        raise error

    return at_once


def comes_back_with(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def later() -> None:
        raise error

    return later


def dispatch(wiring: Wiring, *acts: Callable[[], Awaitable[None]], until: Callable[[Cards], Awaitable[object]]) -> None:
    """Run a dispatcher over cards that do as told, until `until` returns."""

    async def run() -> None:
        cards = Cards(*acts)
        running = Dispatcher.func_or_class(wiring, {"default": cards})
        try:
            await asyncio.wait_for(until(cards), 120)
            await running.check_health()
        finally:
            tasks = [*running._loops, *running._at_work["default"]]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            running._beat.leave()

    asyncio.run(run())


async def twice(cards: Cards) -> None:
    await cards.dispatched.get()
    await cards.dispatched.get()


def test_no_card_is_looked_for_while_all_are_at_work(wiring: Wiring, store: JobStore, job: Job, new_job: Make) -> None:
    waiting = [store.insert(new_job(model=EMULATED, picture_key=job.picture_key)) for _ in range(2)]
    store.beat(Worker(id="card", role="generator", pool="default"))
    over = asyncio.Event()

    async def at_work() -> None:
        await over.wait()

    async def one_after_another(cards: Cards) -> None:
        assert (await cards.dispatched.get()).id == job.id
        await asyncio.sleep(5 * dispatcher.POLL_S)
        assert cards.looked_for == 1
        over.set()
        assert (await cards.dispatched.get()).id == waiting[0].id
        # A second card: that the first is at work is no reason to wait.
        store.beat(Worker(id="another", role="generator", pool="default"))
        assert (await cards.dispatched.get()).id == waiting[1].id

    dispatch(wiring, at_work, until=one_after_another)


def test_a_card_that_serve_is_stopping_is_none_that_is_at_work(
    wiring: Wiring, store: JobStore, job: Job, new_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = store.insert(new_job(model=EMULATED, picture_key=job.picture_key))
    stopping, other = (wiring.worker(wiring.pools[0], name) for name in ("card", "another"))
    store.beat(Worker(id=stopping, role="generator", pool="default"))

    async def both_at_once(cards: Cards) -> None:
        assert (await cards.dispatched.get()).id == job.id
        monkeypatch.setattr(dispatcher, "leaving", lambda: frozenset({"card"}))
        store.leave(stopping)
        store.beat(Worker(id=other, role="generator", pool="default"))
        assert (await cards.dispatched.get()).id == waiting.id

    dispatch(wiring, until=both_at_once)
    assert [store.get(one.id).worker for one in (job, waiting)] == [stopping, other]


def cause(error: Exception) -> RayTaskError:
    """As awaiting the call of a replica raises it whose own code raised `error`."""
    raised: RayTaskError = RayTaskError("generate", "traceback", error).as_instanceof_cause()
    return raised


@pytest.mark.parametrize(
    ("act", "crashes"),
    [
        (raises(RuntimeError("the router is closed")), 0),
        (comes_back_with(ReplicaUnavailableError("replica")), 0),
        (comes_back_with(ActorDiedError()), 1),
        (comes_back_with(cause(ValueError("a bug"))), 1),
    ],
)
def test_a_job_that_nobody_works_on_goes_to_another_card_at_once(
    wiring: Wiring, store: JobStore, job: Job, act: Callable[[], Awaitable[None]], crashes: int
) -> None:
    dispatch(wiring, act, until=twice)
    again = store.get(job.id)
    assert (again.status, again.attempt, again.crashes) == (JobStatus.IN_PROGRESS, 2, crashes)


@pytest.mark.parametrize(
    "error",
    [
        ActorUnavailableError("no answer", b"0" * 16),
        RequestCancelledError("r"),
        asyncio.CancelledError(),
        TypeError("cannot be pickled"),
    ],
)
def test_a_job_that_its_card_may_still_have_is_left_to_its_lease(
    wiring: Wiring, store: JobStore, job: Job, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def told(_: Cards) -> None:
        while "left to its lease" not in caplog.text:
            await asyncio.sleep(0.01)

    dispatch(wiring, comes_back_with(error), until=told)
    left = store.get(job.id)
    assert (left.status, left.attempt, left.crashes) == (JobStatus.IN_PROGRESS, 1, 0)


def test_an_error_of_the_card_s_own_code_is_not_taken_for_one_of_the_way_there() -> None:
    assert aftermath(cause(ReplicaUnavailableError("encoder"))) is Aftermath.OVER
    assert aftermath(cause(RequestCancelledError("r"))) is Aftermath.UNKNOWN


class Encoders:
    """The encoder's handle, which takes every clip."""

    def __init__(self) -> None:
        self.encode = self
        self.took = asyncio.Event()

    def options(self, **_: object) -> Encoders:
        return self

    async def remote(self, *_: Any) -> AsyncIterator[str]:
        self.took.set()
        yield RECEIVED


class Card(Generator.func_or_class):
    """Without the hook that Serve awaits at a replica's end, as Python calls it too."""

    leave = Generator.func_or_class.__del__

    def __del__(self) -> None:
        pass


def test_no_database_call_holds_up_a_card_s_event_loop(
    wiring: Wiring, store: JobStore, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = store.claim("default", EMULATED, "w", 30.0)
    assert claimed is not None
    callers: list[int] = []
    for name in ("read", "write"):
        method = getattr(Database, name)

        def noted(database: Database, *args: Any, method: Callable[..., Any] = method, **options: Any) -> Any:
            callers.append(threading.get_ident())
            return method(database, *args, **options)

        monkeypatch.setattr(Database, name, noted)

    async def run() -> None:
        encoders = Encoders()
        card = Card(wiring, wiring.pools[0], encoders)
        callers.clear()
        await asyncio.wait_for(card.generate(claimed), 120)
        await asyncio.wait_for(encoders.took.wait(), 120)
        while card._tasks:
            await asyncio.sleep(0.01)
        await card.leave()

    asyncio.run(run())
    assert len(callers) >= 3
    assert threading.get_ident() not in callers
