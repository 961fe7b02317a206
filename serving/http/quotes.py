"""The wire's quote. Knows nothing of routes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, Field

from serving.cautions import Caution
from serving.errors import I2VError
from serving.http.errors import ErrorObject, error_object
from serving.quoting import PoolQuote, Quote


class Plan(BaseModel):
    """How a card would run the clip; plans differ in memory and time, never in the clip."""

    name: str
    offload: bool = Field(description="Whether the encoders and the VAE leave the card while it denoises.")
    sequential: bool = Field(description="Whether the two guidance halves run one after the other.")
    chunked: bool = Field(description="Whether layers take a few frames, and feed-forwards few tokens, at once.")
    decode_chunk: int = Field(description="Frames decoded at once, as far as can be told before.")


class QuotedPool(BaseModel):
    """One pool that serves the model."""

    name: str
    card: str = Field(description='Card class, or "auto" before a card has told its name.')
    fits: bool
    reason: str | None = Field(description="Why it does not fit.")
    plan: Plan | None
    memory_needed_gib: float = Field(description="By the plan, or by the smallest where none fits.")
    memory_gib: float | None = Field(description="Of one card; null on a CPU and where it is not known yet.")
    gpu_seconds: float | None
    starts_in_s: float | None = Field(
        description="Did no other pool take it before; null where it does not fit, and where no card would be started."
    )
    finishes_in_s: float | None = Field(description="When the card would be free again; encoding comes after.")
    cards: int = Field(description="Two where the deadline asks for it and a second card would have nothing to do.")
    shared_seconds: float | None = Field(description="Of two cards together, where two would work on it.")
    cold: bool = Field(description="Whether no card of it is up; starting one is then part of the wait.")


class QueueLoad(BaseModel):
    """What waits now, of every model."""

    jobs: int
    gpu_seconds: float


class QuoteRefusal(ErrorObject):
    """What a submission would be answered now."""

    retry_after_s: float | None


class VideoQuote(BaseModel):
    """What a submission would cost and when it would be done, by what waits now; nothing was queued."""

    object: str = "video.quote"
    created_at: int
    model: str
    size: str
    seconds: str
    num_frames: int
    parameters: dict[str, Any] = Field(description="As decided; a seed that was not given is another one each time.")
    admitted: bool = Field(description="Whether a submission would be taken at this moment.")
    refusal: QuoteRefusal | None
    pool: str = Field(description="The pool that would take it.")
    gpu_seconds: float
    starts_in_s: float
    finishes_in_s: float
    starts_at: int
    finishes_at: int
    pools: list[QuotedPool] = Field(description="Those that serve the model, the first to take it first.")
    queue: QueueLoad
    warnings: list[Caution]


def video_quote(quote: Quote) -> VideoQuote:
    request = quote.request
    return VideoQuote(
        created_at=int(quote.now),
        model=request.model,
        size=request.size,
        seconds=f"{request.duration_s:g}",
        num_frames=request.all_frames,
        parameters=request.model_dump(exclude={"model", "prompt", "metadata"}),
        admitted=quote.refusal is None,
        refusal=None if quote.refusal is None else _refusal(quote.refusal),
        pool=quote.pools[0].name,
        gpu_seconds=round(quote.gpu_seconds, 1),
        starts_in_s=round(quote.starts_in_s, 1),
        finishes_in_s=round(quote.finishes_in_s, 1),
        starts_at=round(quote.now + quote.starts_in_s),
        finishes_at=round(quote.now + quote.finishes_in_s),
        pools=[_pool(row) for row in quote.pools],
        queue=QueueLoad(jobs=quote.queue.jobs, gpu_seconds=round(quote.queue.gpu_s, 1)),
        warnings=list(quote.warnings),
    )


def _pool(row: PoolQuote) -> QuotedPool:
    plan = None
    if row.plan is not None:
        plan = Plan(**asdict(row.plan), decode_chunk=row.decode_chunk)
    return QuotedPool(
        name=row.name,
        card=row.card,
        fits=row.plan is not None,
        reason=row.reason,
        plan=plan,
        memory_needed_gib=round(row.needed_gib, 1),
        memory_gib=_rounded(row.memory_gib),
        gpu_seconds=_rounded(row.gpu_seconds),
        starts_in_s=_rounded(row.starts_in_s),
        finishes_in_s=_rounded(row.finishes_in_s),
        cards=1 if row.shared_seconds is None else 2,
        shared_seconds=_rounded(row.shared_seconds),
        cold=row.cold,
    )


def _refusal(error: I2VError) -> QuoteRefusal:
    return QuoteRefusal.model_validate(error_object(error)["error"] | {"retry_after_s": error.retry_after_s})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
