"""The store's contract, each test on SQLite and on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

import pytest
from sqlalchemy import update

from serving.cautions import Caution
from serving.errors import NotCancellable, VideoNotFound
from serving.jobs.job import Held, Job, JobStatus, NewJob, accepted_at, new_job_id
from serving.jobs.store import JobStore, open_store
from serving.jobs.tables import workers
from serving.jobs.worker import Worker

MODEL = "i2vgen-xl"
SMALL = Caution(code="low_resolution", field="input_reference", message="Too small.", suggestion="Send a larger one.")
Make = Callable[..., NewJob]


def claim(store: JobStore, lease_s: float = 30.0, worker: str = "card-1") -> Job:
    job = store.claim("default", MODEL, worker, lease_s)
    assert job is not None
    return job


def lapse(store: JobStore, job: Job) -> None:
    """A renewal for no time at all: the lease is over now, and nobody has taken the job back yet."""
    store.renew(job.id, job.attempt, 0.0)


def crash(store: JobStore, job: Job) -> Job | None:
    return store.release(job.id, job.attempt, reason_code="exit", reason="the process died", charge=True)


def drain(store: JobStore, job: Job) -> Job | None:
    return store.release(job.id, job.attempt, reason_code="drain", reason="scaling down", charge=False)


def test_an_insert_is_read_back_whole(store: JobStore, new_job: Make) -> None:
    before = time.time()
    new = new_job(metadata={"sku": "衣服 7"}, warnings=(SMALL,), remixed_from="video_1", priority="batch")
    job = store.insert(new)
    assert job == store.get(job.id)
    assert job.request == new.request
    assert (job.status, job.stage, job.progress, job.step, job.steps) == (JobStatus.QUEUED, None, 0, 0, 50)
    assert (job.source_size, job.warnings, job.remixed_from) == ((1200, 800), (SMALL,), "video_1")
    assert (job.attempt, job.crashes, job.failures, job.priority) == (0, 0, (), "batch")
    assert before - 1e-5 <= job.created_at <= time.time()
    assert job.created_at == accepted_at(job.id)
    with pytest.raises(VideoNotFound):
        store.get(new_job_id())


def test_the_same_insert_again_is_the_same_job(store: JobStore, new_job: Make) -> None:
    new = new_job()
    first = store.insert(new, max_waiting=1)
    assert store.insert(new, max_waiting=1) == first
    claim(store)
    assert store.insert(new).status is JobStatus.IN_PROGRESS
    assert len(store.list()[0]) == 1


def test_priority_then_acceptance_decides(store: JobStore, new_job: Make) -> None:
    names = [("b1", "batch"), ("i1", "interactive"), ("b2", "batch"), ("i2", "interactive")]
    ids = {store.insert(new_job(prompt=name, priority=priority)).id: name for name, priority in names}
    other = store.insert(new_job(model="other", estimates={"default": 3.0}))
    positions = {name: store.queue_position(job_id) for job_id, name in ids.items()}
    assert positions == {"i1": 1, "i2": 2, "b1": 3, "b2": 4}
    assert store.queue_position(other.id) == 1
    assert store.backlog().waiting("default", MODEL) == (4, 40.0)
    assert store.backlog().waiting("default", "other") == (1, 3.0)
    assert store.backlog().total == (5, 43.0)
    assert [ids[claim(store).id] for _ in range(4)] == ["i1", "i2", "b1", "b2"]
    assert store.claim("default", MODEL, "card-1", 30.0) is None
    assert not store.claimable("default", MODEL)
    assert store.claimable("default", "other")
    assert store.queue_position(next(iter(ids))) is None
    assert store.queue_position("video_nothing") is None


def test_a_job_is_followed_with_its_place(store: JobStore, new_job: Make) -> None:
    first, second = store.insert(new_job()), store.insert(new_job())
    assert [store.follow(job.id) for job in (first, second)] == [(first, 1), (second, 2)]
    running = claim(store)
    assert (store.follow(running.id), store.follow(second.id)) == ((running, None), (second, 1))
    with pytest.raises(VideoNotFound):
        store.follow(new_job_id())


def test_a_claim_is_one_attempt_of_one_worker(store: JobStore, new_job: Make) -> None:
    store.insert(new_job())
    job = claim(store, worker="card-7")
    assert (job.status, job.stage, job.attempt, job.worker) == (
        JobStatus.IN_PROGRESS,
        "starting",
        1,
        "card-7",
    )
    assert job.started_at is not None
    assert job.started_at >= job.created_at - 1
    assert store.get(job.id) == job


def test_progress_never_goes_back(store: JobStore, new_job: Make) -> None:
    job_id = store.insert(new_job()).id
    job = claim(store)
    for progress, seen in ((10, 10), (40, 40), (20, 40), (None, 40)):
        assert store.renew(job_id, 1, 30.0, stage="denoising", step=7, progress=progress) is Held.HELD
        assert store.get(job_id).progress == seen
    told = store.get(job_id)
    assert (told.stage, told.step, told.steps) == ("denoising", 7, job.steps)


def test_complete(store: JobStore, new_job: Make) -> None:
    store.insert(new_job())
    job = claim(store)
    result = {"files": {"video": "a.mp4"}, "timings": {"denoise_s": 1.5}, "note": None}
    assert store.complete(job.id, job.attempt, result, time.time() + 60)
    done = store.get(job.id)
    assert (done.status, done.progress, done.stage, done.result) == (JobStatus.COMPLETED, 100, None, result)
    assert done.expires_at is not None
    assert done.completed_at is not None
    assert done.expires_at > done.completed_at
    # The answer to a commit can be lost; the worker asks again, and must not take itself for a late one.
    assert store.complete(job.id, job.attempt, {"files": {}})
    assert store.get(job.id) == done


def test_fail(store: JobStore, new_job: Make) -> None:
    store.insert(new_job())
    job = claim(store)
    assert store.fail(job.id, job.attempt, "generation_failed", "not a number")
    done = store.get(job.id)
    assert (done.status, done.error_code, done.error_message) == (
        JobStatus.FAILED,
        "generation_failed",
        "not a number",
    )
    assert done.completed_at is not None
    assert store.fail(job.id, job.attempt, "generation_failed", "again")
    assert not store.complete(job.id, job.attempt, {})
    assert store.get(job.id) == done


LATE_WRITES: dict[str, Callable[[JobStore, Job], object]] = {
    "renew": lambda store, job: store.renew(job.id, job.attempt, 30.0, stage="decoding", progress=99),
    "held": lambda store, job: store.held(job.id, job.attempt),
    "complete": lambda store, job: store.complete(job.id, job.attempt, {"files": {}}),
    "fail": lambda store, job: store.fail(job.id, job.attempt, "generation_failed", "late"),
    "crash": crash,
    "drain": drain,
}


@pytest.mark.parametrize("now", ["queued", "claimed", "completed", "failed", "deleted"])
def test_a_late_worker_changes_nothing(store: JobStore, new_job: Make, now: str) -> None:
    store.insert(new_job())
    late = claim(store)
    assert crash(store, late) is not None
    if now != "queued":
        second = claim(store, worker="card-2")
        if now == "completed":
            assert store.complete(second.id, second.attempt, {"by": "card-2"})
        elif now in ("failed", "deleted"):
            assert store.fail(second.id, second.attempt, "encoding_failed", "disk")
    if now == "deleted":
        store.delete(late.id)
    before = store.list()
    for name, write in LATE_WRITES.items():
        assert write(store, late) in (False, None, Held.LOST), name
        assert store.list() == before, name


def test_a_lapsed_lease_is_recovered_in_its_old_place(store: JobStore, new_job: Make) -> None:
    first, second = (store.insert(new_job()).id for _ in range(2))
    job = claim(store)
    claim(store)
    assert not store.claimable("default", MODEL)
    assert store.backlog().groups == ()
    store.insert(new_job())
    lapse(store, job)
    assert store.claimable("default", MODEL)
    assert store.backlog().waiting("default", MODEL) == (2, 20.0)
    again = claim(store, worker="card-2")
    assert (again.id, again.attempt, again.crashes, again.progress) == (first, 2, 1, 0)
    assert again.failures[0].code == "lease_expired"
    assert "card-1" in again.failures[0].message
    assert store.get(second).attempt == 1


def test_a_renewed_lease_holds(store: JobStore, new_job: Make) -> None:
    job_id = store.insert(new_job()).id
    claim(store, 0.3)
    assert store.renew(job_id, 1, 30.0) is Held.HELD
    time.sleep(0.4)
    assert not store.claimable("default", MODEL)


def test_a_lease_lasts_as_long_as_it_says(store: JobStore, new_job: Make) -> None:
    store.insert(new_job())
    before = time.monotonic()
    claim(store, 0.5)
    while not store.claimable("default", MODEL):
        assert time.monotonic() - before < 120.0
        time.sleep(0.01)
    assert time.monotonic() - before > 0.45


def test_a_claim_for_one_model_recovers_all(store: JobStore, new_job: Make) -> None:
    job_id = store.insert(new_job()).id
    claim(store, 0.0)
    assert store.claim("default", "other", "card-2", 30.0) is None
    assert store.get(job_id).status is JobStatus.QUEUED


def test_three_crashes_end_a_job_with_their_reasons(store: JobStore, new_job: Make) -> None:
    job_id = store.insert(new_job()).id
    crash(store, claim(store))
    claim(store, 0.0)
    third = claim(store)
    assert (third.attempt, third.crashes) == (3, 2)
    ended = crash(store, third)
    assert ended is not None
    assert ended == store.get(job_id)
    assert (ended.status, ended.error_code) == (JobStatus.FAILED, "worker_crashed")
    assert [failure.code for failure in ended.failures] == ["exit", "lease_expired", "exit"]
    assert [failure.attempt for failure in ended.failures] == [1, 2, 3]
    assert ended.error_message is not None
    assert "attempt 2: card-1 stopped renewing" in ended.error_message
    assert store.claim("default", MODEL, "card-1", 30.0) is None


def test_three_lapsed_leases_end_a_job(store: JobStore, new_job: Make) -> None:
    job_id = store.insert(new_job()).id
    for _ in range(3):
        claim(store, 0.0)
    assert store.claimable("default", MODEL)
    assert store.claim("default", MODEL, "card-1", 30.0) is None
    assert store.get(job_id).error_code == "worker_crashed"
    assert not store.claimable("default", MODEL)


def test_drains_charge_nothing(store: JobStore, new_job: Make) -> None:
    store.insert(new_job())
    for attempt in range(1, 6):
        job = claim(store)
        assert job.attempt == attempt
        released = drain(store, job)
        assert released is not None
        assert (released.status, released.crashes, released.failures) == (JobStatus.QUEUED, 0, ())
        assert (released.worker, released.stage, released.started_at) == (None, None, None)


def test_cancel_in_every_state(store: JobStore, new_job: Make) -> None:
    waiting = store.cancel(store.insert(new_job()).id)
    assert waiting.cancelled
    assert waiting.completed_at is not None
    assert store.claim("default", MODEL, "card-1", 30.0) is None
    working = store.insert(new_job()).id
    job = claim(store)
    for _ in range(2):
        asked = store.cancel(working)
        assert (asked.status, asked.cancel_requested) == (JobStatus.IN_PROGRESS, True)
    assert store.held(working, 1) is Held.CANCEL_REQUESTED
    assert store.renew(working, 1, 30.0) is Held.CANCEL_REQUESTED
    assert store.fail(working, job.attempt, "cancelled", "The job was cancelled.")
    assert store.get(working).cancelled
    for ended in (waiting.id, working):
        with pytest.raises(NotCancellable):
            store.cancel(ended)
    with pytest.raises(VideoNotFound):
        store.cancel("video_nothing")


def test_a_result_that_came_before_the_cancel_took_hold_stands(store: JobStore, new_job: Make) -> None:
    job_id = store.insert(new_job()).id
    claim(store)
    store.cancel(job_id)
    assert store.complete(job_id, 1, {})
    assert store.get(job_id).status is JobStatus.COMPLETED


@pytest.mark.parametrize("loss", ["crash", "drain", "lapse", "lapse before"])
def test_a_cancelled_job_whose_worker_is_gone_ends(store: JobStore, new_job: Make, loss: str) -> None:
    job_id = store.insert(new_job()).id
    if loss == "lapse before":
        claim(store, 0.0)
        assert store.cancel(job_id).cancelled
        return
    job = claim(store)
    store.cancel(job_id)
    if loss == "lapse":
        lapse(store, job)
        assert store.claim("default", MODEL, "card-2", 30.0) is None
    else:
        {"crash": crash, "drain": drain}[loss](store, job)
    assert store.get(job_id).cancelled


def test_delete_in_every_state(store: JobStore, new_job: Make) -> None:
    waiting = store.insert(new_job())
    assert store.delete(waiting.id) == waiting
    store.insert(new_job())
    job = claim(store)
    store.complete(job.id, 1, {"files": {"video": "a.mp4"}})
    assert store.delete(job.id).result == {"files": {"video": "a.mp4"}}
    for gone in (waiting.id, job.id):
        with pytest.raises(VideoNotFound):
            store.delete(gone)


@pytest.mark.parametrize("end", ["complete", "fail", "crash", "drain", "lapse"])
def test_a_job_deleted_at_work_vanishes_at_once_and_goes_with_its_worker(
    store: JobStore, new_job: Make, end: str
) -> None:
    job_id = store.insert(new_job()).id
    job = claim(store)
    assert store.delete(job_id).status is JobStatus.IN_PROGRESS
    for sight in (store.get, store.cancel, store.delete):
        with pytest.raises(VideoNotFound):
            sight(job_id)
    assert store.list() == ((), False)
    assert store.held(job_id, 1) is Held.CANCEL_REQUESTED
    if end == "complete":
        assert not store.complete(job_id, 1, {})
    elif end == "fail":
        assert store.fail(job_id, 1, "cancelled", "The job was cancelled.")
    elif end == "lapse":
        lapse(store, job)
        assert store.claim("default", MODEL, "card-2", 30.0) is None
    else:
        assert {"crash": crash, "drain": drain}[end](store, job) is None
    assert store.held(job_id, 1) is Held.LOST
    assert not store.claimable("default", MODEL)


@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_are_stable_under_inserts_and_deletes(store: JobStore, new_job: Make, newest_first: bool) -> None:
    ids = [store.insert(new_job()).id for _ in range(10)]
    expected = ids[::-1] if newest_first else list(ids)
    seen: list[str] = []
    after, more = None, True
    while more and len(seen) < 30:
        page, more = store.list(after=after, limit=3, newest_first=newest_first)
        assert len(page) <= 3
        seen += [job.id for job in page]
        after = page[-1].id
        store.delete(after)
        if len(seen) < 9:
            ids.append(store.insert(new_job()).id)
    assert seen == (expected if newest_first else ids)
    with pytest.raises(VideoNotFound):
        store.list(after="video_nothing")


def test_a_new_store_sees_all(store: JobStore, store_url: str, new_job: Make) -> None:
    store.insert(new_job())
    job = claim(store)
    store.close()
    with closing(open_store(store_url)) as reopened:
        assert reopened.get(job.id) == job
        assert reopened.held(job.id, 1) is Held.HELD
        reopened.ping()


def test_workers_come_and_go(store: JobStore) -> None:
    card = {"name": "H100", "memory_gib": 80}
    store.beat(Worker(id="b", role="generator", pool="h100", model=MODEL, card=card))
    store.beat(Worker(id="a", role="dispatcher"))
    assert [worker.id for worker in store.workers()] == ["a", "b"]
    assert store.workers("generator")[0].card == card
    a_minute_ago = update(workers).values(seen_at=workers.c.seen_at - 60)
    store._database.write(lambda connection: connection.execute(a_minute_ago))
    store.beat(Worker(id="b", role="generator", pool="a100"))
    assert [(worker.id, worker.pool) for worker in store.workers()] == [("b", "a100")]
    assert len(store.workers(within_s=90.0)) == 2
    store.leave("b")
    store.leave("b")
    assert [worker.id for worker in store.workers(within_s=90.0)] == ["a"]
