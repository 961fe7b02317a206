"""Submissions sent more than once are one job, whoever answers them: the real service, over both databases."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving.errors import (
    IdempotencyKeyReused,
    InvalidImage,
    ServerOverloaded,
    SubmissionInFlight,
    VideoNotFound,
)
from serving.jobs import submissions
from serving.jobs.job import Job
from serving.jobs.store import JobStore, open_store
from serving.jobs.submissions import Repetition
from serving.jobs.tables import submissions as table
from serving.keyring import Caller
from serving.parameters import VideoParameters
from serving.pools import ServedPool
from serving.preprocessing import Prepared
from serving.presets import BUILTIN, profile_for
from serving.service import VideoService
from serving.settings import PoolSettings, load_settings
from serving.storage import DirectoryStorage

PICTURE = b"picture"
SHOP = Caller("key_shop")
KEYED = Repetition("order-7", retried=False)
FIRST, RETRY = Repetition(None, retried=False), Repetition(None, retried=True)
Prepare = Callable[[], Awaitable[None]]


async def at_once() -> None:
    pass


class Hold:
    """A preprocessor that waits until it may go on."""

    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> None:
        self.begun.set()
        await self.go_on.wait()


class Submitter:
    """A process of the service: its submissions, and how its preprocessor behaves."""

    def __init__(self, store: JobStore, folder: Path, **settings: Any) -> None:
        self.store = store
        self.prepare: Prepare = at_once
        storage = DirectoryStorage(folder / "stored")
        self.service = VideoService(
            settings=load_settings({"data_dir": folder, "disk_reserve_bytes": 0, **settings}),
            pools=(ServedPool(PoolSettings(), BUILTIN, profile_for(BUILTIN)),),
            store=store,
            pictures=storage,
            outputs=storage,
            prepare=self._prepare,
        )

    async def _prepare(self, *_: object) -> Prepared:
        await self.prepare()
        return Prepared(b"png", 256, 256, (256, 256), ())

    async def send(
        self, repetition: Repetition | None, prompt: str = "p", caller: Caller = SHOP, picture: bytes = PICTURE
    ) -> Job:
        return await self.service.intake.submit(VideoParameters(prompt=prompt), picture, caller, repetition)

    def hold(self) -> Hold:
        """Hold its submissions while their pictures are prepared."""
        self.prepare = hold = Hold()
        return hold

    def count(self) -> int:
        return len(self.store.list()[0])


@pytest.fixture
def one(store: JobStore, tmp_path: Path) -> Submitter:
    return Submitter(store, tmp_path)


@pytest.fixture
def other(store_url: str, tmp_path: Path) -> Iterator[Submitter]:
    """Another process over the same database."""
    with closing(open_store(store_url)) as opened:
        yield Submitter(opened, tmp_path)


def test_a_key_stands_for_its_job(one: Submitter, other: Submitter) -> None:
    async def visit() -> None:
        job = await one.send(KEYED)
        assert (await one.send(KEYED)).id == (await other.send(KEYED)).id == job.id
        for changed in ({"prompt": "q"}, {"picture": b"other"}):
            with pytest.raises(IdempotencyKeyReused) as refusal:
                await other.send(KEYED, **changed)
            assert refusal.value.param == "Idempotency-Key"
        assert (await one.send(Repetition("order-8", retried=False))).id != job.id
        assert (await one.send(KEYED, caller=Caller("key_press"))).id != job.id

    asyncio.run(visit())
    assert one.count() == 3


def test_while_the_first_is_in_flight_the_second_is_told_so(one: Submitter, other: Submitter) -> None:
    async def visit() -> None:
        hold = one.hold()
        first = asyncio.create_task(one.send(KEYED))
        await hold.begun.wait()
        with pytest.raises(SubmissionInFlight) as refusal:
            await other.send(KEYED)
        assert refusal.value.status == 409
        assert refusal.value.retry_after_s == pytest.approx(submissions.IN_FLIGHT_S, abs=15)
        with pytest.raises(IdempotencyKeyReused):
            await other.send(KEYED, "q")
        hold.go_on.set()
        job = await first
        assert (await other.send(KEYED)).id == job.id

    asyncio.run(visit())
    assert one.count() == 1


def test_submissions_in_flight_together_keep_apart(one: Submitter, other: Submitter) -> None:
    async def visit() -> None:
        hold = one.hold()
        first = asyncio.create_task(one.send(KEYED))
        await hold.begun.wait()
        second = await other.send(Repetition("order-8", retried=False))
        hold.go_on.set()
        assert (await first).id != second.id

    asyncio.run(visit())
    assert one.count() == 2


@pytest.mark.parametrize("repetition", [KEYED, RETRY], ids=["key", "retry"])
def test_many_at_once_are_one_job(one: Submitter, other: Submitter, repetition: Repetition) -> None:
    """Threads of two processes; those that meet the first in flight, or were overtaken, are told to come again."""
    start, answers = threading.Barrier(12), []

    def send(submitter: Submitter) -> None:
        start.wait()
        try:
            answers.append(asyncio.run(submitter.send(repetition)).id)
        except SubmissionInFlight as refusal:
            answers.append(refusal)

    threads = [threading.Thread(target=send, args=(submitter,)) for submitter in (one, other) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 12
    ids = {answer for answer in answers if isinstance(answer, str)}
    assert len(ids) == one.count() == 1
    assert asyncio.run(other.send(repetition)).id in ids


def test_a_client_s_retry_is_the_same_job_and_a_repeat_is_not(one: Submitter, other: Submitter) -> None:
    async def visit() -> None:
        job = await one.send(FIRST)
        assert (await other.send(RETRY)).id == (await one.send(RETRY)).id == job.id
        again = await other.send(FIRST)  # on purpose, for another seed
        assert again.id != job.id
        assert (await one.send(RETRY)).id == again.id
        assert (await one.send(None)).id not in (job.id, again.id)
        assert (await one.send(RETRY)).id == again.id
        assert (await one.send(RETRY, "q")).id not in (job.id, again.id)
        assert (await one.send(RETRY, caller=Caller("key_press"))).id not in (job.id, again.id)

    asyncio.run(visit())
    assert one.count() == 5


def test_a_retry_takes_the_place_of_the_submission_that_its_client_gave_up(one: Submitter, other: Submitter) -> None:
    async def visit() -> None:
        hold = one.hold()
        given_up = asyncio.create_task(one.send(FIRST))
        await hold.begun.wait()
        job = await other.send(RETRY)
        hold.go_on.set()
        with pytest.raises(SubmissionInFlight):
            await given_up
        assert (await other.send(RETRY)).id == job.id

    asyncio.run(visit())
    assert one.count() == 1


@pytest.mark.parametrize("repetition", [KEYED, FIRST], ids=["key", "client"])
def test_after_a_refusal_it_can_be_sent_again(store: JobStore, tmp_path: Path, repetition: Repetition) -> None:
    one = Submitter(store, tmp_path, max_waiting_jobs=1)

    async def broken() -> None:
        raise InvalidImage

    async def visit() -> None:
        one.prepare = broken
        with pytest.raises(InvalidImage):
            await one.send(repetition)
        one.prepare = at_once
        waiting = await one.send(None)
        with pytest.raises(ServerOverloaded):
            await one.send(repetition)
        store.delete(waiting.id)
        assert (await one.send(repetition)).id != waiting.id

    asyncio.run(visit())
    assert one.count() == 1


def test_a_client_that_went_away_can_come_again(one: Submitter) -> None:
    async def visit() -> None:
        hold = one.hold()
        left = asyncio.create_task(one.send(KEYED))
        await hold.begun.wait()
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        one.prepare = at_once
        await one.send(KEYED)

    asyncio.run(visit())
    assert one.count() == 1


def test_an_answer_that_never_left_is_found_by_the_next(one: Submitter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job was accepted, and only then went its client away."""
    insert = one.store.insert

    def lost(*given: Any, **bounds: Any) -> Job:
        insert(*given, **bounds)
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(one.store, "insert", lost)
        with pytest.raises(ConnectionError):
            asyncio.run(one.send(KEYED))
    (job,), _ = one.store.list()
    assert asyncio.run(one.send(KEYED)).id == job.id


