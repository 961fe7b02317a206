"""Which waiting job the store hands to which pool, where each stands, and what the backlog says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from serving.jobs import line, places
from serving.jobs.backlog import Load, WaitingGroup
from serving.jobs.job import Job, NewJob
from serving.jobs.line import Turns
from serving.jobs.places import Places
from serving.jobs.queue import queue_name, queue_of
from serving.jobs.store import JobStore
from serving.jobs.tables import jobs, usage, workers
from serving.jobs.worker import Worker
from serving.scheduling.queueing import DELAY_S, PATIENCE, QUANTUM_S

MODEL = "i2vgen-xl"
SMALL = {"small": 40.0}
LARGE = {"large": 30.0}
SHARED = {"large": 10.0, "small": 40.0}
Make = Callable[..., NewJob]


@pytest.fixture
def insert(store: JobStore, new_job: Make) -> Callable[..., str]:
    """Inserts a job as changed by keywords; its id."""
    return lambda **changes: store.insert(new_job(**({"estimates": SHARED} | changes))).id


def claim(store: JobStore, pool: str = "large") -> Job | None:
    return store.claim(pool, MODEL, "card", 30.0)


def claimed(store: JobStore, pool: str = "large") -> str | None:
    job = claim(store, pool)
    return None if job is None else job.id


def wait(store: JobStore, seconds: float) -> None:
    """As if all jobs had waited that much longer."""
    older = {jobs.c.ranked_at: jobs.c.ranked_at - seconds, jobs.c.rank: jobs.c.rank - seconds}
    store._database.write(lambda c: c.execute(update(jobs).values(older)))


def test_a_pool_is_given_only_what_it_can_hold(store: JobStore, insert: Callable[..., str]) -> None:
    large = insert(estimates=LARGE)
    assert store.claimable("large", MODEL)
    assert not store.claimable("small", MODEL)
    assert not store.claimable("large", "other")
    assert claimed(store, "small") is None
    assert claimed(store, "large") == large


def test_a_claim_says_which_pool_has_the_job(store: JobStore, insert: Callable[..., str]) -> None:
    job_id = insert(owner="key-1", deadline=time.time() + 3600)
    waiting = store.get(job_id)
    assert (waiting.owner, waiting.pool, waiting.estimates, waiting.estimate_s) == ("key-1", None, SHARED, 10.0)
    assert waiting.deadline == pytest.approx(time.time() + 3600, abs=60)
    job = claim(store, "small")
    assert job is not None
    assert job.pool == "small"
    released = store.release(job_id, 1, reason_code="drain", reason="scaling down", charge=False)
    assert released is not None
    assert released.pool is None


def test_shorter_first_inside_a_group(store: JobStore, insert: Callable[..., str]) -> None:
    ids = {insert(estimates={"large": seconds}): seconds for seconds in (50.0, 20.0, 80.0, 5.0)}
    positions = {seconds: store.queue_position(job_id) for job_id, seconds in ids.items()}
    assert positions == {5.0: 1, 20.0: 2, 50.0: 3, 80.0: 4}
    assert [ids[str(claimed(store))] for _ in ids] == [5.0, 20.0, 50.0, 80.0]


def test_a_long_job_that_has_waited_goes_before_a_new_short_one(store: JobStore, insert: Callable[..., str]) -> None:
    long = insert(estimates={"large": 100.0})
    wait(store, PATIENCE * 100.0)
    insert(estimates={"large": 5.0})
    assert claimed(store) == long


def test_large_cards_leave_shared_jobs_to_small_ones_until_they_are_due(
    store: JobStore, insert: Callable[..., str]
) -> None:
    shared, own, second = insert(), insert(estimates=LARGE), insert(estimates=LARGE)
    assert claimed(store) == own
    wait(store, PATIENCE * 10.0)
    assert claimed(store) == shared
    assert claimed(store) == second


def test_batch_waits_for_interactive_until_it_is_due(store: JobStore, insert: Callable[..., str]) -> None:
    batch, first, second = insert(priority="batch"), insert(), insert()
    assert claimed(store) == first
    wait(store, DELAY_S["batch"] + PATIENCE * 10.0)
    # Due beside the second, and accepted before it; but its rank counts the delay.
    assert claimed(store) == second
    insert()
    assert claimed(store) == batch


def test_a_close_deadline_is_seen_behind_an_older_line(store: JobStore, insert: Callable[..., str]) -> None:
    for _ in range(3):
        insert()
    wait(store, 600.0)
    urgent = insert(deadline=time.time() + 15.0)
    far = insert(deadline=time.time() + 1e6)
    assert claimed(store) == urgent
    assert claimed(store) != far


def test_a_slow_pool_starts_on_a_deadline_earlier(store: JobStore, insert: Callable[..., str]) -> None:
    older = insert()
    wait(store, 30.0)
    # In 50 s: the large card has time for it later, the small one has not.
    urgent = insert(deadline=time.time() + 50.0)
    assert claimed(store, "large") == older
    insert()
    wait(store, 30.0)
    assert claimed(store, "small") == urgent


def test_the_owner_served_less_goes_first(store: JobStore, insert: Callable[..., str]) -> None:
    mine = [insert(owner="flood") for _ in range(9)]
    single = insert(owner="single")
    # Each in progress counts with its whole estimate.
    for _ in range(int(QUANTUM_S // 10) + 1):
        assert claimed(store) in mine
    assert claimed(store) == single


def began_earlier(store: JobStore, seconds: float) -> None:
    """As if all jobs had been claimed so much earlier."""
    earlier = update(jobs).values(started_at=jobs.c.started_at - seconds)
    store._database.write(lambda c: c.execute(earlier))


def served(store: JobStore) -> dict[tuple[str, str], float]:
    found = store._database.read(lambda c: c.execute(select(usage.c.pool, usage.c.owner, usage.c.gpu_s)).all())
    return {(pool, owner): gpu_s for pool, owner, gpu_s in found}


@pytest.mark.parametrize("end", ["complete", "fail", "deleted", "crash", "drain"])
def test_finished_attempts_are_charged_to_their_owner(store: JobStore, insert: Callable[..., str], end: str) -> None:
    began = time.monotonic()
    for _ in range(2):
        job_id = insert(owner="key-1")
        assert claimed(store) == job_id
        began_earlier(store, 100.0)
        if end == "complete":
            store.complete(job_id, 1, {})
            store.complete(job_id, 1, {})
        elif end == "fail":
            store.fail(job_id, 1, "generation_failed", "so it was")
        elif end == "deleted":
            store.delete(job_id)
            store.complete(job_id, 1, {})
        else:
            store.release(job_id, 1, reason_code=end, reason="gone", charge=end == "crash")
            store.cancel(job_id)
    asking_s = time.monotonic() - began
    charged = {} if end in ("crash", "drain") else {("large", "key-1"): pytest.approx(200.0, abs=asking_s + 0.01)}
    assert served(store) == charged


def test_what_was_served_decides_after_the_job_has_ended(store: JobStore, insert: Callable[..., str]) -> None:
    long = {"large": 150.0, "small": 600.0}
    first = insert(owner="a", estimates=long)
    assert claimed(store) == first
    began_earlier(store, 2 * QUANTUM_S)
    store.complete(first, 1, {})
    insert(owner="a", estimates=long)
    other = insert(owner="b", estimates=long)
    assert claimed(store, "large") == other
    # The small pool served neither: there, the rank decides.
    insert(owner="b", estimates=long)
    job = claim(store, "small")
    assert job is not None
    assert job.owner == "a"


def test_one_long_job_served_counts_little_against_short_ones(store: JobStore, insert: Callable[..., str]) -> None:
    """Of ten times their seconds; ten of them count whole."""
    for first_s, count, expected in ((100.0, 1, "a"), (10.0, 10, "b")):
        for job_id in [insert(owner="a", estimates={"large": 10.0}) for _ in range(count)]:
            assert claimed(store, "large") == job_id
            began_earlier(store, first_s)
            store.complete(job_id, 1, {})
        waiting = {"a": insert(owner="a", estimates={"large": 10.0}), "b": insert(owner="b", estimates={"large": 10.0})}
        assert claimed(store, "large") == waiting.pop(expected)
        store.cancel(waiting.popitem()[1])


def test_everybody_s_turn_comes_in_a_crowded_queue(
    store: JobStore, insert: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "OFFERED", 3)
    monkeypatch.setattr(line, "LEAST_OWNERS", 3)
    owners = [f"owner-{number:02}" for number in range(11)]
    for owner in owners:
        insert(owner=owner)
    turns = Turns()
    seen: list[set[str]] = []
    for _ in range(5):
        heads = store._database.read(lambda c: line.heads(c, "large", MODEL, turns))
        assert len(heads) == len({head.job_id for head in heads}) <= 6
        seen.append({head.owner for head in heads})
    assert set().union(*seen) == set(owners)
    assert all(set(owners[:3]) <= one for one in seen)


def test_jobs_of_the_first_schema_go_to_any_pool_of_their_model(store: JobStore, insert: Callable[..., str]) -> None:
    old = insert()
    values: dict[str, Any] = {"queue": "/interactive", "estimates": {}}
    store._database.write(lambda c: c.execute(update(jobs).values(values)))
    assert store.claimable("anything", MODEL)
    assert not store.claimable("anything", "other")
    assert store.backlog().groups == (WaitingGroup(MODEL, "interactive", frozenset(), 1, 10.0, {}),)
    assert store.backlog().waiting("anything", MODEL) == (1, 10.0)
    known = insert(estimates=SMALL)
    assert [store.queue_position(job_id) for job_id in (old, known)] == [1, 2]
    assert claimed(store, "anything") == old
    assert store.backlog().running == {"anything": Load(1, 10.0)}


def test_jobs_whose_pools_are_gone_are_taken_by_the_others(store: JobStore, insert: Callable[..., str]) -> None:
    kept, working = insert(estimates=SHARED), insert(estimates={"gone": 2.0})
    assert claimed(store, "gone") == working
    orphan = insert(estimates={"gone": 2.0, "away": 1.0})
    store.adopt({"small": MODEL, "gone": "other"})
    assert claimed(store, "small") == kept
    assert claimed(store, "small") == orphan
    store.release(working, 1, reason_code="drain", reason="stopped", charge=False)
    assert claimed(store, "small") == working


def test_a_place_counts_only_those_who_share_a_pool(store: JobStore, insert: Callable[..., str]) -> None:
    ids = [insert(estimates=fit, owner=owner) for fit, owner in ((SMALL, "a"), (LARGE, "b"), (SHARED, "c"))]
    assert [store.queue_position(job_id) for job_id in ids] == [2, 2, 1]
    later = insert(estimates={"small": 41.0})
    assert store.queue_position(later) == 3


def test_a_long_line_is_walked_once_for_all_who_ask(
    store: JobStore, insert: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "LONG", 3)
    monkeypatch.setattr(places, "OFTEN", 1)
    ids = [insert(estimates=fit, owner=owner) for fit, owner in ((SMALL, "a"), (LARGE, "b"), (SHARED, "c"))]
    monkeypatch.setattr(places, "KEPT_S", 0.0)
    assert store.queue_position(ids[0]) == 2
    monkeypatch.setattr(places, "KEPT_S", 600.0)
    assert [store.queue_position(job_id) for job_id in ids] == [2, 2, 1]
    assert [store.follow(job_id)[1] for job_id in ids] == [2, 2, 1]
    later = insert(estimates={"small": 41.0})
    store.cancel(ids[2])
    assert [store.queue_position(job_id) for job_id in (ids[0], ids[2], later)] == [2, None, 3]
    store._places = Places()  # as after a second
    assert [store.queue_position(job_id) for job_id in (ids[0], later)] == [1, 2]


def test_for_the_few_who_ask_places_are_counted_anew(
    store: JobStore, insert: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "LONG", 2)
    monkeypatch.setattr(places, "OFTEN", 3)
    monkeypatch.setattr(places, "KEPT_S", 0.0)
    first, second = insert(), insert()
    assert store.queue_position(second) == 2
    store.cancel(first)
    monkeypatch.setattr(places, "KEPT_S", 600.0)
    assert store.queue_position(second) == 1
    insert()
    assert store.queue_position(insert()) == 3


def test_the_backlog_by_pool_and_by_fit(store: JobStore, insert: Callable[..., str], new_job: Make) -> None:
    insert(estimates=SMALL)
    insert(estimates=LARGE, priority="batch")
    insert()
    insert(priority="batch", deadline=time.time() + 1e6)
    store.insert(new_job(model="other", estimates={"tiny": 1.0}))
    backlog = store.backlog()
    shared = {group.priority: group for group in backlog.groups if group.fit == frozenset(SHARED)}
    assert set(shared) == {"interactive", "batch"}
    assert shared["batch"] == WaitingGroup(MODEL, "batch", frozenset(SHARED), 1, 10.0, {"large": 10.0, "small": 40.0})
    assert len(backlog.groups) == 5
    assert backlog.waiting("small", MODEL) == Load(3, 120.0)
    assert backlog.waiting("large", MODEL) == Load(3, 50.0)
    assert backlog.waiting("large", MODEL, "interactive") == Load(1, 10.0)
    assert backlog.waiting("tiny", "other") == Load(1, 1.0)
    assert backlog.waiting("tiny", MODEL) == Load(0, 0.0)
    assert backlog.total == Load(5, 91.0)
    assert backlog.running == {}


def test_the_backlog_tells_what_is_left_of_running_jobs(store: JobStore, insert: Callable[..., str]) -> None:
    insert()
    insert()
    for progress, stage, left_s in ((0, "denoising", 80.0), (75, "denoising", 50.0), (95, "encoding", 40.0)):
        if progress == 0:
            first = claim(store, "small")
            assert first is not None
            assert claim(store, "small") is not None
        store.renew(first.id, 1, 30.0, stage=stage, progress=progress)
        assert store.backlog().running == {"small": Load(2, left_s)}
    store.renew(first.id, 1, 0.0)
    assert store.backlog().running == {"small": Load(1, 40.0)}
    assert store.backlog().waiting("large", MODEL) == Load(1, 10.0)


def test_a_card_that_helps_with_a_job_is_at_work_as_the_one_that_has_it(
    store: JobStore, insert: Callable[..., str]
) -> None:
    job_id = insert()
    assert claimed(store, "small") == job_id
    store.renew(job_id, 1, 30.0, stage="denoising", progress=75)
    assert store.cards_at_work("small") == 1
    store.beat(Worker(id="idle", role="generator", pool="small"))
    store.beat(Worker(id="helps", role="generator", pool="small", assists=job_id))
    assert store.backlog().running == {"small": Load(2, 20.0)}
    # Neither is counted once it is being stopped.
    assert store.backlog(leaving={"helps"}).running == {"small": Load(1, 10.0)}
    assert store.backlog(leaving={"card", "helps"}).running == {}
    at_work = store.outlook(MODEL, ["small"], {"small": 1.0}).at_work["small"]
    assert [one.left_s for one in at_work] == [10.0, 10.0]
    assert (store.cards_at_work("small"), store.cards_at_work("large")) == (2, 0)
    a_minute_ago = update(workers).values(seen_at=workers.c.seen_at - 60)
    store._database.write(lambda c: c.execute(a_minute_ago))
    assert store.backlog().running == {"small": Load(1, 10.0)}
    store.beat(Worker(id="helps", role="generator", pool="small"))
    assert store.workers()[0].assists is None
    assert store.cards_at_work("small") == 1
    store.renew(job_id, 1, 30.0, stage="encoding", progress=95)
    assert store.cards_at_work("small") == 0


def test_the_names_of_queues() -> None:
    name = queue_name(["rtx4090", "h100"], "batch", timed=True)
    assert name == "h100,rtx4090/batch/deadline"
    assert queue_of(name) == (frozenset({"h100", "rtx4090"}), "batch", True)
    assert queue_of("/interactive") == (frozenset(), "interactive", False)
