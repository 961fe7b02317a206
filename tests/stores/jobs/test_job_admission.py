"""The queue's bounds, and how long a refusal asks to wait."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import racers

from serving.errors import RateLimited, ServerOverloaded
from serving.jobs.job import NewJob
from serving.jobs.store import JobStore
from serving.jobs.worker import Worker

MODEL = "i2vgen-xl"
Make = Callable[..., NewJob]


def cards(store: JobStore, count: int) -> None:
    for number in range(count):
        store.beat(Worker(id=f"card-{number}", role="generator"))


def forty(new_job: Make, **changes: object) -> NewJob:
    return new_job(estimates={"default": 40.0}, **changes)


@pytest.mark.parametrize(("live", "wait_s"), [(0, 40.0), (1, 40.0), (2, 20.0)])
def test_a_number_of_jobs(store: JobStore, new_job: Make, live: int, wait_s: float) -> None:
    for _ in range(3):
        store.insert(forty(new_job), max_waiting=3)
    cards(store, live)
    with pytest.raises(ServerOverloaded) as refusal:
        store.insert(new_job(), max_waiting=3)
    assert refusal.value.retry_after_s == pytest.approx(wait_s)
    store.claim("default", MODEL, "card", 30.0)
    store.insert(new_job(), max_waiting=3)


def test_gpu_seconds_of_the_whole_service(store: JobStore, new_job: Make) -> None:
    """The last job may reach beyond; and one larger than the bound is taken by an empty queue."""
    store.insert(new_job(estimates={"default": 500.0}), max_waiting_s=100.0)
    cards(store, 4)
    store.insert(new_job(estimates={"default": 100.0}))
    with pytest.raises(ServerOverloaded) as refusal:
        store.insert(new_job(owner="another"), max_waiting_s=100.0)
    # 500 s too many, for four cards.
    assert refusal.value.retry_after_s == pytest.approx(125.0)
    for _ in range(2):
        store.claim("default", MODEL, "card", 30.0)
    for _ in range(3):
        store.insert(forty(new_job), max_waiting_s=100.0)
    with pytest.raises(ServerOverloaded) as refusal:
        store.insert(forty(new_job), max_waiting_s=100.0)
    # 20 s too many, but room comes only with the next claim: a card takes a job every 40 s, one of four every 10 s.
    assert refusal.value.retry_after_s == pytest.approx(10.0)


def test_the_fastest_pool_s_seconds_count(store: JobStore, new_job: Make) -> None:
    store.insert(new_job(estimates={"fast": 40.0, "slow": 400.0}), max_waiting_s=50.0)
    store.insert(new_job(), max_waiting_s=50.0)
    with pytest.raises(ServerOverloaded):
        store.insert(new_job(), max_waiting_s=50.0)


def test_gpu_seconds_of_one_owner(store: JobStore, new_job: Make) -> None:
    for owner in ("greedy", "greedy", "greedy", "modest"):
        store.insert(forty(new_job, owner=owner), max_owner_s=100.0)
    cards(store, 2)
    with pytest.raises(RateLimited) as refusal:
        store.insert(new_job(owner="greedy"), max_owner_s=100.0, max_waiting=1)
    assert (refusal.value.status, refusal.value.code) == (429, "rate_limit_exceeded")
    # The mean job of 40 s, on half of two cards: the other half is the other owner's.
    assert refusal.value.retry_after_s == pytest.approx(40.0)
    store.insert(new_job(owner="modest"), max_owner_s=100.0)
    store.insert(new_job(), max_owner_s=100.0)


def test_an_accepted_job_inserted_again_is_not_refused(store: JobStore, new_job: Make) -> None:
    new = forty(new_job)
    store.insert(new, max_waiting=1, max_waiting_s=1.0, max_owner_s=1.0)
    assert store.insert(new, max_waiting=1, max_waiting_s=1.0, max_owner_s=1.0).id == new.id


def test_no_refusal_asks_for_more_than_ten_minutes_or_less_than_a_second(store: JobStore, new_job: Make) -> None:
    for seconds, wait_s in ((0.001, 1.0), (1e6, 600.0)):
        store.insert(new_job(estimates={"default": seconds}))
        with pytest.raises(ServerOverloaded) as refusal:
            store.insert(new_job(), max_waiting_s=0.0005)
        assert refusal.value.retry_after_s == wait_s


def test_the_bounds_hold_under_racing_inserts(store: JobStore, store_url: str, new_job: Make) -> None:
    """Each of these jobs takes one GPU second."""
    request = new_job().request
    bounds = {"max_waiting_s": 250.0, "max_owner_s": 1000.0}
    accepted = racers.race(racers.insert_many, [(store_url, request, 150, bounds)] * 4)
    assert sum(accepted) == 250
    assert store.backlog().total == (250, 250.0)
