"""The outbox: an event for every end and no other, in the same transaction; taken once, and again where it was lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import update

from serving.jobs import outbox
from serving.jobs.job import JobStatus, NewJob
from serving.jobs.outbox import OF_ONE_OWNER, Event
from serving.jobs.store import JobStore, open_store
from serving.jobs.tables import webhooks

MODEL = "i2vgen-xl"
URL = "https://example.com/hook?token=s3cret"
Make = Callable[..., NewJob]


def rows(store: JobStore) -> list[Any]:
    return list(store._database.read(lambda c: c.execute(webhooks.select().order_by(webhooks.c.next_at)).all()))


def kinds(store: JobStore) -> list[str]:
    return [json.loads(row.payload)["type"] for row in rows(store)]


def claim(store: JobStore) -> Any:
    job = store.claim("default", MODEL, "card", 30.0)
    assert job is not None
    return job


def make_due(store: JobStore) -> None:
    """As if every lease and every wait had passed."""
    due = update(webhooks).where(webhooks.c.ended_at.is_(None)).values(next_at=time.time() - 1)
    store._database.write(lambda c: c.execute(due))


@pytest.fixture
def ended(store: JobStore, new_job: Make) -> Callable[[str], str]:
    """Completes a job of an owner, with a webhook; its id."""

    def end(owner: str = "") -> str:
        job_id = store.insert(new_job(owner=owner, webhook_url=URL)).id
        job = claim(store)
        assert store.complete(job.id, job.attempt, {})
        return job_id

    return end


def complete(store: JobStore) -> None:
    job = claim(store)
    assert rows(store) == []
    assert store.complete(job.id, job.attempt, {})
    assert store.complete(job.id, job.attempt, {})  # an answer was lost; the event is still one
    assert not store.complete(job.id, job.attempt + 1, {})


def fail(store: JobStore) -> None:
    job = claim(store)
    assert store.fail(job.id, job.attempt, "generation_failed", "no")
    assert store.fail(job.id, job.attempt, "generation_failed", "no")


def cancel_waiting(store: JobStore) -> None:
    store.cancel(store.list()[0][0].id)


def cancel_running(store: JobStore) -> None:
    job = claim(store)
    store.cancel(job.id)
    assert rows(store) == []
    assert store.fail(job.id, job.attempt, "cancelled", "")


def crash(store: JobStore) -> None:
    for number in range(3):
        job = claim(store)
        assert rows(store) == []
        store.release(job.id, job.attempt, reason_code="x", reason=str(number), charge=True)


def crash_unseen(store: JobStore) -> None:
    job = claim(store)
    store.cancel(job.id)
    store.renew(job.id, job.attempt, 0.0)
    assert store.claim("default", MODEL, "card", 30.0) is None


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (complete, "video.completed"),
        (fail, "video.failed"),
        (cancel_waiting, "video.failed"),
        (cancel_running, "video.failed"),
        (crash, "video.failed"),
        (crash_unseen, "video.failed"),
    ],
)
def test_each_way_to_end_is_one_event(store: JobStore, new_job: Make, end: Callable[..., None], kind: str) -> None:
    job = store.insert(new_job(owner="a", webhook_url=URL))
    assert rows(store) == []
    end(store)
    assert store.get(job.id).status.ended
    (row,) = rows(store)
    event = json.loads(row.payload)
    assert event == {
        "id": row.id,
        "object": "event",
        "created_at": int(store.get(job.id).completed_at or 0),
        "type": kind,
        "data": {"id": job.id},
    }
    assert row.id.startswith("evt_")
    assert (row.job_id, row.owner, row.url, row.attempt) == (job.id, "a", URL, 0)


def drain(store: JobStore) -> None:
    job = claim(store)
    store.release(job.id, job.attempt, reason_code="drain", reason="", charge=False)


def delete_running(store: JobStore) -> None:
    job = claim(store)
    store.delete(job.id)
    store.complete(job.id, job.attempt, {})


@pytest.mark.parametrize("act", [drain, delete_running])
def test_what_is_no_end_is_no_event(store: JobStore, new_job: Make, act: Callable[..., None]) -> None:
    store.insert(new_job(webhook_url=URL))
    act(store)
    assert rows(store) == []


def test_without_a_url_there_is_no_event(store: JobStore, new_job: Make) -> None:
    for end in (complete, fail, cancel_waiting, crash):
        store.insert(new_job())
        end(store)
    assert rows(store) == []


def test_the_url_is_in_no_answer_and_no_recipe(store: JobStore, new_job: Make) -> None:
    job = store.insert(new_job(webhook_url=URL))
    assert "s3cret" not in repr(job)
    assert "s3cret" not in job.request.model_dump_json()


@pytest.mark.parametrize("end", [complete, cancel_waiting])
def test_a_job_whose_event_cannot_be_written_has_not_ended(
    store: JobStore, new_job: Make, monkeypatch: pytest.MonkeyPatch, end: Callable[..., None]
) -> None:
    job = store.insert(new_job(webhook_url=URL))
    with monkeypatch.context() as broken:
        broken.setattr(outbox.secrets, "token_hex", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            end(store)
    assert store.get(job.id).status in (JobStatus.QUEUED, JobStatus.IN_PROGRESS)
    assert rows(store) == []


def test_an_event_is_one_taker_s_until_its_lease_is_over(store: JobStore, ended: Callable[..., str]) -> None:
    job_id = ended("a")
    (event,) = store.outbox.take(10, 30.0)
    assert (event.job_id, event.owner, event.url, event.attempt) == (job_id, "a", URL, 1)
    assert json.loads(event.payload)["id"] == event.id
    assert store.outbox.take(10, 30.0) == ()
    make_due(store)
    (again,) = store.outbox.take(10, 30.0)
    assert (again.id, again.payload, again.attempt) == (event.id, event.payload, 2)
    # The first taker is late: nothing it says counts.
    assert not store.outbox.failed(event, "late", None)
    assert not store.outbox.delivered(event)
    assert store.outbox.delivered(again)
    make_due(store)
    assert store.outbox.take(10, 30.0) == ()
    assert not store.outbox.failed(again, "after its end", 1.0)


def test_what_failed_is_due_later_and_what_is_dead_never(store: JobStore, ended: Callable[..., str]) -> None:
    ended()
    (event,) = store.outbox.take(10, 30.0)
    before = time.time()
    assert store.outbox.failed(event, "answered 500", 100.0)
    assert before + 100.0 <= rows(store)[0].next_at <= time.time() + 100.0
    assert store.outbox.take(10, 30.0) == ()
    make_due(store)
    (event,) = store.outbox.take(10, 30.0)
    assert store.outbox.failed(event, "answered 500", None)
    make_due(store)
    assert store.outbox.take(10, 30.0) == ()
    (row,) = rows(store)
    assert (row.error, row.attempt, row.next_at) == ("answered 500", 2, None)


def test_nobody_s_events_hold_up_another_s(store: JobStore, ended: Callable[..., str]) -> None:
    for _ in range(OF_ONE_OWNER + 3):
        ended("loud")
    quiet = ended("quiet")
    taken = store.outbox.take(OF_ONE_OWNER + 1, 30.0)
    assert [event.owner for event in taken].count("loud") == OF_ONE_OWNER
    assert quiet in [event.job_id for event in taken]
    assert store.outbox.take(10, 30.0, but_of=["loud"]) == ()
    assert len(store.outbox.take(2, 30.0)) == 2
    assert store.outbox.take(0, 30.0) == ()


def test_takers_at_once_share_the_events(store: JobStore, store_url: str, ended: Callable[..., str]) -> None:
    ids = {ended(f"owner-{number}") for number in range(12)}
    taken: list[Event] = []
    start = threading.Barrier(4)

    def take(own: JobStore) -> None:
        start.wait()
        while events := own.outbox.take(2, 30.0):
            taken.extend(events)

    with closing(open_store(store_url)) as other:
        takers = [threading.Thread(target=take, args=(own,)) for own in (store, other) for _ in range(2)]
        for taker in takers:
            taker.start()
        for taker in takers:
            taker.join()
    left = [event.job_id for event in taken]
    # One that another was taking at that moment may have been passed over by all.
    make_due(store)
    left += [event.job_id for event in store.outbox.take(12, 30.0) if event.attempt == 1]
    assert sorted(left) == sorted(ids)


def test_events_that_ended_long_ago_are_removed(store: JobStore, ended: Callable[..., str]) -> None:
    ended()
    (event,) = store.outbox.take(10, 30.0)
    store.outbox.delivered(event)
    assert store.outbox.take(10, 30.0) == ()
    assert len(rows(store)) == 1
    old = update(webhooks).values(ended_at=webhooks.c.ended_at - outbox.KEPT_S - 60)
    store._database.write(lambda c: c.execute(old))
    store.outbox.take(10, 30.0)
    assert rows(store) == []
