"""What must hold after a campaign of crashes: nothing accepted is lost, nothing is published twice.

Pure functions over what was seen; knows nothing of how it was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from loadtest.history import ENDED, Change


@dataclass(frozen=True)
class Found:
    """One job as the store knew it at the end."""

    id: str
    sent_as: str
    """The name its sender gave this try."""
    status: str
    attempt: int
    crashes: int
    error_code: str | None = None
    error_message: str | None = None
    clip: Clip | None = None
    """Of a completed job whose files are all there."""


@dataclass(frozen=True)
class Clip:
    """A published file set: whose each of its recipes says it is, as (id, attempt), and when it was last changed."""

    recipes: tuple[tuple[str | None, int | None], ...]
    changed_s: float
    """Seconds after the job was completed; below zero before."""


@dataclass(frozen=True)
class Sent:
    """What the senders know."""

    answered: Mapping[str, str]
    """The name of each try that was answered with a job's id, and that id."""
    unanswered: Collection[str]
    """The names of those whose answer never came: the service may have accepted them."""


CLOCK_S = 0.05
"""How far a file's date may lie behind the moment written in the job's row: file systems date by the kernel's tick."""


def violations(sent: Sent, jobs: Iterable[Found], changes: Iterable[Change], max_attempts: int) -> list[str]:
    """One sentence for each promise that was broken."""
    known = {job.id: job for job in jobs}
    return [
        *(f"{id_}: accepted as {name}, and lost" for name, id_ in sent.answered.items() if id_ not in known),
        *_unexplained(sent, known),
        *(sentence for job in known.values() for sentence in _wrong(job, max_attempts)),
        *_rewritten(list(changes)),
    ]


def _unexplained(sent: Sent, known: Mapping[str, Found]) -> Iterator[str]:
    for job in known.values():
        if sent.answered.get(job.sent_as) != job.id and job.sent_as not in sent.unanswered:
            yield f"{job.id}: nobody sent it as {job.sent_as!r}, or was told of another job"
    for name, count in Counter(job.sent_as for job in known.values()).items():
        if count > 1:
            yield f"try {name}: became {count} jobs"


def _wrong(job: Found, max_attempts: int) -> Iterator[str]:
    if job.status not in ENDED:
        yield f"{job.id}: has not ended: {job.status}, attempt {job.attempt}"
    elif job.status == "failed":
        if job.error_code != "worker_crashed" or not job.error_message:
            yield f"{job.id}: failed with {job.error_code}: {job.error_message}"
        elif job.crashes < max_attempts:
            yield f"{job.id}: given up after {job.crashes} crashes"
    elif job.clip is None:
        yield f"{job.id}: completed without its files"
    else:
        if set(job.clip.recipes) != {(job.id, job.attempt)}:
            yield f"{job.id}: attempt {job.attempt} completed it, its recipes say {job.clip.recipes}"
        if job.clip.changed_s > CLOCK_S:
            yield f"{job.id}: its files were changed {job.clip.changed_s:.2f} s after it was completed"


def _rewritten(changes: list[Change]) -> Iterator[str]:
    for change in changes:
        if change.was in ENDED or change.status == "removed":
            yield f"{change.job}: {change.status} (attempt {change.attempt}) after it had been {change.was}"
        elif change.status == "completed" and change.attempt != change.was_attempt:
            yield f"{change.job}: completed by attempt {change.attempt} while {change.was_attempt} had it"
    for job, count in Counter(change.job for change in changes if change.status == "completed").items():
        if count > 1:
            yield f"{job}: published {count} times"
