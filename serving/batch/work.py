"""What there is to do: the planned clips held against what the manifest knows. Knows nothing of the service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from serving.batch.checking import CheckedRow
from serving.batch.manifest import Entry, Reason
from serving.batch.plan import PlannedClip, plan, submission_key
from serving.batch.running import ToDo
from serving.batch.sheet import Defaults, Problem, Row, read_rows

WAITING = "waiting"
"""Of a clip that nothing was done about."""
_UNNAMED = "~"
"""Begins the entry of a row that could not be read; no clip's name does."""


class New(NamedTuple):
    """A clip to submit, and for which time."""

    clip: PlannedClip
    attempt: int


@dataclass(frozen=True)
class Work:
    """A batch, and what is left of it."""

    clips: tuple[PlannedClip, ...]
    """All of it, in the sheet's order."""
    problems: tuple[Problem, ...]
    """Rows that cannot even be planned."""
    begun: tuple[ToDo, ...]
    """Submitted before, or perhaps: to be carried on without another look."""
    new: tuple[New, ...]

    @property
    def rows(self) -> dict[int, Row]:
        """Those of which anything is new, by number."""
        return {new.clip.row.number: new.clip.row for new in self.new}


def plan_work(
    source: Path,
    defaults: Defaults,
    *,
    seeds: int,
    limit: int | None,
    entries: Mapping[str, Entry],
    folder: Path,
    retry_failed: bool,
) -> Work:
    """Read the sheet and every picture.

    Args:
        limit: no more than the first so many rows.
        entries: where each clip stood last, by its name, with its files in `folder`.
        retry_failed: whether what failed is new again.

    Raises:
        InvalidParameter: the sheet itself is at fault.
    """
    rows, problems = read_rows(source, defaults)
    if limit is not None:
        chosen = sorted([*(row.number for row in rows), *(problem.row for problem in problems)])[:limit]
        rows = [row for row in rows if row.number <= chosen[-1]]
        problems = [problem for problem in problems if problem.row <= chosen[-1]]
    found = list(plan(rows, seeds))
    clips = tuple(one for one in found if isinstance(one, PlannedClip))
    begun, new = [], []
    for clip in clips:
        entry = known(clip, entries)
        if entry is None:
            new.append(New(clip, 1))
        elif entry.status in ("sending", "accepted") or (entry.status == "completed" and not _is_there(entry, folder)):
            begun.append(ToDo(entry, _source(clip.row)))
        elif entry.status == "failed" and retry_failed:
            # One that never became a job is the same submission still.
            new.append(New(clip, entry.attempt + (entry.video_id is not None)))
    problems += [one for one in found if isinstance(one, Problem)]
    return Work(clips, tuple(sorted(problems, key=lambda problem: problem.row)), tuple(begun), tuple(new))


def known(clip: PlannedClip, entries: Mapping[str, Entry]) -> Entry | None:
    """Where the clip stands; None where its name stood for another one, or nothing was done about it."""
    entry = entries.get(clip.name)
    return entry if entry is not None and entry.content == clip.content else None


def standing(clips: Iterable[PlannedClip], entries: Mapping[str, Entry]) -> Counter[str]:
    """How many clips have which status."""
    found = [known(clip, entries) for clip in clips]
    return Counter(WAITING if entry is None else entry.status for entry in found)


def gpu_seconds(clips: Iterable[PlannedClip], entries: Mapping[str, Entry]) -> float:
    """Of the completed ones."""
    found = [known(clip, entries) for clip in clips]
    return sum(entry.gpu_seconds or 0.0 for entry in found if entry is not None and entry.status == "completed")


def to_do(new: New, checked: CheckedRow) -> ToDo:
    """A new clip as it will be submitted."""
    entry = _entry(new).model_copy(
        update={
            "key": submission_key(new.clip, new.attempt),
            "prompt": checked.prompt,
            "fields": checked.fields,
            "gpu_seconds": checked.gpu_seconds,
            "warnings": checked.warnings,
        }
    )
    return ToDo(entry, _source(new.clip.row))


def bad_entries(work: Work, problems: Iterable[Problem]) -> list[Entry]:
    """What the manifest says of rows that are not submitted."""
    entries = []
    for problem in problems:
        reason = Reason(code=problem.code, message=problem.message, param=problem.param)
        planned = [_entry(new) for new in work.new if new.clip.row.number == problem.row]
        unnamed = f"{_UNNAMED}{problem.row}"
        nothing = Entry(
            clip=unnamed, row=problem.row, name=unnamed, number=1, picture="", content="", status="failed", seed=0
        )
        entries += [entry.model_copy(update={"status": "failed", "error": reason}) for entry in planned or [nothing]]
    return entries


def _entry(new: New) -> Entry:
    clip = new.clip
    return Entry(
        clip=clip.name,
        row=clip.row.number,
        name=clip.row.name,
        number=clip.number,
        picture=clip.row.picture[:200],
        content=clip.content,
        status="sending",
        attempt=new.attempt,
        seed=clip.seed,
        prompt=clip.row.prompt,
    )


def _source(row: Row) -> str | Path:
    return Path(row.picture) if row.url is None else row.url


def _is_there(entry: Entry, folder: Path) -> bool:
    return all(name is not None and (folder / name).is_file() for name in (entry.file, entry.poster))
