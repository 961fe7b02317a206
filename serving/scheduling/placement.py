"""Which pools can hold a clip, and the refusal that says what would fit. Knows nothing of queues, jobs or Ray."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from serving.errors import DoesNotFit
from serving.scheduling.cost import CostRow, Shape, memory_gib, seconds


@dataclass(frozen=True)
class Pool:
    """What placement knows of a pool. `memory_gib` is None where memory is no limit (CPU) or not known yet."""

    name: str
    model: str
    tflops: float
    memory_gib: float | None = None


@dataclass(frozen=True)
class Placement:
    """Where a clip can run: its GPU seconds by pool name, fastest first."""

    seconds: dict[str, float]

    @property
    def pools(self) -> tuple[str, ...]:
        return tuple(self.seconds)


def place(shape: Shape, model: str, cost: CostRow, pools: Iterable[Pool]) -> Placement:
    """The pools of `model` whose cards can hold the clip.

    Raises:
        DoesNotFit: naming the memory needed, each pool's memory, and the most frames that would fit.
    """
    candidates = [pool for pool in pools if pool.model == model]
    fitting = sorted((pool for pool in candidates if _fits(shape, cost, pool)), key=lambda pool: -pool.tflops)
    if not fitting:
        raise DoesNotFit(_refusal(shape, cost, candidates), param="num_frames")
    return Placement({pool.name: seconds(shape, cost, pool.tflops) for pool in fitting})


def _fits(shape: Shape, cost: CostRow, pool: Pool) -> bool:
    return pool.memory_gib is None or memory_gib(shape, cost) <= pool.memory_gib


def _refusal(shape: Shape, cost: CostRow, pools: list[Pool]) -> str:
    needed = f"{shape.width}x{shape.height} with {shape.num_frames} frames needs {memory_gib(shape, cost):.1f} GiB"
    if not pools:
        return f"{needed}; no pool serves this model."
    memory = ", ".join(f"{pool.name} {pool.memory_gib:.0f} GiB" for pool in pools)
    for frames in range(shape.num_frames - 1, 0, -1):
        if any(_fits(replace(shape, num_frames=frames), cost, pool) for pool in pools):
            return f"num_frames: {needed}; the pools have {memory}. At this size {frames} frames would fit."
    return f"num_frames: {needed}; the pools have {memory}. Choose a smaller resolution."
