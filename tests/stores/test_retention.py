"""Results expire, records follow, and the reaper leaves everything else; over a real store and real storages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving import retention
from serving.errors import StorageUnavailable, VideoNotFound
from serving.jobs.expiry import EndedJob
from serving.jobs.job import Job, JobStatus, NewJob, new_job_id
from serving.jobs.store import JobStore
from serving.publishing import files_of
from serving.retention import ROUND_S, UNUSED_S, Fate, Policy, Reaper, fate
from serving.storage import DirectoryStorage, Entry, Storage, open_storage, output_name

MODEL = "i2vgen-xl"
DAY_S = 86_400.0
POLICY = Policy(retention_s=DAY_S, record_s=2 * DAY_S)
Make = Callable[..., NewJob]


@pytest.mark.parametrize(
    ("status", "expires_at", "retention_s", "now", "expected"),
    [
        ("completed", None, 10, 1e12, Fate.KEEP),
        ("completed", 110, 10, 109.9, Fate.KEEP),
        ("completed", 110, 10, 110, Fate.EXPIRE),
        ("completed", 110, 10, 129.9, Fate.EXPIRE),
        ("completed", 110, 10, 130, Fate.FORGET),
        ("completed", 110, None, 110, Fate.EXPIRE),
        ("completed", 110, None, 130, Fate.FORGET),
        ("completed", 500, 10, 111, Fate.KEEP),
        ("failed", None, 10, 110, Fate.KEEP),
        ("failed", None, 10, 129.9, Fate.KEEP),
        ("failed", None, 10, 130, Fate.FORGET),
        ("failed", None, None, 1e12, Fate.KEEP),
    ],
)
def test_fates(status: str, expires_at: float | None, retention_s: float | None, now: float, expected: Fate) -> None:
    files = ("a.mp4",) if status == "completed" else ()
    job = EndedJob(1, JobStatus(status), completed_at=100.0, expires_at=expires_at, files=files)
    assert fate(job, Policy(retention_s, record_s=20), now) is expected


def test_files_expire_once() -> None:
    job = EndedJob(1, JobStatus.COMPLETED, completed_at=100.0, expires_at=110.0, files=())
    assert fate(job, Policy(10, record_s=20), 111) is Fate.KEEP


@pytest.fixture
def pictures(storage_at: str | Path) -> Storage:
    return open_storage(storage_at)


@pytest.fixture
def outputs(storage_at: str | Path) -> Storage:
    return open_storage(f"{storage_at}/outputs")


@pytest.fixture
def logs(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path / "logs" / "jobs")


@pytest.fixture
def reaper(sqlite_store: JobStore, pictures: Storage, outputs: Storage, logs: Storage) -> Reaper:
    return Reaper(sqlite_store, pictures, outputs, logs, POLICY)


@pytest.fixture
def complete(sqlite_store: JobStore, new_job: Make, outputs: Storage) -> Callable[..., Job]:
    """Makes a completed job with its files, which expires `expires_in_s` from now."""

    def make(expires_in_s: float | None = DAY_S, **changes: object) -> Job:
        new = new_job(**changes)
        sqlite_store.insert(new)
        job = sqlite_store.claim("default", MODEL, "card-1", 30.0)
        assert job is not None
        files = {"video": f"{job.id}.mp4", "recipe": f"{job.id}.json"}
        for key in files.values():
            outputs.put_bytes(key, b"bytes")
        expires_at = None if expires_in_s is None else time.time() + expires_in_s
        assert sqlite_store.complete(job.id, job.attempt, {"files": files}, expires_at)
        return sqlite_store.get(job.id)

    return make


def left(job: Job, outputs: Storage) -> int:
    return sum(outputs.exists(f"{job.id}.{suffix}") for suffix in ("mp4", "json"))


def test_a_result_expires_and_its_record_follows(
    reaper: Reaper, complete: Callable[..., Job], sqlite_store: JobStore, outputs: Storage
) -> None:
    job, later, kept = complete(), complete(10 * DAY_S), complete(None)
    now = time.time()
    reaper.run(now)
    assert (left(job, outputs), left(later, outputs), left(kept, outputs)) == (2, 2, 2)
    reaper.run(now + DAY_S)
    assert (left(job, outputs), left(later, outputs), left(kept, outputs)) == (0, 2, 2)
    assert sqlite_store.get(job.id).result == {"files": {}}
    reaper.run(now + 3 * DAY_S)
    with pytest.raises(VideoNotFound):
        sqlite_store.get(job.id)
    reaper.run(now + 1000 * DAY_S)
    with pytest.raises(VideoNotFound):
        sqlite_store.get(later.id)
    assert (left(later, outputs), left(kept, outputs)) == (0, 2)
    assert sqlite_store.get(kept.id) == kept


def test_a_record_never_goes_before_its_files(
    reaper: Reaper, complete: Callable[..., Job], sqlite_store: JobStore, outputs: Storage
) -> None:
    job = complete()
    reaper.run(time.time() + 10 * DAY_S)
    assert left(job, outputs) == 0
    with pytest.raises(VideoNotFound):
        sqlite_store.get(job.id)


def test_jobs_that_wait_or_run_are_left_alone(
    reaper: Reaper, sqlite_store: JobStore, new_job: Make, pictures: Storage
) -> None:
    key = pictures.put_picture(b"png")
    running, waiting = sqlite_store.insert(new_job(picture_key=key)), sqlite_store.insert(new_job(picture_key=key))
    sqlite_store.claim("default", MODEL, "card-1", 1e9)
    for days in range(100):
        reaper.run(time.time() + days * DAY_S)
    assert sqlite_store.get(running.id).status is JobStatus.IN_PROGRESS
    assert sqlite_store.get(waiting.id).status is JobStatus.QUEUED
    assert pictures.exists(key)


def test_pictures_go_a_day_after_their_last_job(
    reaper: Reaper, complete: Callable[..., Job], sqlite_store: JobStore, pictures: Storage
) -> None:
    used, unused = pictures.put_picture(b"used"), pictures.put_picture(b"unused")
    job = complete(None, picture_key=used)
    now = time.time()
    reaper.run(now + UNUSED_S - 60)
    assert (pictures.exists(used), pictures.exists(unused)) == (True, True)
    reaper.run(now + UNUSED_S + ROUND_S)
    assert (pictures.exists(used), pictures.exists(unused)) == (True, False)
    sqlite_store.delete(job.id)
    reaper.run(now + UNUSED_S + 3 * ROUND_S)
    assert not pictures.exists(used)


def test_a_pass_is_bounded_and_the_next_goes_on(
    reaper: Reaper,
    complete: Callable[..., Job],
    outputs: Storage,
    pictures: Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {"ROWS": 2, "PAGES": 2, "REMOVALS": 3, "PICTURES_SEEN": 2}.items():
        monkeypatch.setattr(retention, name, value)
    jobs = [complete() for _ in range(5)]
    for number in range(5):
        pictures.put_picture(bytes([number]))
    gone = []
    for minute in range(4):
        reaper.run(time.time() + 2 * DAY_S + 60 * minute)
        gone.append((sum(left(job, outputs) == 0 for job in jobs), 5 - len(list(pictures.entries("pictures")))))
    assert gone == [(3, 2), (5, 4), (5, 5), (5, 5)]


def test_a_pass_that_removes_nothing_is_bounded_too(
    reaper: Reaper, complete: Callable[..., Job], outputs: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ROWS": 2, "PAGES": 2}.items():
        monkeypatch.setattr(retention, name, value)
    for _ in range(4):
        complete(None)
    fifth = complete()
    found = []
    for minute in range(2):
        reaper.run(time.time() + 2 * DAY_S + 60 * minute)
        found.append(left(fifth, outputs))
    assert found == [2, 0]


def test_a_crash_between_files_and_record_is_made_good(
    reaper: Reaper,
    complete: Callable[..., Job],
    sqlite_store: JobStore,
    outputs: Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = complete()
    with monkeypatch.context() as broken:
        broken.setattr(sqlite_store.expiry, "drop_files", _crash)
        with pytest.raises(KeyboardInterrupt):
            reaper.run(time.time() + DAY_S)
    assert left(job, outputs) == 0
    reaper.run(time.time() + DAY_S + 60)
    assert sqlite_store.get(job.id).result == {"files": {}}


def _crash(*_: object) -> None:
    raise KeyboardInterrupt


def test_one_file_that_cannot_be_removed_holds_up_nothing(
    reaper: Reaper,
    complete: Callable[..., Job],
    sqlite_store: JobStore,
    outputs: Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, stuck, last = complete(), complete(), complete()
    delete = type(outputs).delete

    def refuse_one(self: Storage, key: str) -> None:
        if key.startswith(stuck.id):
            raise StorageUnavailable
        delete(self, key)

    with monkeypatch.context() as broken:
        broken.setattr(type(outputs), "delete", refuse_one)
        for minute in range(4):
            reaper.run(time.time() + DAY_S + 60 * minute)
    assert [left(job, outputs) for job in (first, stuck, last)] == [0, 2, 0]
    assert sqlite_store.get(first.id).result == {"files": {}}
    for minute in range(2):
        reaper.run(time.time() + DAY_S + 60 * minute)
    assert left(stuck, outputs) == 0


def test_an_outage_is_no_error(
    reaper: Reaper, complete: Callable[..., Job], pictures: Storage, outputs: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, key = complete(), pictures.put_picture(b"png")
    with monkeypatch.context() as broken:
        for name in ("delete", "entries", "sweep"):
            broken.setattr(type(outputs), name, _out_of_reach)
        reaper.run(time.time() + 2 * DAY_S)
    reaper.run(time.time() + 2 * DAY_S + 60)
    reaper.run(time.time() + 2 * DAY_S + ROUND_S)
    assert left(job, outputs) == 0
    assert not pictures.exists(key)


def _out_of_reach(*_: object) -> Iterator[Entry]:
    raise StorageUnavailable


def test_unfinished_writes_go_after_a_day(sqlite_store: JobStore, tmp_path: Path) -> None:
    pictures, outputs = DirectoryStorage(tmp_path / "data"), DirectoryStorage(tmp_path / "outputs")
    for storage in (pictures, outputs):
        storage.put_bytes("clip.mp4", b"whole")
        (storage.root / "clip.mp4.0123abcd.part").touch()
    reaper = Reaper(sqlite_store, pictures, outputs, DirectoryStorage(tmp_path / "logs"), POLICY)
    reaper.run(time.time() + UNUSED_S - 60)
    assert len(list(tmp_path.rglob("*.part"))) == 2
    reaper.run(time.time() + UNUSED_S + ROUND_S)
    assert list(tmp_path.rglob("*.part")) == []
    assert outputs.exists("clip.mp4")


def test_clips_of_dead_attempts_go_after_a_day(
    reaper: Reaper, sqlite_store: JobStore, new_job: Make, outputs: Storage
) -> None:
    new = new_job()
    created = sqlite_store.insert(new).created_at
    keys = [output_name("video_", created, new.id, attempt) + ".mp4" for attempt in (1, 2, 3)]
    for attempt in (1, 2):
        assert sqlite_store.claim("default", MODEL, "card-1", 30.0)
        outputs.put_bytes(keys[attempt - 1], b"bytes")
        if attempt == 1:
            sqlite_store.release(new.id, 1, reason_code="worker_crashed", reason="died", charge=True)
    reaper.run(time.time() + DAY_S + ROUND_S)
    assert [outputs.exists(key) for key in keys] == [True, True, False]  # it has not ended
    assert sqlite_store.complete(new.id, 2, {"files": {"video": keys[1]}})
    outputs.put_bytes(keys[2], b"bytes")  # of a worker that comes late
    reaper.run(time.time() + UNUSED_S - 60)
    assert [outputs.exists(key) for key in keys] == [True, True, True]
    reaper.run(time.time() + UNUSED_S + 2 * ROUND_S)
    assert [outputs.exists(key) for key in keys] == [False, True, False]


def test_files_of_jobs_that_failed_go_too(
    reaper: Reaper, sqlite_store: JobStore, new_job: Make, outputs: Storage
) -> None:
    job = sqlite_store.insert(new_job())
    assert sqlite_store.claim("default", MODEL, "card-1", 30.0)
    keys = files_of(job, 1, "").values()
    for key in keys:
        outputs.put_bytes(key, b"bytes")
    assert sqlite_store.fail(job.id, 1, "worker_crashed", "died")
    reaper.run(time.time() + UNUSED_S + ROUND_S)
    assert [key for key in keys if outputs.exists(key)] == []


def test_clips_of_another_store_and_other_files_are_left_alone(
    reaper: Reaper, complete: Callable[..., Job], outputs: Storage
) -> None:
    job = complete(None)
    others = [output_name("video_", 0.0, new_job_id(0.0), 1) + ".mp4", f"holiday_{job.id}.mp4", "demo.mp4"]
    for key in others:
        outputs.put_bytes(key, b"bytes")
    reaper.run(time.time() + 100 * DAY_S)
    assert [outputs.exists(key) for key in others] == [True, True, True]


def test_logs_go_a_day_after_their_job(
    reaper: Reaper, complete: Callable[..., Job], sqlite_store: JobStore, logs: DirectoryStorage
) -> None:
    known, gone = complete(None), complete(None)
    for name in (known.id, gone.id, "notes"):
        logs.put_bytes(f"{name}.log", b"{}")
    sqlite_store.delete(gone.id)
    now = time.time()
    reaper.run(now + UNUSED_S - 60)
    assert len(list(logs.entries())) == 3
    reaper.run(now + UNUSED_S + ROUND_S)
    assert {entry.key for entry in logs.entries()} == {f"{known.id}.log", "notes.log"}
