"""What retention asks of the store, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from serving.errors import VideoNotFound
from serving.jobs.job import Job, JobStatus, NewJob
from serving.jobs.store import JobStore

MODEL = "i2vgen-xl"
FILES = {"video": "a.mp4", "recipe": "a.json"}
Make = Callable[..., NewJob]


def claim(store: JobStore) -> Job:
    job = store.claim("default", MODEL, "card-1", 30.0)
    assert job is not None
    return job


def complete(store: JobStore, new: NewJob, expires_at: float | None = None) -> Job:
    store.insert(new)
    job = claim(store)
    assert store.complete(job.id, job.attempt, {"recipe": {"seed": 1}, "files": FILES}, expires_at)
    return store.get(job.id)


def fail(store: JobStore, new: NewJob) -> Job:
    store.insert(new)
    job = claim(store)
    assert store.fail(job.id, job.attempt, "generation_failed", "The model failed.")
    return store.get(job.id)


def test_pages_show_what_has_ended(store: JobStore, new_job: Make) -> None:
    assert store.expiry.page(0, 10) == ((), 0)
    done, failed = complete(store, new_job(), expires_at=7.5), fail(store, new_job())
    store.insert(new_job())
    claim(store)
    store.insert(new_job())
    page = store.expiry.page(0, 10)
    assert page.after == 0
    first, second = page.jobs
    assert (first.status, first.expires_at, first.completed_at) == (JobStatus.COMPLETED, 7.5, done.completed_at)
    assert sorted(first.files) == ["a.json", "a.mp4"]
    assert (second.status, second.expires_at, second.files) == (JobStatus.FAILED, None, ())
    assert second.completed_at == failed.completed_at


def test_a_page_is_bounded_by_the_rows_it_looks_at(store: JobStore, new_job: Make) -> None:
    for _ in range(3):
        complete(store, new_job())
    store.insert(new_job())
    store.insert(new_job())
    seen, after, pages = 0, 0, 0
    while pages == 0 or after != 0:
        page = store.expiry.page(after, 2)
        seen, after, pages = seen + len(page.jobs), page.after, pages + 1
        assert len(page.jobs) <= 2
    assert (seen, pages) == (3, 3)


def test_dropped_files_leave_the_rest_of_the_result(store: JobStore, new_job: Make) -> None:
    job, other = complete(store, new_job(), expires_at=7.5), complete(store, new_job())
    (ended, _), _ = store.expiry.page(0, 10)
    store.expiry.drop_files([ended.seq])
    now = store.get(job.id)
    assert now.result == {"recipe": {"seed": 1}, "files": {}}
    assert (now.status, now.expires_at) == (JobStatus.COMPLETED, 7.5)
    assert store.expiry.page(0, 10).jobs[0].files == ()
    assert store.get(other.id) == other


def test_only_what_has_ended_is_forgotten(store: JobStore, new_job: Make) -> None:
    ended = [complete(store, new_job()), fail(store, new_job())]
    going = store.insert(new_job())
    claim(store)
    waiting = store.insert(new_job())
    store.expiry.forget(range(1_000_000, 1_000_010))
    seqs = [job.seq for job in store.expiry.page(0, 10).jobs]
    store.expiry.drop_files([*seqs, seqs[-1] + 1, seqs[-1] + 2])
    store.expiry.forget([*seqs, seqs[-1] + 1, seqs[-1] + 2])
    for job in ended:
        with pytest.raises(VideoNotFound):
            store.get(job.id)
    assert store.get(going.id).status is JobStatus.IN_PROGRESS
    assert store.get(waiting.id).status is JobStatus.QUEUED


def test_pictures_in_use(store: JobStore, new_job: Make) -> None:
    complete(store, new_job(picture_key="pictures/2.png"))
    store.insert(new_job(picture_key="pictures/1.png"))
    store.insert(new_job(picture_key="pictures/1.png"))
    asked = [f"pictures/{number}.png" for number in range(4)]
    assert store.expiry.pictures_in_use(asked) == {"pictures/1.png", "pictures/2.png"}
    assert store.expiry.pictures_in_use([]) == frozenset()
