"""The batch's only memory: one JSON line for each change of a clip, in the folder where the clips go.

A line is whole and on the disk before what it tells of is relied on; a clip's last whole line is where it stands. So a
run may be killed anywhere, and the next one goes on from there. Knows nothing of the service.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.errors import InvalidParameter

FILE = "manifest.jsonl"

Status = Literal["sending", "accepted", "completed", "failed"]
"""sending: may or may not have become a job. accepted: it has, `video_id`."""


class Reason(BaseModel):
    """Why there is no clip."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    param: str | None = None


class Entry(BaseModel):
    """Where one clip stands."""

    model_config = ConfigDict(frozen=True)

    clip: str
    row: int
    name: str
    """The row's."""
    number: int
    """1 for the row's first clip."""
    picture: str
    content: str
    """What clip it is; after a change in the sheet the same name stands for another one."""
    status: Status
    at: float = 0.0
    """Epoch seconds of the line."""
    attempt: int = 1
    key: str | None = None
    """The submission's Idempotency-Key."""
    seed: int
    prompt: str | None = None
    fields: dict[str, str] = {}
    """As they are submitted; the same whenever it is sent again."""
    video_id: str | None = None
    file: str | None = None
    poster: str | None = None
    gpu_seconds: float | None = None
    """Had, or while there is no clip, expected."""
    recipe: dict[str, Any] | None = None
    warnings: tuple[dict[str, Any], ...] = ()
    error: Reason | None = None


class Manifest:
    """Open for one run at a time."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder where there is none.

        Raises:
            InvalidParameter: another run has it open, or it cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / FILE).open("a+b")
            _sync_folder(folder)
        except OSError as error:
            raise InvalidParameter(f"output: {folder} cannot be written: {error.strerror}.", param="output") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise InvalidParameter(f"output: another run is at work in {folder}.", param="output") from None
        self.folder = folder
        self._file.seek(0)
        lines = self._file.read()
        if lines and not lines.endswith(b"\n"):
            self._file.write(b"\n")  # a line that was torn stays one of its own
        self.entries = _last(lines)

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def note(self, entry: Entry) -> Entry:
        """Write it down, now, and only then return it."""
        entry = entry.model_copy(update={"at": round(time.time(), 3)})
        self._file.write(entry.model_dump_json(exclude_none=True).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.entries[entry.clip] = entry
        return entry


def read_entries(folder: Path) -> dict[str, Entry]:
    """Where each clip stands, by its name; also while a run has the manifest open."""
    try:
        return _last((folder / FILE).read_bytes())
    except OSError:
        return {}


def keep(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, and on the disk when this returns."""
    aside = path.with_name(f".{path.name}.part")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)
    _sync_folder(path.parent)


def _last(lines: bytes) -> dict[str, Entry]:
    found = {}
    for line in lines.split(b"\n"):
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError:
            continue  # torn, when a run was killed
        found[entry.clip] = entry
    return found


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
