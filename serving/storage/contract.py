"""What every storage promises: what is there is whole; what is acknowledged stays, also after a power cut.

A key is a relative path with "/" between its parts. Knows nothing of disks, S3, HTTP, Ray, or what the bytes mean.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

CHUNK_BYTES = 256 * 1024
PART = ".part"
PICTURES = "pictures"
RETRY_AFTER_S = 30.0
_LONGEST_PART, _LONGEST_KEY = 200, 1000
_OUTPUT = re.compile(r"[\w.-]*\d{8}_\d{6}_(video_[0-9a-f]{32})(?:_\d+)?(?:\.[a-z0-9]+)+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored thing, as a listing saw it."""

    key: str
    modified_at: float
    """When it was stored or renewed, epoch seconds by the storage's clock."""


class Storage(Protocol):
    """Where assets are.

    Every method raises ValueError for a key that is not one, and StorageUnavailable while the storage is full,
    refuses the service's credentials, or is out of reach.
    """

    def put_bytes(self, key: str, data: bytes) -> int:
        """Store small content whole; its size in bytes."""

    def publish(self, key: str, write: Callable[[Path], None]) -> int:
        """Have `write` make a local file, then store it whole under the key; its size in bytes.

        What `write` raises is raised, and nothing is stored.
        """

    def put_picture(self, picture: bytes) -> str:
        """Store a picture under its content's hash, or renew the one that is there; its key."""

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

    def delete_stale(self, key: str, before: float) -> bool:
        """Remove what was last stored or renewed before that moment (epoch seconds); whether it was."""

    def entries(self, folder: str | None = None) -> Iterator[Entry]:
        """All that is stored, or all under a folder, in any order, read little by little.

        What is stored or removed meanwhile may show or not.
        """

    def sweep(self, before: float) -> Iterator[bool]:
        """Remove what unfinished writes left behind before that moment (epoch seconds).

        Looks at one thing at each step, and yields whether it removed it.
        """

    def free_bytes(self) -> int | None:
        """Room left; None where nothing bounds it."""


def check_key(key: str) -> None:
    """Raises ValueError unless the key is a relative path that stays inside, and no unfinished write."""
    for part in key.split("/"):
        if part in ("", ".", "..") or len(part.encode()) > _LONGEST_PART or not part.isprintable():
            raise ValueError(f"not a storage key: {key[:80]!r}")
    if "\\" in key or key.endswith(PART) or len(key) > _LONGEST_KEY:
        raise ValueError(f"not a storage key: {key[:80]!r}")


def picture_key(picture: bytes) -> str:
    return f"{PICTURES}/{hashlib.sha256(picture).hexdigest()}"


def output_name(prefix: str, created_at: float, job_id: str, attempt: int) -> str:
    """ "<prefix>YYYYMMDD_HHMMSS_<id>" in UTC, with "_2" and so on for later attempts.

    A name of its own for each attempt: a worker that comes late cannot overwrite what another has published.
    """
    moment = datetime.fromtimestamp(created_at, UTC)
    again = f"_{attempt}" if attempt > 1 else ""
    return f"{prefix}{moment:%Y%m%d_%H%M%S}_{job_id}{again}"


def job_of_output(key: str) -> str | None:
    """The id of the job that a key made of `output_name` and suffixes belongs to; None for any other key."""
    found = _OUTPUT.fullmatch(key)
    return None if found is None else found[1]
