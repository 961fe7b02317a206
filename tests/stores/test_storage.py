"""What every storage promises, in a directory and on a real S3 server."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from pathlib import Path

import pytest

from serving.errors import ConfigurationInvalid, EncodingFailed, StorageUnavailable
from serving.storage import CHUNK_BYTES, DirectoryStorage, S3Storage, Storage, open_storage, output_name


def test_what_is_put_is_there_until_it_is_deleted(storage: Storage) -> None:
    assert storage.put_bytes("2026/clip.mp4", b"bytes") == 5
    assert storage.exists("2026/clip.mp4")
    assert not storage.exists("2026")
    assert storage.size("2026/clip.mp4") == 5
    size, chunks = storage.open("2026/clip.mp4")
    assert (size, b"".join(chunks)) == (5, b"bytes")
    storage.put_bytes("2026/clip.mp4", b"others")
    assert b"".join(storage.read("2026/clip.mp4")) == b"others"
    storage.delete("2026/clip.mp4")
    storage.delete("2026/clip.mp4")
    assert not storage.exists("2026/clip.mp4")
    for read in (storage.size, storage.open, storage.read):
        for key in ("2026/clip.mp4", "2026", "never/was"):
            with pytest.raises(FileNotFoundError):
                read(key)


def test_room_is_a_number_or_unbounded(storage: Storage) -> None:
    room = storage.free_bytes()
    assert room is None or room > 0


def test_ranges(storage: Storage) -> None:
    data = os.urandom(2 * CHUNK_BYTES + 17)
    storage.put_bytes("a.bin", data)
    for start, end in (
        (0, None),
        (0, 1),
        (5, CHUNK_BYTES + 9),
        (len(data) - 1, None),
        (3, 3),
        (7, 10**9),
        (len(data), None),
    ):
        chunks = list(storage.read("a.bin", start, end))
        assert b"".join(chunks) == data[start:end]
        assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in chunks)
    for start, end in ((-1, None), (9, 8), (len(data) + 1, None)):
        with pytest.raises(ValueError, match="bytes"):
            storage.read("a.bin", start, end)
    storage.put_bytes("empty.bin", b"")
    assert list(storage.read("empty.bin")) == list(storage.read("empty.bin", 0, 0)) == []
    for start in (0, 5):
        with pytest.raises(FileNotFoundError):
            storage.read("absent.bin", start, 5)


def test_a_download_outlives_a_delete(storage: Storage) -> None:
    storage.put_bytes("a.bin", b"bytes")
    _, chunks = storage.open("a.bin")
    storage.delete("a.bin")
    assert b"".join(chunks) == b"bytes"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../out",
        "a/../../out",
        "a//b",
        "a/",
        "./a",
        "a/.",
        "..",
        "a\\..\\b",
        "a\0b",
        "a\nb",
        "\ud800",
        "a.mp4.part",
        "x" * 201,
        "x/" * 600 + "x",
    ],
)
def test_keys_that_are_none_are_refused(storage: Storage, key: str) -> None:
    for use in (storage.exists, storage.size, storage.read, storage.open, storage.delete):
        with pytest.raises(ValueError):
            use(key)
    with pytest.raises(ValueError):
        storage.put_bytes(key, b"")
    with pytest.raises(ValueError):
        storage.publish(key, Path.touch)
    with pytest.raises(ValueError):
        storage.delete_stale(key, 0)
    with pytest.raises(ValueError):
        list(storage.entries(key))


@pytest.mark.parametrize("key", ["衣服_1.mp4", "a b+c%41#~&=.mp4", "a/b.part.mp4", "été/ü.png"])
def test_keys_are_taken_as_they_are(storage: Storage, key: str) -> None:
    storage.put_bytes(key, b"bytes")
    assert storage.exists(key)
    folder = key.rpartition("/")[0]
    if folder:
        assert [entry.key for entry in storage.entries(folder)] == [key]


def test_nothing_shows_before_it_is_whole(storage: Storage) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        assert not storage.exists("clip.mp4")
        with path.open("ab") as file:
            file.write(b" and half")

    assert storage.publish("clip.mp4", write) == 13
    assert b"".join(storage.read("clip.mp4")) == b"half and half"


def test_a_failed_write_leaves_nothing_and_harms_nothing(storage: Storage) -> None:
    storage.put_bytes("day/clip.mp4", b"old")
    wrote: list[Path] = []

    def write(path: Path) -> None:
        wrote.append(path)
        path.write_bytes(b"half")
        raise EncodingFailed

    with pytest.raises(EncodingFailed):
        storage.publish("day/clip.mp4", write)
    assert not wrote[0].exists()
    assert [entry.key for entry in storage.entries("day")] == ["day/clip.mp4"]
    assert b"".join(storage.read("day/clip.mp4")) == b"old"


def test_a_full_disk_is_said_with_a_time_to_come_back(storage: Storage) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageUnavailable, match="No space left") as refusal:
        storage.publish("clip.mp4", write)
    assert refusal.value.retry_after_s is not None
    assert not storage.exists("clip.mp4")


def test_two_writers_of_one_key_do_not_meet(storage: Storage) -> None:
    def outer(path: Path) -> None:
        storage.put_bytes("clip.mp4", b"inner")
        path.write_bytes(b"outer")

    storage.publish("clip.mp4", outer)
    assert b"".join(storage.read("clip.mp4")) == b"outer"


def test_a_large_clip(storage: Storage) -> None:
    data = os.urandom(20 * 2**20 + 1)
    assert storage.publish("clip.mp4", lambda path: _write(path, data)) == len(data)
    size, chunks = storage.open("clip.mp4")
    assert size == len(data)
    assert b"".join(chunks) == data
    assert b"".join(storage.read("clip.mp4", 2**23 - 5, 2**24 + 5)) == data[2**23 - 5 : 2**24 + 5]


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def test_a_picture_is_stored_under_its_content(storage: Storage) -> None:
    key = storage.put_picture(b"png")
    assert key == f"pictures/{hashlib.sha256(b'png').hexdigest()}"
    assert storage.put_picture(b"png") == key
    assert storage.put_picture(b"other") != key
    assert b"".join(storage.read(key)) == b"png"
    assert len(list(storage.entries("pictures"))) == 2


def test_a_picture_is_dated_anew(storage: Storage) -> None:
    key = storage.put_picture(b"png")
    (first,) = storage.entries("pictures")
    assert abs(time.time() - first.modified_at) < 60
    time.sleep(1.1)  # S3 dates to the second
    storage.put_picture(b"png")
    (again,) = storage.entries("pictures")
    assert again.key == key
    assert again.modified_at > first.modified_at


def test_only_what_is_stale_is_deleted(storage: Storage) -> None:
    key = storage.put_picture(b"png")
    assert not storage.delete_stale(key, time.time() - 60)
    assert storage.exists(key)
    assert storage.delete_stale(key, time.time() + 60)
    assert not storage.exists(key)
    assert not storage.delete_stale(key, time.time() + 60)


def test_entries_of_a_folder(storage: Storage) -> None:
    for key in ("a/1", "a/2", "a/b/3", "ab/4", "5"):
        storage.put_bytes(key, b"bytes")
    assert sorted(entry.key for entry in storage.entries("a")) == ["a/1", "a/2", "a/b/3"]
    assert list(storage.entries("none")) == []


def test_the_sweep_leaves_what_is_whole(storage: Storage) -> None:
    storage.put_bytes("clip.mp4", b"bytes")
    assert sum(storage.sweep(time.time() - 3600)) == 0
    assert storage.exists("clip.mp4")


def test_a_location_says_which_storage(s3_environment: None, tmp_path: Path) -> None:
    assert isinstance(open_storage(tmp_path), DirectoryStorage)
    assert isinstance(open_storage(str(tmp_path)), DirectoryStorage)
    assert isinstance(open_storage("s3://bucket"), S3Storage)
    for url in ("gs://bucket/prefix", "s3://", "https://bucket"):
        with pytest.raises(ConfigurationInvalid, match="s3://bucket/prefix"):
            open_storage(url)


def test_output_names_never_collide() -> None:
    job_id = "video_" + "0123456789abcdef" * 2
    assert output_name("video_", 1785326400.9, job_id, 1) == f"video_20260729_120000_{job_id}"
    assert output_name("", 1785326400.9, job_id, 2) == f"20260729_120000_{job_id}_2"
    assert output_name("衣服_", 0.0, job_id, 3) == f"衣服_19700101_000000_{job_id}_3"
