"""What a job would find before it, were it accepted now."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from sqlalchemy import update

from serving.errors import RateLimited, ServerOverloaded
from serving.jobs.job import NewJob
from serving.jobs.store import JobStore
from serving.jobs.tables import jobs
from serving.scheduling.forecast import Stretch
from serving.scheduling.preemption import AtWork
from serving.scheduling.queueing import PATIENCE

MODEL = "i2vgen-xl"
SHARED = {"large": 10.0, "small": 40.0}
POOLS = ("large", "small")


@pytest.fixture
def insert(store: JobStore, new_job: Callable[..., NewJob]) -> Callable[..., str]:
    return lambda **changes: store.insert(new_job(**({"estimates": SHARED} | changes))).id


def test_the_line_by_owner_and_side(store: JobStore, insert: Callable[..., str]) -> None:
    for owner in ("a", "a", "b"):
        insert(owner=owner)
    insert(owner="a", estimates={"large": 100.0, "small": 400.0})
    insert(owner="a", estimates={"large": 7.0})
    insert(model="other")
    before = time.time()
    found = store.outlook(MODEL, POOLS, {"large": 20.0})
    assert before <= found.now <= time.time()
    assert found.job.rank == pytest.approx(found.now + PATIENCE * 20.0, abs=0.01)
    lines = {(one.owner, one.fit, one.rank <= found.job.rank): one for one in found.waiting}
    shared = frozenset(SHARED)
    assert set(lines) == {
        ("a", shared, True),
        ("a", shared, False),
        ("b", shared, True),
        ("a", frozenset({"large"}), True),
    }
    both = lines["a", shared, True]
    assert (both.jobs, both.estimate_s, both.seconds) == (2, 20.0, {"large": 20.0, "small": 80.0})
    assert lines["a", shared, False].seconds == {"large": 100.0, "small": 400.0}
    assert lines["a", frozenset({"large"}), True].seconds == {"large": 7.0}


def test_a_deadline_moves_the_job_forward(store: JobStore, insert: Callable[..., str]) -> None:
    deadline = time.time() + 1000.0
    insert(deadline=deadline)
    found = store.outlook(MODEL, POOLS, {"large": 100.0}, deadline_s=220.0)
    assert found.job.deadline == pytest.approx(found.now + 220.0, abs=0.01)
    assert found.job.rank == pytest.approx(found.now + 20.0, abs=0.01)
    (timed,) = found.waiting
    assert timed.deadline == pytest.approx(deadline, abs=0.01)


def test_work_in_hand_and_work_abandoned(store: JobStore, insert: Callable[..., str]) -> None:
    for _ in range(3):
        insert()
    kept, left, lost = (store.claim("small", MODEL, "card", 30.0) for _ in range(3))
    assert kept is not None
    assert left is not None
    assert lost is not None
    store.renew(left.id, 1, 30.0, progress=75)
    store._database.write(lambda c: c.execute(update(jobs).where(jobs.c.id == lost.id).values(lease_until=0.0)))
    found = store.outlook(MODEL, POOLS, {"large": 1.0})
    assert sorted(one.left_s for one in found.at_work["small"]) == [10.0, 40.0]
    assert (found.usage["small"].by_owner, found.usage["small"].jobs) == ({"": 120.0}, {"": 3.0})
    assert found.usage["large"].by_owner == {}
    (abandoned,) = found.waiting
    assert abandoned == Stretch(frozenset(SHARED), "interactive", "", abandoned.rank, 1, 10.0, SHARED, None, (lost.id,))


def test_the_situation_job_by_job(store: JobStore, insert: Callable[..., str]) -> None:
    deadline = time.time() + 1000.0
    first, timed, lost = insert(owner="a"), insert(deadline=deadline, estimates={"large": 7.0}), insert()
    insert(model="other")
    claimed = store.claim("small", MODEL, "card", 30.0)
    assert claimed is not None
    assert claimed.id == first
    gone = {"status": "in_progress", "lease_until": 0.0, "pool": "large"}
    store._database.write(lambda c: c.execute(update(jobs).where(jobs.c.id == lost).values(gone)))
    found = store.situation(MODEL, POOLS, most=1)
    assert found is not None
    lines = {one.ids: one for one in found.waiting}
    assert set(lines) == {(timed,), (lost,)}
    alone = lines[(timed,)]
    assert (alone.fit, alone.owner, alone.jobs, alone.seconds) == (frozenset({"large"}), "", 1, {"large": 7.0})
    assert alone.deadline == pytest.approx(deadline, abs=0.01)
    assert lines[(lost,)].seconds == SHARED
    assert found.at_work == {"small": (AtWork(left_s=40.0, estimate_s=40.0, gives_way=True),)}
    assert found.usage["small"].by_owner == {"a": 40.0}
    assert store.situation(MODEL, POOLS, most=0) is None


def test_jobs_whose_pools_are_not_known(store: JobStore, insert: Callable[..., str]) -> None:
    insert(estimates={"gone": 30.0})
    store.adopt(dict.fromkeys(POOLS, MODEL))
    (adopted,) = store.outlook(MODEL, POOLS, {"large": 1.0}).waiting
    assert (adopted.fit, adopted.seconds, adopted.seconds_each("small")) == (frozenset(), {}, 30.0)


def test_room_is_told_without_taking_it(store: JobStore, insert: Callable[..., str]) -> None:
    insert(owner="greedy", estimates={"large": 50.0})
    store.check_room("greedy", max_waiting=2, max_waiting_s=60.0, max_owner_s=60.0)
    with pytest.raises(RateLimited):
        store.check_room("greedy", max_owner_s=50.0)
    store.check_room("modest", max_owner_s=50.0)
    with pytest.raises(ServerOverloaded):
        store.check_room("modest", max_waiting=1)
    assert store.backlog().total.jobs == 1
