"""Assets by key: pictures in, clips out. What is there is whole; what is acknowledged survives a power cut.

A key is a relative path with "/" between its parts. Knows nothing of HTTP, Ray, jobs or what the bytes mean.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from serving.errors import StorageUnavailable

CHUNK_BYTES = 256 * 1024
PART = ".part"
RETRY_AFTER_S = 30.0
_LONGEST_PART, _LONGEST_KEY = 200, 1000
_DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


class Storage(Protocol):
    """Where assets are.

    Every method raises ValueError for a key that is not one, and StorageUnavailable while the storage is full
    or out of reach.
    """

    def put_bytes(self, key: str, data: bytes) -> int:
        """Store small content whole; its size in bytes."""

    def publish(self, key: str, write: Callable[[Path], None]) -> int:
        """Have `write` make a local file, then store it whole under the key; its size in bytes.

        What `write` raises is raised, and nothing is stored.
        """

    def put_picture(self, png: bytes) -> str:
        """Store a picture under its content's hash, once; its key."""

    def size(self, key: str) -> int:
        """Bytes. Raises FileNotFoundError where nothing is stored."""

    def exists(self, key: str) -> bool: ...

    def open(self, key: str) -> tuple[int, Iterator[bytes]]:
        """The size in bytes, and all of them in chunks. Raises FileNotFoundError where nothing is stored."""

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Bytes `start` up to but without `end`, in chunks; those of a key deleted since go on.

        Raises FileNotFoundError where nothing is stored, and ValueError for a range outside.
        """

    def delete(self, key: str) -> None:
        """Remove; nothing to remove is no error."""

    def sweep(self, older_than_s: float) -> int:
        """Remove what unfinished writes left behind that long ago; how many."""

    def free_bytes(self) -> int:
        """Room left."""


class DirectoryStorage:
    """A folder on a disk that every process of the service can see."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def put_bytes(self, key: str, data: bytes) -> int:
        def write(path: Path) -> None:
            path.write_bytes(data)

        return self.publish(key, write)

    def publish(self, key: str, write: Callable[[Path], None]) -> int:
        path = self._path(key)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}")
        with _disk_trouble():
            _make_folder(path.parent)
        try:
            with _disk_trouble(_DISK_TROUBLE):
                write(part)
            with _disk_trouble():
                _flush(part)
                size = part.stat().st_size
                part.replace(path)
                _flush(path.parent)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        return size

    def put_picture(self, png: bytes) -> str:
        key = f"pictures/{hashlib.sha256(png).hexdigest()}.png"
        path = self._path(key)
        with _disk_trouble(), suppress(FileNotFoundError):
            # A new date: whoever removes old pictures must leave the one just asked for.
            os.utime(path)
            _flush(path.parent)
            return key
        self.put_bytes(key, png)
        return key

    def size(self, key: str) -> int:
        with _disk_trouble():
            return self._file(key).stat().st_size

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with _disk_trouble():
            return path.is_file()

    def open(self, key: str) -> tuple[int, Iterator[bytes]]:
        with _disk_trouble():
            file = self._file(key).open("rb")
            size = os.fstat(file.fileno()).st_size
        return size, _chunks(file, 0, size)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        with _disk_trouble():
            file = self._file(key).open("rb")
            size = os.fstat(file.fileno()).st_size
        stop = size if end is None else min(end, size)
        if not 0 <= start <= stop:
            file.close()
            raise ValueError(f"bytes {start} to {end} of {size}")
        return _chunks(file, start, stop)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _disk_trouble(), suppress(FileNotFoundError):
            path.unlink()
            _flush(path.parent)

    def sweep(self, older_than_s: float) -> int:
        removed = 0
        with _disk_trouble():
            for part in self.root.rglob(f"*{PART}"):
                # Its writer may be gone, or have renamed it just now.
                with suppress(FileNotFoundError):
                    if time.time() - part.stat().st_mtime >= older_than_s:
                        part.unlink()
                        removed += 1
        return removed

    def free_bytes(self) -> int:
        with _disk_trouble():
            _make_folder(self.root)
            return shutil.disk_usage(self.root).free

    def _file(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, "nothing is stored under this key", key)
        return path

    def _path(self, key: str) -> Path:
        check_key(key)
        return self.root / key


def check_key(key: str) -> None:
    """Raises ValueError unless the key is a relative path that stays inside, and no unfinished write."""
    for part in key.split("/"):
        if part in ("", ".", "..") or len(part.encode()) > _LONGEST_PART or not part.isprintable():
            raise ValueError(f"not a storage key: {key[:80]!r}")
    if "\\" in key or key.endswith(PART) or len(key) > _LONGEST_KEY:
        raise ValueError(f"not a storage key: {key[:80]!r}")


def output_name(prefix: str, created_at: float, job_id: str, attempt: int) -> str:
    """ "<prefix>YYYYMMDD_HHMMSS_<id>" in UTC, with "_2" and so on for later attempts.

    A name of its own for each attempt: a worker that comes late cannot overwrite what another has published.
    """
    moment = datetime.fromtimestamp(created_at, UTC)
    again = f"_{attempt}" if attempt > 1 else ""
    return f"{prefix}{moment:%Y%m%d_%H%M%S}_{job_id}{again}"


@contextmanager
def _disk_trouble(only: set[int] | None = None) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        reason = error.strerror or "an error"
        raise StorageUnavailable(
            f"The storage answered: {reason}; try again later.", retry_after_s=RETRY_AFTER_S
        ) from error


def _chunks(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    with _disk_trouble(), file:
        file.seek(start)
        left = stop - start
        while left > 0 and (chunk := file.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _flush(folder.parent)


def _flush(path: Path) -> None:
    """Onto the disk: a file's content, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
