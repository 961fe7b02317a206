"""A folder as storage: flushed, renamed, swept, and honest about its disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.errors import StorageUnavailable
from serving.storage import DirectoryStorage


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path / "outputs")


def files(storage: DirectoryStorage) -> list[str]:
    return sorted(str(path.relative_to(storage.root)) for path in storage.root.rglob("*") if path.is_file())


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
    now = time.time()
    assert sum(storage.sweep(now - 3600)) == 0
    assert sum(storage.sweep(now + 1)) == 1
    assert files(storage) == ["day/clip.mp4"]


def test_sweep_of_a_folder_that_is_not_there_yet(storage: DirectoryStorage) -> None:
    assert list(storage.sweep(time.time())) == []
    assert list(storage.entries("pictures")) == []


def test_a_part_is_written_beside_its_file(storage: DirectoryStorage) -> None:
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        assert path.parent == storage.root / "day"

    storage.publish("day/clip.mp4", write)
    assert files(storage) == ["day/clip.mp4"]


def test_the_sweep_leaves_what_others_put_there(storage: DirectoryStorage) -> None:
    storage.put_bytes("clip.mp4", b"whole")
    (storage.root / "download.part").touch()
    assert list(storage.sweep(time.time() + 1)) == [False, False]
    assert files(storage) == ["clip.mp4", "download.part"]


def test_an_unfinished_write_is_no_entry(storage: DirectoryStorage) -> None:
    def write(path: Path) -> None:
        path.touch()
        assert list(storage.entries("day")) == []

    storage.publish("day/clip.mp4", write)
    assert [entry.key for entry in storage.entries("day")] == ["day/clip.mp4"]


def test_a_picture_is_written_once(storage: DirectoryStorage) -> None:
    path = storage.root / storage.put_picture(b"png")
    inode = path.stat().st_ino
    storage.put_picture(b"png")
    assert path.stat().st_ino == inode


def test_a_picture_renewed_while_it_is_removed_stays(
    storage: DirectoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = storage.put_picture(b"png")
    os.utime(storage.root / key, (1, 1))
    replace = Path.replace

    def renewed_just_before(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", replace)
        storage.put_picture(b"png")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", renewed_just_before)
    assert not storage.delete_stale(key, time.time() - 3600)
    assert files(storage) == [key]
    os.utime(storage.root / key, (1, 1))

    def asked_for_just_after(self: Path, target: Path) -> Path:
        moved = replace(self, target)
        monkeypatch.setattr(Path, "replace", replace)
        storage.put_picture(b"png")
        return moved

    monkeypatch.setattr(Path, "replace", asked_for_just_after)
    assert storage.delete_stale(key, time.time() - 3600)
    assert files(storage) == [key]
