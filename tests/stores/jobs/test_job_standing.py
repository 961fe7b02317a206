"""Where many jobs stand, in one look; each test on SQLite and on PostgreSQL."""

from __future__ import annotations

import random
from collections.abc import Callable

from serving.jobs.job import JobStatus, NewJob, new_job_id
from serving.jobs.store import JobStore

Make = Callable[..., NewJob]


def position(store: JobStore, job_id: str) -> int:
    place = store.queue_position(job_id)
    assert place is not None
    return place


def test_places_are_those_of_each_job_alone(store: JobStore, new_job: Make) -> None:
    """Over several models, fits that share pools and fits that do not, priorities, and jobs of equal rank."""
    draw = random.Random(5)
    fits = [{"small": 40.0}, {"large": 30.0}, {"large": 10.0, "small": 40.0}, {"other": 5.0}]
    ids = []
    for _ in range(40):
        changes = {"model": draw.choice(["a", "b"]), "priority": draw.choice(["interactive", "batch"])}
        ids.append(store.insert(new_job(estimates=draw.choice(fits), **changes)).id)
    found = store.standings(ids)
    assert sorted(found) == sorted(ids)
    assert {job_id: found[job_id].queue_position for job_id in ids} == {i: position(store, i) for i in ids}
    assert len({standing.queue_position for standing in found.values()}) > 5


def test_what_changes_is_what_the_job_says(store: JobStore, new_job: Make) -> None:
    deleted = store.insert(new_job()).id
    assert store.claim("default", "i2vgen-xl", "card-0", 30.0) is not None
    store.delete(deleted)  # its row stays for as long as its worker is there
    waiting, running, failed = (store.insert(new_job()).id for _ in range(3))
    store.cancel(failed)
    job = store.claim("default", "i2vgen-xl", "card-1", 30.0)
    assert job is not None
    assert job.id in (waiting, running)
    other = ({waiting, running} - {job.id}).pop()
    store.renew(job.id, job.attempt, 30.0, stage="denoising", step=7, steps=50, progress=15)
    found = store.standings([waiting, running, failed, deleted, new_job_id()])
    assert set(found) == {waiting, running, failed}
    for job_id, standing in found.items():
        whole = store.get(job_id)
        same = (
            "owner",
            "status",
            "stage",
            "progress",
            "step",
            "steps",
            "attempt",
            "pool",
            "error_code",
            "error_message",
        )
        assert [getattr(standing, name) for name in same] == [getattr(whole, name) for name in same]
    assert (found[job.id].step, found[job.id].queue_position) == (7, None)
    assert (found[other].status, found[other].queue_position) == (JobStatus.QUEUED, 1)


def test_nobody_stands_anywhere_where_nobody_is(store: JobStore) -> None:
    assert store.standings([]) == {}
