"""What the publisher leaves in storage when a job fails, and when its last answer was lost."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import publishing
from serving.errors import StorageUnavailable
from serving.jobs.job import Job, JobStatus, NewJob
from serving.jobs.lease import JobLease
from serving.jobs.store import JobStore
from serving.parameters import VideoParameters
from serving.presets import BUILTIN, profile_for
from serving.publishing import Publisher
from serving.request import resolve
from serving.storage import DirectoryStorage


def publish(store: JobStore, folder: Path, leases: list[JobLease] | None = None) -> tuple[bool, Job]:
    """Whether it was, and the job then; `leases` gets the one that it is published under."""
    request = resolve(VideoParameters(prompt="pan left"), profile_for(BUILTIN), seed=1)
    store.insert(
        NewJob(request=request, picture_key="pictures/0.png", source_size=(64, 64), estimates={"default": 1.0})
    )
    job = store.claim("default", BUILTIN, worker="test", lease_s=30)
    assert job is not None
    frames = np.zeros((8, 64, 64, 3), np.uint8)
    with JobLease(store, job) as lease:
        if leases is not None:
            leases.append(lease)
        published = Publisher(store, DirectoryStorage(folder), "video_").publish(job, frames, {"timings_s": {}}, lease)
    return published, store.get(job.id)


def test_a_job_that_fails_leaves_no_file(
    sqlite_store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> bytes:
        raise OSError("no poster")

    monkeypatch.setattr(publishing, "poster", broken)
    published, job = publish(sqlite_store, tmp_path / "out")
    assert (published, job.status, job.error_code) == (False, JobStatus.FAILED, "encoding_failed")
    assert list((tmp_path / "out").iterdir()) == []


def test_files_of_a_completed_job_stay_though_the_answer_was_lost(
    sqlite_store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = sqlite_store.complete

    def answer_lost(*args: Any) -> bool:
        complete(*args)
        raise StorageUnavailable

    monkeypatch.setattr(sqlite_store, "complete", answer_lost)
    _, job = publish(sqlite_store, tmp_path / "out")
    assert job.status is JobStatus.COMPLETED
    assert job.result is not None
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(job.result["files"].values())


def test_storage_out_of_reach_puts_the_job_back_and_leaves_no_file(
    sqlite_store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_reach(*args: Any) -> bool:
        raise StorageUnavailable

    monkeypatch.setattr(sqlite_store, "complete", out_of_reach)
    published, job = publish(sqlite_store, tmp_path / "out")
    assert (published, job.status, job.crashes) == (False, JobStatus.QUEUED, 1)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_cancel_during_encoding_is_a_cancel(
    sqlite_store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases: list[JobLease] = []

    def cancel_now(frame: object) -> bytes:
        (running,) = sqlite_store.list()[0]
        sqlite_store.cancel(running.id)
        while not leases[0].should_stop():  # it looks a few times a second
            time.sleep(0.01)
        return b"jpeg"

    monkeypatch.setattr(publishing, "poster", cancel_now)
    published, job = publish(sqlite_store, tmp_path / "out", leases)
    assert (published, job.error_code) == (False, "cancelled")
    assert list((tmp_path / "out").iterdir()) == []
