"""The wire's objects: a job as a Video, lists, deletions. Knows nothing of routes."""

from __future__ import annotations

import time
from typing import Any

from pydantic import BaseModel

from serving.jobs.job import Job, JobStatus
from serving.jobs.standing import Standing

POLL_MS = (500, 10_000)


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
    queue_position: int | None
    eta_s: float | None
    attempt: int
    parameters: dict[str, Any]
    recipe: dict[str, Any] | None
    timings: dict[str, float] | None
    warnings: list[str]
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


def video(job: Job, queue_position: int | None = None) -> Video:
    """`job` as the wire's Video; `queue_position` is 1 for the job that goes next."""
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
        eta_s=eta_s(job),
        attempt=job.attempt,
        parameters=request.model_dump(exclude={"model", "prompt", "metadata"}),
        recipe=result.get("recipe"),
        timings=result.get("timings"),
        warnings=list(job.warnings),
        metadata=request.metadata,
    )


def video_event(standing: Standing) -> VideoEvent:
    return VideoEvent(
        id=standing.id,
        status=standing.status,
        progress=standing.progress,
        stage=standing.stage,
        step=standing.step,
        steps=standing.steps,
        queue_position=standing.queue_position,
        eta_s=eta_s(standing),
        attempt=standing.attempt,
        error=_error(standing),
    )


def _error(job: Job | Standing) -> VideoError | None:
    if job.status != JobStatus.FAILED:
        return None
    return VideoError(code=job.error_code or "server_error", message=job.error_message or "")


def eta_s(job: Job | Standing) -> float | None:
    """Seconds a running job still needs, by its own pace; None before it has one, and after the end."""
    if job.status != JobStatus.IN_PROGRESS or job.started_at is None or job.progress < 5:
        return None
    elapsed = max(0.0, time.time() - job.started_at)
    return round(elapsed * (100 - job.progress) / job.progress, 1)


def poll_after_ms(job: Job) -> int:
    """When to ask again, milliseconds: a tenth of what the job is expected to take, within half a second and ten."""
    remaining_s = eta_s(job)
    expected_s = job.estimate_s if remaining_s is None else remaining_s
    return int(min(max(expected_s * 100, POLL_MS[0]), POLL_MS[1]))


def _whole(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
