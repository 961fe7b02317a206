"""Which pools can hold a clip, and the refusal that says what would fit. Knows nothing of queues, jobs or Ray."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from serving.errors import DoesNotFit
from serving.scheduling.cost import CostRow, Shape, Speed, speed_of, stage_seconds
from serving.scheduling.plans import PLANS, MemoryPlan, largest_fitting, least_gib


@dataclass(frozen=True)
class Pool:
    """What placement knows of a pool."""

    name: str
    model: str
    tflops: float
    """Of the cards' class; used until one was measured."""
    memory_gib: float | None = None
    """None where memory is no limit (CPU) or not known yet."""
    speed: Speed | None = None
    """As measured on such cards; None where none was."""


@dataclass(frozen=True)
class Placement:
    """Where a clip can run: its GPU seconds by pool name, fastest first, and the exact plan it would run by there."""

    seconds: dict[str, float]
    plans: dict[str, MemoryPlan]

    @property
    def pools(self) -> tuple[str, ...]:
        return tuple(self.seconds)


def place(shape: Shape, model: str, cost: CostRow, pools: Iterable[Pool]) -> Placement:
    """The pools of `model` whose cards can hold the clip by some plan.

    Raises:
        DoesNotFit: naming the memory needed, each pool's memory, and the most frames that would fit.
    """
    candidates = sorted((pool for pool in pools if pool.model == model), key=lambda pool: -pool.tflops)
    plans = {pool.name: plan for pool in candidates if (plan := plan_on(shape, cost, pool)) is not None}
    if not plans:
        raise DoesNotFit(_refusal(shape, cost, candidates), param="num_frames")
    able = (pool for pool in candidates if pool.name in plans)
    seconds = {pool.name: seconds_on(shape, cost, pool, plans[pool.name]) for pool in able}
    return Placement(dict(sorted(seconds.items(), key=lambda item: item[1])), plans)


def plan_on(shape: Shape, cost: CostRow, pool: Pool) -> MemoryPlan | None:
    """The fastest plan by which a card of `pool` holds the clip; None where it cannot."""
    return PLANS[0] if pool.memory_gib is None else largest_fitting(shape, cost, pool.memory_gib)


def seconds_on(shape: Shape, cost: CostRow, pool: Pool, plan: MemoryPlan) -> float:
    """Seconds of a clip on a card of `pool`: by the measured speed, else by the class's."""
    speed = speed_of(pool.tflops, cost) if pool.speed is None else pool.speed
    return sum(stage_seconds(shape, cost, speed, sequential=plan.sequential).values())


def _refusal(shape: Shape, cost: CostRow, pools: list[Pool]) -> str:
    needed = f"{shape.width}x{shape.height} with {shape.num_frames} frames needs {least_gib(shape, cost):.1f} GiB"
    if not pools:
        return f"{needed}; no pool serves this model."
    memory = ", ".join(f"{pool.name} {pool.memory_gib:.0f} GiB" for pool in pools)
    for frames in range(shape.num_frames - 1, 0, -1):
        fewer = replace(shape, num_frames=frames)
        if any(plan_on(fewer, cost, pool) is not None for pool in pools):
            return f"num_frames: {needed}; the pools have {memory}. At this size {frames} frames would fit."
    return f"num_frames: {needed}; the pools have {memory}. Choose a smaller resolution."
