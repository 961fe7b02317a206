"""Assets are whole or absent, and stay inside their folder."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.errors import EncodingFailed, StorageUnavailable
from serving.storage import CHUNK_BYTES, DirectoryStorage, Storage, output_name


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path / "outputs")


def files(storage: DirectoryStorage) -> list[str]:
    return sorted(str(path.relative_to(storage.root)) for path in storage.root.rglob("*") if path.is_file())


def test_a_directory_is_a_storage(storage: DirectoryStorage) -> None:
    anything: Storage = storage
    assert anything.put_bytes("2026/clip.mp4", b"bytes") == 5
    assert anything.exists("2026/clip.mp4")
    assert not anything.exists("2026")
    assert anything.size("2026/clip.mp4") == 5
    size, chunks = anything.open("2026/clip.mp4")
    assert (size, b"".join(chunks)) == (5, b"bytes")
    anything.put_bytes("2026/clip.mp4", b"others")
    assert b"".join(anything.read("2026/clip.mp4")) == b"others"
    anything.delete("2026/clip.mp4")
    anything.delete("2026/clip.mp4")
    assert not anything.exists("2026/clip.mp4")
    for read in (anything.size, anything.open, anything.read):
        for key in ("2026/clip.mp4", "2026", "never/was"):
            with pytest.raises(FileNotFoundError):
                read(key)
    assert anything.free_bytes() > 0


def test_ranges(storage: DirectoryStorage) -> None:
    data = os.urandom(2 * CHUNK_BYTES + 17)
    storage.put_bytes("a.bin", data)
    for start, end in ((0, None), (0, 1), (5, CHUNK_BYTES + 9), (len(data) - 1, None), (3, 3), (7, 10**9)):
        chunks = list(storage.read("a.bin", start, end))
        assert b"".join(chunks) == data[start:end]
        assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in chunks)
    for start, end in ((-1, None), (9, 8), (len(data) + 1, None)):
        with pytest.raises(ValueError, match="bytes"):
            storage.read("a.bin", start, end)


def test_a_download_outlives_a_delete(storage: DirectoryStorage) -> None:
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
def test_keys_that_are_none_are_refused(storage: DirectoryStorage, key: str) -> None:
    for use in (storage.exists, storage.size, storage.read, storage.open, storage.delete):
        with pytest.raises(ValueError):
            use(key)
    with pytest.raises(ValueError):
        storage.put_bytes(key, b"")
    assert not storage.root.exists()


def test_nothing_shows_before_it_is_whole(storage: DirectoryStorage) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        assert not storage.exists("clip.mp4")
        assert path.parent == storage.root
        with path.open("ab") as file:
            file.write(b" and half")

    assert storage.publish("clip.mp4", write) == 13
    assert files(storage) == ["clip.mp4"]


def test_a_failed_write_leaves_nothing_and_harms_nothing(storage: DirectoryStorage) -> None:
    storage.put_bytes("clip.mp4", b"old")

    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise EncodingFailed

    with pytest.raises(EncodingFailed):
        storage.publish("clip.mp4", write)
    assert files(storage) == ["clip.mp4"]
    assert b"".join(storage.read("clip.mp4")) == b"old"


def test_a_full_disk_is_said_with_a_time_to_come_back(storage: DirectoryStorage) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageUnavailable, match="No space left") as refusal:
        storage.publish("clip.mp4", write)
    assert refusal.value.retry_after_s is not None
    assert files(storage) == []


def test_a_real_full_disk(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(StorageUnavailable):
        DirectoryStorage(tmp_path).publish("clip.mp4", lambda path: _fill(full))


def _fill(path: Path) -> None:
    path.write_bytes(b"0" * 10_000)


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    storage = DirectoryStorage(tmp_path / "file")
    with pytest.raises(StorageUnavailable):
        storage.put_bytes("a.bin", b"")
    with pytest.raises(StorageUnavailable):
        storage.free_bytes()


def test_everything_is_flushed_before_and_after_the_rename(
    storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(descriptor: int) -> None:
        seen.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name.split('.')[0]}")
        fsync(descriptor)

    def spy_replace(self: Path, target: Path) -> Path:
        seen.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    storage.put_bytes("day/clip.mp4", b"bytes")
    assert seen == [
        f"fsync {storage.root.parent.name}",
        "fsync outputs",
        "fsync clip",
        "rename",
        "fsync day",
    ]


def test_a_killed_writer_leaves_only_a_part_and_the_sweep_takes_it(storage: DirectoryStorage) -> None:
    code = (
        "import sys, time; from pathlib import Path; from serving.storage import DirectoryStorage\n"
        "def write(path):\n"
        "    path.write_bytes(b'half'); print('half', flush=True); time.sleep(60)\n"
        "DirectoryStorage(sys.argv[1]).publish('day/clip.mp4', write)"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(storage.root)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"half\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    (left,) = files(storage)
    assert left.startswith("day/clip.mp4.")
    assert left.endswith(".part")
    assert not storage.exists("day/clip.mp4")
    storage.put_bytes("day/clip.mp4", b"whole")
    assert storage.sweep(3600) == 0
    assert storage.sweep(0) == 1
    assert files(storage) == ["day/clip.mp4"]


def test_two_writers_of_one_key_use_two_parts(storage: DirectoryStorage) -> None:
    def outer(path: Path) -> None:
        storage.put_bytes("clip.mp4", b"inner")
        path.write_bytes(b"outer")

    storage.publish("clip.mp4", outer)
    assert b"".join(storage.read("clip.mp4")) == b"outer"


def test_sweep_of_a_folder_that_is_not_there_yet(storage: DirectoryStorage) -> None:
    assert storage.sweep(0) == 0


def test_a_picture_is_stored_once_and_dated_anew(storage: DirectoryStorage) -> None:
    key = storage.put_picture(b"png")
    assert key == f"pictures/{hashlib.sha256(b'png').hexdigest()}.png"
    path = storage.root / key
    inode = path.stat().st_ino
    os.utime(path, (1, 1))
    assert storage.put_picture(b"png") == key
    assert path.stat().st_ino == inode
    assert time.time() - path.stat().st_mtime < 60
    assert storage.put_picture(b"other") != key
    assert len(files(storage)) == 2


def test_output_names_never_collide() -> None:
    job_id = "video_" + "0123456789abcdef" * 2
    assert output_name("video_", 1785326400.9, job_id, 1) == f"video_20260729_120000_{job_id}"
    assert output_name("", 1785326400.9, job_id, 2) == f"20260729_120000_{job_id}_2"
    assert output_name("衣服_", 0.0, job_id, 3) == f"衣服_19700101_000000_{job_id}_3"
