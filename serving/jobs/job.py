"""What a job is: its states, the record the store hands out, and the record it takes in.

Knows nothing of HTTP, Ray, video or databases.
"""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from serving.cautions import Caution
from serving.parameters import Priority
from serving.request import VideoRequest

Stage = Literal["starting", "conditioning", "denoising", "paused", "decoding", "encoding"]

CANCELLED = "cancelled"
_ID = re.compile(r"video_[0-9a-f]{32}")
_TIME_DIGITS = 14


class JobStatus(StrEnum):
    """The standard's four states; a cancelled job is failed, with the error code "cancelled"."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (JobStatus.COMPLETED, JobStatus.FAILED)


class Held(StrEnum):
    """What a worker learns about the job it works on."""

    HELD = "held"
    CANCEL_REQUESTED = "cancel_requested"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one attempt ended without a result."""

    attempt: int
    code: str
    message: str


def new_job_id(created_at: float | None = None) -> str:
    """ "video_" and 32 lowercase hex digits: the microsecond of acceptance, then 72 random bits.

    The time in front lets a listing go on after a video that was deleted in the meantime.
    """
    moment = time.time() if created_at is None else created_at
    return f"video_{int(moment * 1e6):0{_TIME_DIGITS}x}{secrets.token_hex(9)}"


def accepted_at(job_id: str) -> float | None:
    """The epoch seconds inside a job id; None where it is not one."""
    if not _ID.fullmatch(job_id):
        return None
    return int(job_id[6 : 6 + _TIME_DIGITS], 16) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to accept. The id is decided here, so that a repeated insert is the same job."""

    request: VideoRequest
    picture_key: str
    source_size: tuple[int, int]
    """(width, height) in pixels of the picture as uploaded."""
    estimates: dict[str, float]
    """Expected GPU seconds on each pool that can hold it, by the pool's name; one pool at least."""
    owner: str = ""
    """Whose share of the cards it uses; all who have no name are one."""
    deadline: float | None = None
    """Epoch seconds by which the clip is wanted."""
    warnings: tuple[Caution, ...] = ()
    remixed_from: str | None = None
    webhook_url: str | None = None
    """Where its end is told."""
    submission: str | None = None
    """The token of `submissions.Noted` that it was noted under."""
    id: str = field(default_factory=new_job_id)

    @property
    def estimate_s(self) -> float:
        """Expected GPU seconds on the fastest pool that can hold it."""
        return min(self.estimates.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as the store knew it at one moment. Moments are epoch seconds by the wall clock."""

    id: str
    model: str
    status: JobStatus
    stage: Stage | None
    progress: int
    """0 to 100 over all stages; within one attempt it never goes back."""
    step: int
    steps: int
    priority: Priority
    request: VideoRequest
    picture_key: str
    source_size: tuple[int, int]
    warnings: tuple[Caution, ...]
    owner: str
    estimates: dict[str, float]
    """Expected GPU seconds on each pool that can hold it; empty where that is not known."""
    estimate_s: float
    """Expected GPU seconds on the fastest of them."""
    deadline: float | None
    attempt: int
    """Raised by every claim, drains included: the fencing token that each write of a worker carries."""
    crashes: int
    """Attempts that count against the job's limit; drains do not."""
    failures: tuple[Failure, ...]
    """One reason for each crash."""
    cancel_requested: bool
    error_code: str | None
    error_message: str | None
    result: dict[str, Any] | None
    """Recipe, files by variant, timings; only of a completed job."""
    created_at: float
    started_at: float | None
    """When the present or last attempt was claimed."""
    completed_at: float | None
    """When the job ended, however it ended."""
    expires_at: float | None
    worker: str | None
    pool: str | None
    """Of the worker that has or had it."""
    remixed_from: str | None
    preempts: str | None = None
    """The job that its card has put off for it, between two steps."""
    preempted_s: float = 0.0
    """How long it was put off itself, for others."""

    @property
    def cancelled(self) -> bool:
        return self.status is JobStatus.FAILED and self.error_code == CANCELLED
