"""The tables, and the way between their rows and the records.

Knows nothing of HTTP, Ray or video, and runs no statement.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    Float,
    Index,
    Integer,
    MetaData,
    RowMapping,
    Table,
    Text,
    and_,
    false,
)

from serving.cautions import Caution
from serving.jobs.job import Failure, Job, JobStatus, NewJob, accepted_at
from serving.jobs.queue import queue_name
from serving.jobs.worker import Worker
from serving.request import VideoRequest
from serving.scheduling.queueing import rank

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    # The order of acceptance. Not created_at: a wall clock set back would let new jobs pass old ones.
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("model", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("owner", Text, nullable=False, server_default=""),
    Column("priority", Text, nullable=False, server_default="interactive"),
    Column("deadline", Float(53)),
    # By `serving.jobs.queue`; of the first schema's jobs, which do not say which pools can hold them: any.
    Column("queue", Text, nullable=False, server_default="/interactive"),
    Column("estimates", JSON, nullable=False, server_default="{}"),
    # The least of the estimates.
    Column("estimate_s", Float(53), nullable=False),
    # When it was accepted, but never before the job accepted last: a clock set back must not let new jobs pass.
    Column("ranked_at", Float(53), nullable=False, server_default="0"),
    Column("rank", Float(53), nullable=False, server_default="0"),
    Column("stage", Text),
    Column("progress", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("request", JSON, nullable=False),
    Column("picture_key", Text, nullable=False),
    Column("source_width", Integer, nullable=False),
    Column("source_height", Integer, nullable=False),
    Column("warnings", JSON, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("failures", JSON, nullable=False),
    Column("cancel_requested", Boolean, nullable=False, server_default=false()),
    Column("deleted", Boolean, nullable=False, server_default=false()),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("result", JSON(none_as_null=True)),
    Column("created_at", Float(53), nullable=False),
    Column("started_at", Float(53)),
    Column("completed_at", Float(53)),
    Column("expires_at", Float(53)),
    Column("worker", Text),
    Column("pool", Text),
    # The job that its card has put off for it, and for how many seconds its own was put off for others.
    Column("preempts", Text),
    Column("preempted_s", Float(53), nullable=False, server_default="0"),
    Column("lease_until", Float(53)),
    Column("lease_boot", Text),
    Column("remixed_from", Text),
    # Where its end is told; may hold the receiver's own secrets, so it stays out of the request and its recipe.
    Column("webhook_url", Text),
    # Answers claims, positions, bounds and most of backlogs without touching the rows.
    Index("jobs_line", "status", "model", "queue", "owner", "rank", "seq", "estimate_s"),
    # Answers which pictures are still referred to.
    Index("jobs_picture", "picture_key"),
    # Answers one key's list.
    Index("jobs_owner", "owner", "seq"),
    sqlite_autoincrement=True,
)

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("pool", Text),
    Column("model", Text),
    Column("card", JSON(none_as_null=True)),
    Column("assists", Text),
    Column("seen_at", Float(53), nullable=False),
    Column("boot", Text, nullable=False),
)

# What each pool served to whom, in GPU seconds that fade.
usage = Table(
    "usage",
    metadata,
    Column("pool", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("priority", Text, primary_key=True),
    Column("timed", Boolean, primary_key=True),
    Column("gpu_s", Float(53), nullable=False),
    Column("at", Float(53), nullable=False),
    # How many attempts that was; they fade as their seconds do.
    Column("jobs", Float(53), nullable=False),
)

# How fast the cards of a class run a model.
calibrations = Table(
    "calibrations",
    metadata,
    Column("model", Text, primary_key=True),
    Column("card", Text, primary_key=True),
    # Of `scheduling.calibration.to_record`.
    Column("record", JSON, nullable=False),
    Column("engine", Text, nullable=False),
    # When `i2v calibrate` last measured such a card.
    Column("calibrated_at", Float(53)),
    Column("updated_at", Float(53), nullable=False),
)

# Who may use the service. Rows stay: an owner's name must not be given away again.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    # SHA-256 of the whole token, in hex.
    Column("digest", Text, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("revoked_at", Float(53)),
    # Such as "60/minute".
    Column("rate", Text),
    Column("daily_gpu_s", Float(53)),
)

# GPU seconds that each key's jobs have had, by day of the epoch (UTC).
spending = Table(
    "spending",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("gpu_s", Float(53), nullable=False),
)

# Submissions that may be sent again: at work, or turned into a job.
submissions = Table(
    "submissions",
    metadata,
    Column("token", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    # The Idempotency-Key, where there is one.
    Column("key", Text),
    Column("fingerprint", Text, nullable=False),
    Column("job_id", Text),
    Column("at", Float(53), nullable=False),
    Column("expires_at", Float(53), nullable=False),
    Index("submissions_key", "owner", "key", unique=True),
    Index("submissions_fingerprint", "owner", "fingerprint", "at"),
    Index("submissions_expiry", "expires_at"),
)

# Events on their way to receivers, and for some days those that have ended.
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("job_id", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("payload", Text, nullable=False),
    # Deliveries begun: the number of the last one fences what is written about it.
    Column("attempt", Integer, nullable=False),
    # When the next delivery may begin; none after the end.
    Column("next_at", Float(53)),
    Column("ended_at", Float(53)),
    # Why the last delivery failed; of an event that has ended, that it is dead.
    Column("error", Text),
    Index("webhooks_due", "next_at"),
    Index("webhooks_ended", "ended_at"),
)


def visible(job_id: str | BindParameter[str]) -> ColumnElement[bool]:
    """True of the row of this job, unless it was deleted while a worker still holds it."""
    return and_(jobs.c.id == job_id, ~jobs.c.deleted)


def row_of(new: NewJob, ranked_at: float) -> dict[str, Any]:
    """The row of a job just accepted; its rank counts from `ranked_at`, epoch seconds."""
    width, height = new.source_size
    priority = new.request.priority
    return {
        "id": new.id,
        "model": new.request.model,
        "status": JobStatus.QUEUED,
        "owner": new.owner,
        "priority": priority,
        "deadline": new.deadline,
        "queue": queue_name(new.estimates, priority, timed=new.deadline is not None),
        "estimates": dict(new.estimates),
        "estimate_s": new.estimate_s,
        "ranked_at": ranked_at,
        "rank": rank(ranked_at, new.estimate_s, priority, new.deadline),
        "progress": 0,
        "step": 0,
        "steps": new.request.all_steps,
        "request": new.request.model_dump(mode="json"),
        "picture_key": new.picture_key,
        "source_width": width,
        "source_height": height,
        "warnings": [caution.model_dump() for caution in new.warnings],
        "attempt": 0,
        "crashes": 0,
        "failures": [],
        "cancel_requested": False,
        "deleted": False,
        "preempted_s": 0.0,
        "created_at": accepted_at(new.id),
        "remixed_from": new.remixed_from,
        "webhook_url": new.webhook_url,
    }


_COPIED = {field.name for field in dataclasses.fields(Job)} & set(jobs.c.keys())


def job_of(row: RowMapping) -> Job:
    """The record of a row of `jobs`."""
    request = VideoRequest.model_validate(row["request"])
    values = {name: row[name] for name in _COPIED} | {
        "status": JobStatus(row["status"]),
        "request": request,
        "source_size": (row["source_width"], row["source_height"]),
        "warnings": tuple(Caution.model_validate(told) for told in row["warnings"]),
        "failures": tuple(Failure(**failure) for failure in row["failures"]),
    }
    return Job(**values)


def worker_of(row: RowMapping) -> Worker:
    """The record of a row of `workers`."""
    return Worker(**{name: row[name] for name in ("id", "role", "pool", "model", "card", "assists")})
