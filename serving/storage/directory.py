"""Assets in a folder: written aside, flushed, renamed. Knows nothing of HTTP, Ray, jobs or what the bytes mean."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from serving.errors import StorageUnavailable
from serving.storage.contract import CHUNK_BYTES, PART, RETRY_AFTER_S, Entry, check_key, picture_key

DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
_ASIDE = re.compile(rf".+\.[0-9a-f]{{8}}{re.escape(PART)}")


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
        part = _aside(path)
        with disk_trouble():
            _make_folder(path.parent)
        try:
            with disk_trouble(DISK_TROUBLE):
                write(part)
            with disk_trouble():
                _flush(part)
                size = part.stat().st_size
                part.replace(path)
                _flush(path.parent)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        return size

    def put_picture(self, picture: bytes) -> str:
        key = picture_key(picture)
        path = self._path(key)
        with disk_trouble(), suppress(FileNotFoundError):
            # A new date: whoever removes old pictures must leave the one just asked for.
            os.utime(path)
            _flush(path.parent)
            return key
        self.put_bytes(key, picture)
        return key

    def size(self, key: str) -> int:
        with disk_trouble():
            return self._file(key).stat().st_size

    def exists(self, key: str) -> bool:
        path = self._path(key)
        with disk_trouble():
            return path.is_file()

    def open(self, key: str) -> tuple[int, Iterator[bytes]]:
        with disk_trouble():
            file = self._file(key).open("rb")
            size = os.fstat(file.fileno()).st_size
        return size, _chunks(file, 0, size)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        with disk_trouble():
            file = self._file(key).open("rb")
            size = os.fstat(file.fileno()).st_size
        stop = size if end is None else min(end, size)
        if not 0 <= start <= stop:
            file.close()
            raise ValueError(f"bytes {start} to {end} of {size}")
        return _chunks(file, start, stop)

    def delete(self, key: str) -> None:
        path = self._path(key)
        with disk_trouble(), suppress(FileNotFoundError):
            path.unlink()
            _flush(path.parent)

    def delete_stale(self, key: str, before: float) -> bool:
        path = self._path(key)
        part = _aside(path)
        with disk_trouble(), suppress(FileNotFoundError):
            # Moved aside before its date is read: `put_picture` has renewed it by then, or stores it anew.
            path.replace(part)
            if part.stat().st_mtime >= before:
                part.replace(path)
                return False
            part.unlink()
            _flush(path.parent)
            return True
        return False

    def entries(self, folder: str | None = None) -> Iterator[Entry]:
        start = self.root if folder is None else self._path(folder)
        with disk_trouble():
            for found in _files(start):
                with suppress(FileNotFoundError):
                    if not found.name.endswith(PART):
                        yield Entry(Path(found.path).relative_to(self.root).as_posix(), found.stat().st_mtime)

    def sweep(self, before: float) -> Iterator[bool]:
        with disk_trouble():
            for found in _files(self.root):
                stale = False
                # Its writer may have renamed it just now.
                with suppress(FileNotFoundError):
                    stale = _ASIDE.fullmatch(found.name) is not None and found.stat().st_mtime < before
                    if stale:
                        os.unlink(found.path)
                yield stale

    def free_bytes(self) -> int:
        with disk_trouble():
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


@contextmanager
def disk_trouble(only: set[int] | None = None) -> Iterator[None]:
    """Turns an OSError into StorageUnavailable, except FileNotFoundError, and those that `only` leaves out."""
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


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}{PART}")


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The files in a folder and its folders, read as the caller asks for them."""
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield entry


def _chunks(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    with disk_trouble(), file:
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
