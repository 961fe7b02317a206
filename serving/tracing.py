"""What a service was asked for and how it went, without whose or what it was: a row of JSON a job.

Knows nothing of files, HTTP or Ray.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from typing import Any

from serving.jobs.job import Job
from serving.jobs.store import JobStore

FIELDS = (
    "size",
    "num_frames",
    "fps",
    "num_inference_steps",
    "guidance_scale",
    "segments",
    "acceleration",
    "format",
    "priority",
    "deadline",
)
"""Those that decide what a job takes, by their names in a submission."""
PAGE = 500


def trace(store: JobStore, *, since: float = 0.0, until: float = float("inf")) -> Iterator[dict[str, Any]]:
    """Every job accepted between the two moments (epoch seconds) that the store still knows, oldest first.

    Owners' names are hashed with a salt that nobody keeps: within one trace the same owner has the same name, and
    no two traces can be joined by it. Prompts, pictures and notes are not in it. What was refused is no job.
    """
    salt = secrets.token_bytes(16)
    first: float | None = None
    after: str | None = None
    more = True
    while more:
        jobs, more = store.list(after, PAGE, False)
        for job in jobs:
            after = job.id
            if since <= job.created_at < until:
                first = job.created_at if first is None else first
                yield row(job, first, salt)


def row(job: Job, first: float, salt: bytes) -> dict[str, Any]:
    """One job; `at` in seconds since `first`, an epoch moment."""
    request, timings = job.request, (job.result or {}).get("timings", {})
    spent = [timings[stage] for stage in ("condition", "denoise", "decode") if stage in timings]
    fields = {
        "size": request.size,
        "num_frames": request.num_frames,
        "fps": request.fps,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        # Angles take what as many segments take, and hold words.
        "segments": request.montage.parts if request.montage.parts > 1 else None,
        "acceleration": ",".join(request.acceleration) or None,
        "format": request.format,
        "priority": request.priority,
        "deadline": request.deadline_s,
    }
    assert tuple(fields) == FIELDS
    return {
        "at": round(job.created_at - first, 3),
        "owner": hmac.new(salt, job.owner.encode(), hashlib.sha256).hexdigest()[:12],
        "model": job.model,
        **fields,
        "wait_s": timings.get("wait"),
        "card_s": round(sum(spent), 3) if spent else None,
        "pool": job.pool,
        "attempts": job.attempt,
        "outcome": job.error_code or job.status.value,
    }
