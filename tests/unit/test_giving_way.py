"""When a job at work gives way, and to what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from serving.errors import StorageUnavailable
from serving.giving_way import GivingWay, gives_way
from serving.jobs.job import Job, NewJob
from serving.jobs.store import JobStore


class Card:
    """That works on one job of 100 s, by a store."""

    def __init__(self, store: JobStore, new_job: Callable[..., NewJob]) -> None:
        self.store, self._new_job = store, new_job
        self.insert(100.0)
        job = store.claim("default", "i2vgen-xl", "w", 30.0)
        assert job is not None
        self.job = job
        self.done: list[str] = []
        self.room = True
        self.error: Exception | None = None
        self.giving_way = GivingWay(store, job, 60.0, self._claim, self._work)

    def insert(self, estimate_s: float) -> str:
        return self.store.insert(self._new_job(estimates={"default": estimate_s})).id

    def _claim(self, within_s: float) -> Job | None:
        if self.error is not None:
            raise self.error
        return self.store.claim("default", "i2vgen-xl", "w", 30.0, within_s=within_s, preempts=self.job.id)

    def _work(self, job: Job) -> bool:
        self.done.append(job.id)
        return self.room

    def steps(self) -> bool:
        """Whether the job gives way now."""
        before = len(self.done)
        shorter = self.giving_way()
        if shorter is not None:
            shorter()
        return len(self.done) > before


@pytest.fixture
def card(sqlite_store: JobStore, new_job: Callable[..., NewJob]) -> Card:
    return Card(sqlite_store, new_job)


def test_it_gives_way_to_what_two_looks_saw(card: Card) -> None:
    card.giving_way.look()
    short = card.insert(10.0)
    card.giving_way.look()
    assert not card.steps()  # a free card takes it before the next look
    card.giving_way.look()
    assert card.steps()
    assert card.done == [short]
    assert not card.steps()


def test_what_another_card_took_meanwhile_is_none(card: Card) -> None:
    card.insert(10.0)
    card.giving_way.look()
    card.giving_way.look()
    assert card.store.claim("default", "i2vgen-xl", "other", 30.0) is not None
    assert not card.steps()


def test_near_its_end_it_gives_way_to_nothing_longer(card: Card) -> None:
    card.insert(10.0)
    card.giving_way.step(95, 100)
    card.giving_way.look()
    card.giving_way.look()
    assert not card.steps()


def test_where_there_was_no_room_it_gives_way_no_more(card: Card) -> None:
    card.room = False
    card.insert(10.0)
    card.insert(10.0)
    for expected in (True, False):
        card.giving_way.look()
        card.giving_way.look()
        assert card.steps() == expected


@pytest.mark.parametrize("error", [StorageUnavailable(), RuntimeError("a row that cannot be read")])
def test_a_store_that_fails_stops_no_card(card: Card, error: Exception) -> None:
    card.insert(10.0)
    card.giving_way.look()
    card.giving_way.look()
    card.error = error
    assert not card.steps()


def test_looks_go_on_after_one_that_failed(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.giving_way.LOOK_S", 0.01)
    found = card.store.waiting_within
    failures = iter([StorageUnavailable(), RuntimeError("a row that cannot be read")])

    def sometimes(*args: Any) -> frozenset[str]:
        if (error := next(failures, None)) is not None:
            raise error
        return found(*args)

    monkeypatch.setattr(card.store, "waiting_within", sometimes)
    card.insert(10.0)

    async def wanted() -> None:
        looking = asyncio.create_task(card.giving_way.keep_looking())
        async with asyncio.timeout(20):
            while card.giving_way() is None:
                await asyncio.sleep(0.01)
        looking.cancel()

    asyncio.run(wanted())


def test_the_store_is_told_how_long_it_was_put_off(card: Card) -> None:
    card.insert(10.0)
    card.giving_way.look()
    card.giving_way.look()
    assert card.steps()
    assert card.store.get(card.job.id).preempted_s > 0


def test_who_has_a_deadline_or_8_bit_weights_is_not_put_off(
    sqlite_store: JobStore, new_job: Callable[..., NewJob]
) -> None:
    def job(**changes: object) -> Job:
        return sqlite_store.insert(new_job(**changes))

    assert gives_way(job(), 60.0)
    assert not gives_way(job(), 0.0)
    assert not gives_way(job(deadline=1e10), 60.0)
    assert not gives_way(job(acceleration=("fp8",)), 60.0)
