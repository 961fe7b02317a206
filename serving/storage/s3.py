"""Assets in a bucket of S3, or of a server that speaks its protocol. Knows nothing of HTTP, Ray or jobs.

Credentials, region and endpoint come from the usual AWS_* variables, or from the machine's role. A killed upload
leaves parts that no call of this client can list: a lifecycle rule of the bucket removes them.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from serving.errors import ConfigurationInvalid, StorageUnavailable
from serving.storage.contract import CHUNK_BYTES, RETRY_AFTER_S, Entry, check_key, picture_key
from serving.storage.directory import DISK_TROUBLE, disk_trouble

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import ClientConfig, RetryConfig

logger = logging.getLogger(__name__)
MULTIPART_BYTES = 8 * 2**20
PAGE_ENTRIES = 1000
SCRATCH = "i2v-upload-"
SCHEME = "s3://"
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
# A request waits: a stalled one is given up within seconds, a long download lasts as long as its reader.
_CLIENT: ClientConfig = {
    "connect_timeout": timedelta(seconds=5),
    "read_timeout": timedelta(seconds=30),
    "timeout": timedelta(hours=1),
}
RETRIES: RetryConfig = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=15),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
}


class S3Storage:
    """A prefix in a bucket. S3 shows an object only once all of it is there, and keeps what it acknowledged."""

    def __init__(self, url: str) -> None:
        """`url`: "s3://bucket" or "s3://bucket/prefix".

        Raises:
            ConfigurationInvalid: the URL, or an AWS_* variable, cannot be used.
        """
        bucket, _, prefix = url.removeprefix(SCHEME).strip("/").partition("/")
        if not url.startswith(SCHEME) or bucket == "":
            raise ConfigurationInvalid(f"Not a storage: {url!r}; use s3://bucket/prefix, or a folder.")
        scheme = _endpoint_scheme()
        try:
            self._store = S3Store(
                bucket,
                prefix=prefix or None,
                client_options={**_CLIENT, "allow_http": scheme == "http"},
                retry_config=RETRIES,
                # One key at a time is deleted, and not every server of the protocol has the bulk call.
                disable_bulk_delete=True,
            )
        except BaseError as error:
            raise ConfigurationInvalid(f"The storage {url} cannot be used: {_first_line(error)}") from error

    def put_bytes(self, key: str, data: bytes) -> int:
        check_key(key)
        self._put(key, data)
        return len(data)

    def publish(self, key: str, write: Callable[[Path], None]) -> int:
        check_key(key)
        with disk_trouble():
            folder = tempfile.mkdtemp(prefix=SCRATCH)
        try:
            path = Path(folder) / key.rpartition("/")[2]
            with disk_trouble(DISK_TROUBLE):
                write(path)
            with disk_trouble():
                size = path.stat().st_size
            self._put(key, path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return size

    def put_picture(self, picture: bytes) -> str:
        """Always sends it: S3 dates an object by its last write, and to ask first costs a request as well."""
        key = picture_key(picture)
        self._put(key, picture)
        return key

    def size(self, key: str) -> int:
        check_key(key)
        with _object_trouble():
            return obstore.head(self._store, key)["size"]

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except FileNotFoundError:
            return False
        return True

    def open(self, key: str) -> tuple[int, Iterator[bytes]]:
        found = self._get(key, None)
        return found.meta["size"], _chunks(found)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        if start < 0 or (end is not None and end < start):
            raise ValueError(f"bytes {start} to {end}")
        if start == end:
            return self._nothing(key, start)
        options: GetOptions | None = None
        if end is not None:
            options = {"range": (start, end)}
        elif start > 0:
            options = {"range": {"offset": start}}
        try:
            return _chunks(self._get(key, options))
        except StorageUnavailable:
            # S3 refuses a range from the end on, and obstore tells that from other trouble only in prose.
            if options is None or start < self.size(key):
                raise
            return self._nothing(key, start)

    def delete(self, key: str) -> None:
        check_key(key)
        with _bucket_trouble():
            obstore.delete(self._store, key)

    def delete_stale(self, key: str, before: float) -> bool:
        check_key(key)
        try:
            with _object_trouble():
                modified_at = obstore.head(self._store, key)["last_modified"].timestamp()
        except FileNotFoundError:
            return False
        # S3 has no delete on a condition everywhere: what is renewed between these two requests is lost.
        if modified_at >= before:
            return False
        self.delete(key)
        return True

    def entries(self, folder: str | None = None) -> Iterator[Entry]:
        if folder is not None:
            check_key(folder)
        with _bucket_trouble():
            for page in obstore.list(self._store, folder, chunk_size=PAGE_ENTRIES):
                for found in page:
                    yield Entry(found["path"], found["last_modified"].timestamp())

    def sweep(self, before: float) -> Iterator[bool]:
        """Of this machine's temporary folder; see the module for what killed uploads leave in the bucket."""
        with disk_trouble():
            for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
                stale = False
                with suppress(FileNotFoundError):
                    stale = folder.stat().st_mtime < before
                if stale:
                    shutil.rmtree(folder, ignore_errors=True)
                yield stale

    def free_bytes(self) -> None:
        return None

    def _put(self, key: str, content: bytes | Path) -> None:
        with _bucket_trouble():
            obstore.put(self._store, key, content, chunk_size=MULTIPART_BYTES)

    def _get(self, key: str, options: GetOptions | None) -> GetResult:
        check_key(key)
        with _object_trouble():
            return obstore.get(self._store, key, options=options)

    def _nothing(self, key: str, start: int) -> Iterator[bytes]:
        """An empty range, which S3 does not serve."""
        size = self.size(key)
        if start > size:
            raise ValueError(f"bytes from {start} of {size}")
        return iter(())


def _endpoint_scheme() -> str:
    """How the server is spoken to; https where no variable names one."""
    for name in _ENDPOINTS:
        if name in os.environ:
            url = urlsplit(os.environ[name])
            if url.scheme not in ("http", "https") or re.fullmatch(r"[\w.:\[\]-]+", url.netloc) is None:
                raise ConfigurationInvalid(f"{name}: use https://host or http://host (given: {os.environ[name]!r}).")
            return url.scheme
    return "https"


def _chunks(found: GetResult) -> Iterator[bytes]:
    with _object_trouble():
        for piece in found.stream(min_chunk_size=CHUNK_BYTES):
            for start in range(0, len(piece), CHUNK_BYTES):
                yield piece[start : start + CHUNK_BYTES]


@contextmanager
def _object_trouble() -> Iterator[None]:
    """Leaves FileNotFoundError as it is."""
    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise _unavailable("access denied", error) from error
    except BaseError as error:
        raise _unavailable("out of reach", error) from error


@contextmanager
def _bucket_trouble() -> Iterator[None]:
    """For requests that need no object: what is not found is the bucket."""
    try:
        with _object_trouble():
            yield
    except FileNotFoundError as error:
        raise _unavailable("no such bucket", error) from error


def _unavailable(reason: str, error: Exception) -> StorageUnavailable:
    logger.warning("%s: %s", reason, _first_line(error))
    return StorageUnavailable(f"The storage answered: {reason}; try again later.", retry_after_s=RETRY_AFTER_S)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
