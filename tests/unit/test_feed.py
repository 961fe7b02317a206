"""Following jobs: one reader for all who follow, who hears what, and what is left behind."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace

import pytest

from serving import feed as feed_module
from serving.errors import ServerOverloaded, StorageUnavailable, VideoNotFound
from serving.feed import PLACES_TOLD, Feed
from serving.jobs.job import Job, JobStatus, NewJob
from serving.jobs.standing import Standing
from serving.jobs.store import JobStore
from serving.metrics import FOLLOWERS
from serving.testing import InMemoryMetrics

Make = Callable[..., NewJob]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "LOOK_S", 0.02)


class Looks:
    """The store, counting how often it is looked into, and out of reach when told to be."""

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self.asked: list[int] = []
        self.broken = False

    def standings(self, ids: Collection[str]) -> dict[str, Standing]:
        self.asked.append(len(ids))
        if self.broken:
            raise StorageUnavailable
        return self._store.standings(ids)


def standing(store: JobStore, job_id: str) -> Standing:
    return store.standings([job_id])[job_id]


def claim(store: JobStore) -> Job:
    job = store.claim("default", "i2vgen-xl", worker="test", lease_s=30)
    assert job is not None
    return job


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


def readers() -> int:
    return sum(thread.name == "feed" for thread in threading.enumerate())


def test_from_the_queue_to_the_end(sqlite_store: JobStore, new_job: Make) -> None:
    job_id = sqlite_store.insert(new_job()).id
    feed = Feed(sqlite_store)

    async def follow() -> list[Standing]:
        heard = []
        async for now in feed.follow(standing(sqlite_store, job_id)):
            heard.append(now)
            if now.status is JobStatus.QUEUED:
                job = claim(sqlite_store)
            elif now.stage == "starting":
                sqlite_store.renew(job_id, job.attempt, 30, stage="denoising", step=3, steps=50, progress=9)
            elif now.stage == "denoising":
                sqlite_store.complete(job_id, job.attempt, {})
        return heard

    heard = asyncio.run(asyncio.wait_for(follow(), 120))
    assert [(now.status.value, now.stage, now.progress) for now in heard] == [
        ("queued", None, 0),
        ("in_progress", "starting", 0),
        ("in_progress", "denoising", 9),
        ("completed", None, 100),
    ]
    assert heard[0].queue_position == 1
    assert [now.queue_position for now in heard[1:]] == [None] * 3


def test_one_reader_for_two_hundred_who_follow(sqlite_store: JobStore, new_job: Make) -> None:
    ids = [sqlite_store.insert(new_job()).id for _ in range(200)]
    store = Looks(sqlite_store)
    feed = Feed(store)  # type: ignore[arg-type]
    began = time.monotonic()

    async def last(job_id: str) -> Standing:
        return [now async for now in feed.follow(standing(sqlite_store, job_id))][-1]

    async def main() -> list[Standing]:
        following = [asyncio.create_task(last(job_id)) for job_id in ids]
        await until(lambda: feed.listeners == 200)
        await until(lambda: len(store.asked) > 5)
        assert readers() == 1
        for job_id in ids:
            sqlite_store.cancel(job_id)
        return await asyncio.gather(*following)

    ends = asyncio.run(main())
    assert [end.id for end in ends] == ids
    assert {end.error_code for end in ends} == {"cancelled"}
    assert max(store.asked) == 200
    # One after another, with a pause after each.
    assert len(store.asked) <= (time.monotonic() - began) / feed_module.LOOK_S + 1


def test_new_places_are_told_in_turn_and_the_end_to_all_at_once(sqlite_store: JobStore, new_job: Make) -> None:
    job_id = sqlite_store.insert(new_job()).id
    places = itertools.count(2)

    class Moving(Looks):
        """Where a job that waits stands elsewhere at each look."""

        def standings(self, ids: Collection[str]) -> dict[str, Standing]:
            found, place = super().standings(ids), next(places)
            return {
                name: replace(now, queue_position=place if now.status is JobStatus.QUEUED else None)
                for name, now in found.items()
            }

    store = Moving(sqlite_store)
    feed = Feed(store)  # type: ignore[arg-type]
    heard = [0] * (3 * PLACES_TOLD)

    async def listen(number: int) -> Standing:
        async for now in feed.follow(standing(sqlite_store, job_id)):
            heard[number] += now.queue_position not in (None, 1)
        return now

    async def main() -> list[Standing]:
        following = [asyncio.create_task(listen(number)) for number in range(len(heard))]
        await until(lambda: min(heard) >= 3)
        told, looks = sum(heard), len(store.asked)
        assert told <= looks * PLACES_TOLD
        sqlite_store.cancel(job_id)
        return await asyncio.gather(*following)

    assert {end.error_code for end in asyncio.run(main())} == {"cancelled"}


def test_who_goes_away_is_forgotten_and_the_reader_ends(sqlite_store: JobStore, new_job: Make) -> None:
    job_id = sqlite_store.insert(new_job()).id
    metrics = InMemoryMetrics()
    feed = Feed(sqlite_store, metrics)

    async def listen() -> None:
        async for _ in feed.follow(standing(sqlite_store, job_id)):
            pass

    async def main() -> None:
        for _ in range(2):  # the second time the reader begins anew
            following = [asyncio.create_task(listen()) for _ in range(3)]
            await until(lambda: metrics.value(FOLLOWERS) == feed.listeners == 3)
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)
            assert feed.listeners == 0
            await until(lambda: readers() == 0)
            assert metrics.value(FOLLOWERS) == 0

    asyncio.run(main())


def test_who_is_slow_misses_what_lies_between_and_not_the_last(sqlite_store: JobStore, new_job: Make) -> None:
    job_id = sqlite_store.insert(new_job()).id
    store = Looks(sqlite_store)
    feed = Feed(store)  # type: ignore[arg-type]

    async def two_looks() -> None:
        seen = len(store.asked)
        await until(lambda: len(store.asked) > seen + 1)

    async def main() -> list[int]:
        job = claim(sqlite_store)
        steps = []
        async for now in feed.follow(standing(sqlite_store, job_id)):
            steps.append(now.step)
            if len(steps) == 2:
                for step in range(2, 8):
                    sqlite_store.renew(job_id, job.attempt, 30, stage="denoising", step=step, steps=8)
                    await two_looks()
                sqlite_store.fail(job_id, job.attempt, "generation_failed", "no")
                await two_looks()
            elif len(steps) == 1:
                sqlite_store.renew(job_id, job.attempt, 30, stage="denoising", step=1, steps=8)
        assert now.status is JobStatus.FAILED
        return steps

    assert asyncio.run(asyncio.wait_for(main(), 120)) == [0, 1, 7]


def test_a_deleted_job_is_told_of(sqlite_store: JobStore, new_job: Make) -> None:
    job_id = sqlite_store.insert(new_job()).id
    feed = Feed(sqlite_store)

    async def main() -> None:
        async for _ in feed.follow(standing(sqlite_store, job_id)):
            sqlite_store.delete(job_id)

    with pytest.raises(VideoNotFound):
        asyncio.run(asyncio.wait_for(main(), 120))
    assert feed.listeners == 0


def test_a_store_out_of_reach_only_delays_the_news(sqlite_store: JobStore, new_job: Make) -> None:
    job_id = sqlite_store.insert(new_job()).id
    store = Looks(sqlite_store)
    store.broken = True
    feed = Feed(store)  # type: ignore[arg-type]

    async def main() -> JobStatus:
        async for now in feed.follow(standing(sqlite_store, job_id)):
            if now.status is JobStatus.QUEUED:
                sqlite_store.cancel(job_id)
                following = asyncio.get_running_loop().run_in_executor(None, mend)
        await following
        return now.status

    def mend() -> None:
        while len(store.asked) < 3:
            pass
        store.broken = False

    assert asyncio.run(asyncio.wait_for(main(), 120)) is JobStatus.FAILED


def test_there_is_room_for_so_many(sqlite_store: JobStore, new_job: Make) -> None:
    first = standing(sqlite_store, sqlite_store.insert(new_job()).id)
    feed = Feed(sqlite_store, max_listeners=1)

    async def main() -> None:
        feed.check_room()
        following = feed.follow(first)
        await anext(following)
        waiting = asyncio.ensure_future(anext(following))
        await until(lambda: feed.listeners == 1)
        with pytest.raises(ServerOverloaded) as refused:
            feed.check_room()
        assert refused.value.retry_after_s
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        feed.check_room()

    asyncio.run(main())
