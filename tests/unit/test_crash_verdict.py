"""A campaign of crashes must see each broken promise, and none where all were kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from loadtest.history import Change, History
from loadtest.verdict import Clip, Found, Sent, violations
from serving.jobs.job import NewJob

SENT = Sent(answered={"0.0": "a", "1.1": "b"}, unanswered={"1.0", "2.0"})
CLEAN = Clip(recipes=(("a", 2), ("a", 2)), changed_s=-0.01)
DONE = Found("a", "0.0", "completed", attempt=2, crashes=1, clip=CLEAN)
POISON = Found("b", "1.1", "failed", 3, 3, "worker_crashed", "The worker died under this job 3 times.")
UNANSWERED = replace(DONE, id="c", sent_as="1.0", clip=Clip((("c", 2),), 0.0))
JOBS = (DONE, POISON, UNANSWERED)
CHANGES = (Change("a", "queued", "in_progress", 1, 2), Change("a", "in_progress", "completed", 2, 2))


def broken(jobs: Iterable[Found] = JOBS, changes: Iterable[Change] = CHANGES) -> list[str]:
    return violations(SENT, jobs, changes, max_attempts=3)


def test_kept_promises() -> None:
    assert broken() == []


@pytest.mark.parametrize(
    ("jobs", "sentence"),
    [
        ((DONE, UNANSWERED), "b: accepted as 1.1, and lost"),
        ((*JOBS, replace(UNANSWERED, id="d", sent_as="9.9", clip=Clip((("d", 2),), 0.0))), "d: nobody sent it"),
        ((*JOBS, replace(UNANSWERED, id="d", clip=Clip((("d", 2),), 0.0))), "try 1.0: became 2 jobs"),
        ((replace(DONE, status="in_progress"), POISON), "a: has not ended: in_progress, attempt 2"),
        ((replace(DONE, clip=None), POISON), "a: completed without its files"),
        ((replace(DONE, attempt=3), POISON), "a: attempt 3 completed it, its recipes say"),
        ((replace(DONE, clip=replace(CLEAN, changed_s=0.5)), POISON), "a: its files were changed 0.50 s after"),
        ((DONE, replace(POISON, error_code="encoding_failed")), "b: failed with encoding_failed"),
        ((DONE, replace(POISON, error_message="")), "b: failed with worker_crashed"),
        ((DONE, replace(POISON, crashes=2)), "b: given up after 2 crashes"),
    ],
)
def test_a_broken_promise_is_seen_in_the_jobs(jobs: tuple[Found, ...], sentence: str) -> None:
    (told,) = broken(jobs)
    assert told.startswith(sentence)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (Change("a", "completed", "queued", 2, 2), "a: queued (attempt 2) after it had been completed"),
        (Change("b", "failed", "in_progress", 3, 4), "b: in_progress (attempt 4) after it had been failed"),
        (Change("a", "in_progress", "removed", 2, 2), "a: removed (attempt 2) after it had been in_progress"),
        (Change("b", "in_progress", "completed", 2, 1), "b: completed by attempt 1 while 2 had it"),
        (Change("a", "in_progress", "completed", 2, 2), "a: published 2 times"),
    ],
)
def test_a_broken_promise_is_seen_in_the_history(change: Change, sentence: str) -> None:
    (told,) = broken(changes=(*CHANGES, change))
    assert told.startswith(sentence)


def test_the_database_writes_down_what_a_job_goes_through(sqlite_url: str, new_job: Callable[..., NewJob]) -> None:
    history = History(sqlite_url)
    job = history.store.insert(new_job())
    assert history.unended() == 1
    for attempt in (1, 2):
        assert history.store.claim("default", "i2vgen-xl", "w", 30.0)
        history.store.renew(job.id, attempt, 30.0, progress=50)
        if attempt == 1:
            history.store.release(job.id, 1, reason_code="worker_crashed", reason="died", charge=True)
    assert not history.store.complete(job.id, 1, {"files": {}})
    assert history.store.complete(job.id, 2, {"files": {}})
    history.store.delete(job.id)
    assert history.unended() == 0
    assert history.changes() == [
        Change(job.id, "queued", "in_progress", 0, 1),
        Change(job.id, "in_progress", "queued", 1, 1),
        Change(job.id, "queued", "in_progress", 1, 2),
        Change(job.id, "in_progress", "completed", 2, 2),
        Change(job.id, "completed", "removed", 2, 2),
    ]
    history.store.close()
