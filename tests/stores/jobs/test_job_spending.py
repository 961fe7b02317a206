"""A key's GPU seconds of a day: what counts, when no more is taken, and when again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import ColumnElement, Double, literal

from serving.errors import RateLimited
from serving.jobs.job import JobStatus, NewJob
from serving.jobs.spending import DAY_S
from serving.jobs.store import JobStore

MODEL = "i2vgen-xl"
Make = Callable[..., NewJob]


class Held:
    """The store's clock; by the wall it stands still until it is moved."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.at = 0.0
        self.boot = clock.boot

    def now(self) -> ColumnElement[float]:
        return self._clock.now()

    def wall(self) -> ColumnElement[float]:
        return literal(self.at, Double)


@pytest.fixture
def clock(store: JobStore) -> Held:
    """At the noon to come, by the wall; the tests move it."""
    held = Held(store._clock)
    held.at = time.time() // DAY_S * DAY_S + DAY_S * 1.5
    store._clock = held
    return held


def run(store: JobStore, clock: Held, took_s: float) -> str:
    job = store.claim("default", MODEL, "card", 30.0)
    assert job is not None
    clock.at += took_s
    assert store.complete(job.id, job.attempt, {})
    return job.id


def refusal(store: JobStore, job: NewJob, allowed_s: float) -> RateLimited:
    with pytest.raises(RateLimited) as raised:
        store.insert(job, max_owner_day_s=allowed_s)
    return raised.value


def test_what_waits_counts_by_its_estimate_and_what_ended_by_what_it_took(
    store: JobStore, clock: Held, new_job: Make
) -> None:
    store.insert(new_job(owner="a"), max_owner_day_s=15.0)
    store.insert(new_job(owner="a"), max_owner_day_s=15.0)  # may reach beyond
    refused = refusal(store, new_job(owner="a"), 15.0)
    assert refused.retry_after_s == pytest.approx(DAY_S / 2)
    assert "20 s are to come" in refused.message
    run(store, clock, 2.0)
    assert store.spent_today() == {"a": pytest.approx(2.0)}
    # 2 s had, 10 s to come; the one in progress counts as well.
    store.claim("default", MODEL, "card", 30.0)
    refusal(store, new_job(owner="a"), 11.0)
    store.insert(new_job(owner="a"), max_owner_day_s=14.0)


def test_one_owner_s_day_is_not_another_s(store: JobStore, clock: Held, new_job: Make) -> None:
    for owner in ("a", ""):
        store.insert(new_job(owner=owner))
        run(store, clock, 100.0)
    refusal(store, new_job(owner="a"), 100.0)
    store.insert(new_job(owner="c", estimates={"default": 200.0}))
    store.insert(new_job(owner="b"), max_owner_day_s=100.0)
    assert set(store.spent_today()) == {"a"}


def test_a_deleted_video_gives_nothing_back(store: JobStore, clock: Held, new_job: Make) -> None:
    done, cancelled = (store.insert(new_job(owner="a")).id for _ in range(2))
    run(store, clock, 60.0)
    store.delete(done)
    job = store.claim("default", MODEL, "card", 30.0)
    assert job is not None
    store.delete(cancelled)
    clock.at += 60.0
    store.fail(job.id, job.attempt, "cancelled", "")
    assert store.spent_today()["a"] == pytest.approx(120.0)
    refusal(store, new_job(owner="a"), 115.0)


def test_a_job_cancelled_before_any_card_took_it_costs_nothing(store: JobStore, clock: Held, new_job: Make) -> None:
    waiting = store.insert(new_job(owner="a"), max_owner_day_s=5.0)
    assert store.cancel(waiting.id).status is JobStatus.FAILED
    store.insert(new_job(owner="a"), max_owner_day_s=5.0)


def test_the_next_day_begins_anew(store: JobStore, clock: Held, new_job: Make) -> None:
    store.insert(new_job(owner="a"))
    run(store, clock, 60.0)
    wait_s = refusal(store, new_job(owner="a"), 50.0).retry_after_s
    assert wait_s is not None
    clock.at += wait_s + 1
    assert store.spent_today() == {}
    store.insert(new_job(owner="a"), max_owner_day_s=50.0)
    run(store, clock, 30.0)
    assert store.spent_today()["a"] == pytest.approx(30.0)


def test_a_quote_s_check_says_the_same(store: JobStore, clock: Held, new_job: Make) -> None:
    store.check_room("a", max_owner_day_s=5.0)
    store.insert(new_job(owner="a"))
    with pytest.raises(RateLimited):
        store.check_room("a", max_owner_day_s=5.0)