def test_a_process_that_died_keeps_its_key_for_a_while_only(
    one: Submitter, other: Submitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had noted is all that is left of it; should it live after all, it accepts nothing."""

    async def visit() -> None:
        hold = one.hold()
        stopped = asyncio.create_task(one.send(KEYED))
        await hold.begun.wait()
        with pytest.raises(SubmissionInFlight):
            await other.send(KEYED)
        monkeypatch.setattr(submissions, "IN_FLIGHT_S", 0.0)
        job = await other.send(KEYED)
        hold.go_on.set()
        with pytest.raises(SubmissionInFlight):
            await stopped
        assert (await one.send(KEYED)).id == job.id

    asyncio.run(visit())
    assert one.count() == 1


@pytest.mark.parametrize(
    ("repetition", "again", "lasts"), [(KEYED, KEYED, "KEPT_S"), (FIRST, RETRY, "RETRIED_S")], ids=["key", "retry"]
)
def test_what_is_old_is_forgotten(one: Submitter, repetition: Repetition, again: Repetition, lasts: str) -> None:
    job = asyncio.run(one.send(repetition))
    assert asyncio.run(one.send(again)).id == job.id
    row = one.store._database.read(lambda c: c.execute(table.select()).one())
    assert row.expires_at - row.at == pytest.approx(getattr(submissions, lasts), abs=1)
    one.store._database.write(lambda c: c.execute(table.update().values(expires_at=table.c.at)))
    assert asyncio.run(one.send(again)).id != job.id


def test_a_deleted_video_does_not_come_back(one: Submitter) -> None:
    job = asyncio.run(one.send(KEYED))
    one.store.delete(job.id)
    with pytest.raises(VideoNotFound):
        asyncio.run(one.send(KEYED))
    assert one.count() == 0


def test_an_answer_lost_on_the_way_from_the_database_is_no_second_job(
    one: Submitter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every transaction runs twice, as if its commit's answer had been lost."""
    database = one.store._database
    write = database.write

    def twice(work: Callable[[Any], Any]) -> Any:
        write(work)
        return write(work)

    monkeypatch.setattr(database, "write", twice)
    job = asyncio.run(one.send(KEYED))
    assert asyncio.run(one.send(KEYED)).id == job.id
    other = asyncio.run(one.send(FIRST))
    assert asyncio.run(one.send(RETRY)).id == other.id != job.id
    assert one.count() == 2
