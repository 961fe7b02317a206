"""The wire's objects: a job as a Video, lists, deletions. Knows nothing of routes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from serving.cautions import Caution
from serving.jobs.job import Job, JobStatus
from serving.jobs.standing import Standing
from serving.presets import ModelProfile
from serving.prompts.tuning import Hint, hints

POLL_MS = (500, 30_000)


class VideoError(BaseModel):
    """Why a video failed."""

    code: str
    message: str


class Video(BaseModel):
    """One video job: the OpenAI Videos object and, after `error`, this service's own fields."""

    id: str
    object: str = "video"
    model: str
    status: JobStatus
    progress: int
    created_at: int
    completed_at: int | None
    expires_at: int | None
    size: str
    seconds: str
    prompt: str
    remixed_from_video_id: str | None
    error: VideoError | None
    stage: str | None
    step: int | None
    steps: int | None
    queue_position: int | None = Field(description="1 for the next; null in lists, and once it has left the queue.")
    eta_s: float | None = Field(
        description="Seconds until a card is done with it, by what waits and how fast its card is; encoding comes "
        "after. Null in lists, after the end, and where it is not known."
    )
    attempt: int
    file: str | None = Field(description="Where the clip was saved: a path on the service's machine, or in its bucket.")
    parameters: dict[str, Any]
    recipe: dict[str, Any] | None
    timings: dict[str, float] | None
    warnings: list[Caution]
    hints: list[Hint]
    metadata: dict[str, str]


class VideoEvent(BaseModel):
    """What changes about a video while it is made: the data of each event."""

    id: str
    object: str = "video.event"
    status: JobStatus
    progress: int
    stage: str | None
    step: int
    steps: int
    queue_position: int | None
    eta_s: float | None
    attempt: int
    error: VideoError | None


class VideoList(BaseModel):
    """One page of videos."""

    object: str = "list"
    data: list[Video]
    has_more: bool
    first_id: str | None
    last_id: str | None


class DeletedVideo(BaseModel):
    """What a deletion answers."""

    id: str
    object: str = "video.deleted"
    deleted: bool = True


def video(
    job: Job,
    queue_position: int | None = None,
    eta_s: float | None = None,
    profile: ModelProfile | None = None,
    outputs: str | Path = "",
) -> Video:
    """`job` as the wire's Video; lists leave all but the job out.

    Args:
        queue_position: 1 for the job that goes next.
        eta_s: seconds until it is expected to be done.
        outputs: where clips are saved; a finished video says in `file` where its own is.
        profile: its model's, where that is still served; a finished video has hints then.
    """
    request = job.request
    result = job.result or {}
    return Video(
        id=job.id,
        model=job.model,
        status=job.status,
        progress=job.progress,
        created_at=int(job.created_at),
        completed_at=_whole(job.completed_at) if job.status == JobStatus.COMPLETED else None,
        expires_at=_whole(job.expires_at),
        size=request.size,
        seconds=f"{request.duration_s:g}",
        prompt=request.prompt,
        remixed_from_video_id=job.remixed_from,
        error=_error(job),
        stage=job.stage,
        step=job.step,
        steps=job.steps,
        queue_position=queue_position,
        eta_s=_tenths(eta_s),
        attempt=job.attempt,
        file=_file(job, outputs),
        parameters=request.model_dump(exclude={"model", "prompt", "metadata"}),
        recipe=result.get("recipe"),
        timings=result.get("timings"),
        warnings=list(job.warnings),
        hints=list(hints(request, profile)) if profile is not None and job.status == JobStatus.COMPLETED else [],
        metadata=request.metadata,
    )


def video_event(standing: Standing, eta_s: float | None) -> VideoEvent:
    return VideoEvent(
        id=standing.id,
        status=standing.status,
        progress=standing.progress,
        stage=standing.stage,
        step=standing.step,
        steps=standing.steps,
        queue_position=standing.queue_position,
        eta_s=_tenths(eta_s),
        attempt=standing.attempt,
        error=_error(standing),
    )


def _file(job: Job, outputs: str | Path) -> str | None:
    expired = job.expires_at is not None and job.expires_at <= time.time()
    key = None if expired else (job.result or {}).get("files", {}).get("video")
    return None if key is None else f"{outputs}/{key}"


def _error(job: Job | Standing) -> VideoError | None:
    if job.status != JobStatus.FAILED:
        return None
    return VideoError(code=job.error_code or "server_error", message=job.error_message or "")


def poll_after_ms(job: Job, queue_position: int | None, eta_s: float | None) -> int:
    """When to ask again, milliseconds: a tenth of what is expected to be left, within half a second and thirty.

    So a finished clip is found with little delay, compared with what it took, in a few dozen requests. Where nobody
    can tell what is left: as if one card did all that is before it, each like this one.
    """
    if eta_s is None:
        estimate_s = job.estimate_s if job.pool is None else job.estimates.get(job.pool, job.estimate_s)
        eta_s = estimate_s * (queue_position or 1)
    return int(min(max(eta_s * 100, POLL_MS[0]), POLL_MS[1]))


def _tenths(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
