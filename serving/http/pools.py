"""The wire's pools: GET /v1/pools. Knows nothing of where they run."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from serving.http.quotes import QueueLoad
from serving.jobs.backlog import Load
from serving.pools import memory_gib
from serving.roster import PoolState
from serving.service import VideoService


class LiveCard(BaseModel):
    """One card that is loaded and alive."""

    name: str
    memory_gib: float | None = Field(description="Null on a CPU.")


class PresetFit(BaseModel):
    """A preset of the model: square, with the model's own guidance."""

    preset: str
    fits: bool
    plan: str | None = Field(description="The memory plan it would run by.")
    gpu_seconds: float | None


class PoolNow(BaseModel):
    """One pool: cards of one class that serve one model."""

    name: str
    object: str = "pool"
    model: str
    card: str = Field(description='Card class; "auto" before a card has told its name.')
    memory_gib: float | None = Field(description="Of one card; null on a CPU and where it is not known yet.")
    min_replicas: int
    max_replicas: int
    cards: list[LiveCard] = Field(description="Those that are loaded and alive.")
    busy: int = Field(description="Of them, those with a job in progress, its encoding included.")
    idle: int
    waiting: QueueLoad = Field(description="What it could take; work that several pools can hold counts in each.")
    max_frames: dict[str, int] = Field(description="By resolution, of a square clip; 0 where none fits.")
    presets: list[PresetFit]


class PoolList(BaseModel):
    """Every pool, and all that waits."""

    object: str = "list"
    data: list[PoolNow]
    queue: QueueLoad


def pools_router(service: VideoService) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/pools", tags=["catalog"], summary="Pools: their cards, what these do now, and what they can hold")
    async def pools() -> PoolList:
        now = await service.roster()
        return PoolList(data=[_pool(state) for state in now.pools], queue=_load(now.queue))

    return router


def _pool(state: PoolState) -> PoolNow:
    return PoolNow(
        name=state.name,
        model=state.model,
        card=state.card,
        memory_gib=_rounded(state.memory_gib),
        min_replicas=state.least,
        max_replicas=state.most,
        cards=[LiveCard(name=str(card["name"]), memory_gib=_rounded(memory_gib(card) or None)) for card in state.cards],
        busy=state.busy,
        idle=len(state.cards) - state.busy,
        waiting=_load(state.waiting),
        max_frames=state.max_frames,
        presets=[
            PresetFit(
                preset=one.preset, fits=one.plan is not None, plan=one.plan, gpu_seconds=_rounded(one.gpu_seconds)
            )
            for one in state.presets
        ],
    )


def _load(load: Load) -> QueueLoad:
    return QueueLoad(jobs=load.jobs, gpu_seconds=round(load.gpu_s, 1))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
