"""What the store gives a card that puts its job off, and how the two count."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from serving.jobs.job import Job, NewJob
from serving.jobs.store import JobStore
from serving.jobs.tables import jobs, usage
from serving.scheduling.preemption import AtWork

MODEL = "i2vgen-xl"


@pytest.fixture
def insert(store: JobStore, new_job: Callable[..., NewJob]) -> Callable[..., str]:
    """Inserts a job as changed by keywords; its id."""
    return lambda **changes: store.insert(new_job(**changes)).id


def first(store: JobStore, within_s: float, long: Job | None) -> Job | None:
    """What a card of the small pool, which is at work on `long`, does before it."""
    preempts = None if long is None else long.id
    return store.claim("small", MODEL, "card", 30.0, within_s=within_s, preempts=preempts)


def test_a_card_at_work_is_given_a_short_interactive_job_or_none(store: JobStore, insert: Callable[..., str]) -> None:
    long_id = insert(estimates={"small": 40.0})
    long = store.claim("small", MODEL, "card", 30.0)
    assert long is not None
    assert (long.id, long.preempts) == (long_id, None)
    insert(estimates={"small": 4.0}, priority="batch")
    insert(estimates={"small": 30.0}, owner="b")
    insert(estimates={"large": 4.0}, owner="c")
    assert store.waiting_within("small", MODEL, 10.0) == frozenset()
    assert first(store, 10.0, long) is None
    short_id = insert(estimates={"small": 4.0}, owner="d")
    assert store.waiting_within("small", MODEL, 10.0) == {short_id}
    short = first(store, 10.0, long)
    assert short is not None
    assert (short.id, short.preempts, short.pool) == (short_id, long_id, "small")


def test_a_card_that_does_another_job_first_is_one_card(store: JobStore, insert: Callable[..., str]) -> None:
    insert(estimates={"small": 40.0})
    long = store.claim("small", MODEL, "card", 30.0)
    insert(estimates={"small": 4.0})
    short = first(store, 10.0, long)
    assert long is not None
    assert short is not None
    assert store.backlog().left_s == {"small": (44.0,)}
    assert store.cards_at_work("small") == 1
    (card,) = store.outlook(MODEL, ["small"], {"small": 1.0}).at_work["small"]
    assert card == AtWork(left_s=44.0, estimate_s=40.0, another_s=4.0, gives_way=True)
    store.renew(short.id, short.attempt, 30.0, stage="encoding", progress=95)
    assert store.backlog().left_s == {"small": (40.0,)}
    assert store.complete(long.id, long.attempt, {})
    assert store.backlog().left_s == {"small": (0.0,)}


def test_what_a_job_was_put_off_is_not_charged_to_its_owner(store: JobStore, insert: Callable[..., str]) -> None:
    insert(estimates={"small": 40.0}, owner="patient")
    long = store.claim("small", MODEL, "card", 30.0)
    assert long is not None
    ago = update(jobs).values(started_at=jobs.c.started_at - 100)
    store._database.write(lambda c: c.execute(ago))
    store.put_off(long.id, long.attempt - 1, 99.0)  # a late worker's
    store.put_off(long.id, long.attempt, 30.0)
    assert store.get(long.id).preempted_s == 30.0
    assert store.complete(long.id, long.attempt, {})
    served = store._database.read(lambda c: {row.owner: row.gpu_s for row in c.execute(select(usage))})
    assert served == {"patient": pytest.approx(70.0, abs=2.0)}


def test_a_short_job_behind_a_long_one_of_its_owner_is_found(store: JobStore, insert: Callable[..., str]) -> None:
    insert(estimates={"small": 40.0})
    long = store.claim("small", MODEL, "card", 30.0)
    insert(estimates={"small": 40.0})
    older = {jobs.c.ranked_at: jobs.c.ranked_at - 10_000, jobs.c.rank: jobs.c.rank - 10_000}
    store._database.write(lambda c: c.execute(update(jobs).values(older)))
    short_id = insert(estimates={"small": 4.0})
    short = first(store, 10.0, long)
    assert short is not None
    assert short.id == short_id


def test_what_was_tried_before_puts_nothing_off(store: JobStore, insert: Callable[..., str]) -> None:
    """A job that took its card down could take it down again, under another job."""
    insert(estimates={"small": 4.0})
    tried = store.claim("small", MODEL, "card", 30.0)
    assert tried is not None
    store.release(tried.id, tried.attempt, reason_code="x", reason="the card died", charge=True)
    assert store.waiting_within("small", MODEL, 10.0) == frozenset()
    assert first(store, 10.0, tried) is None
    fresh = insert(estimates={"small": 4.0})
    assert store.waiting_within("small", MODEL, 10.0) == {fresh}


def test_a_job_that_waits_again_has_put_nothing_off(store: JobStore, insert: Callable[..., str]) -> None:
    insert(estimates={"small": 40.0})
    long = store.claim("small", MODEL, "card", 30.0)
    insert(estimates={"small": 4.0})
    short = first(store, 10.0, long)
    assert short is not None
    store.release(short.id, short.attempt, reason_code="x", reason="no room", charge=False)
    again = store.get(short.id)
    assert (again.preempts, again.crashes) == (None, 0)
    ahead = store.claim("small", MODEL, "card", 30.0)
    assert ahead is not None
    assert (ahead.id, ahead.preempts) == (short.id, None)
