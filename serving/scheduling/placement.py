"""Which pools can hold a clip, and the refusal that says what would fit. Knows nothing of queues, jobs or Ray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from serving.errors import DoesNotFit
from serving.scheduling.accelerations import lacking
from serving.scheduling.cost import CostRow, Shape, Speed, shared_stage_seconds, speed_of, stage_seconds
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
    compute_capability: float = 0.0
    """As NVIDIA counts; 0 of a CPU, and where it is not known."""


@dataclass(frozen=True)
class Placement:
    """Where a clip can run: its GPU seconds by pool name, fastest first, and the exact plan it would run by there."""

    seconds: dict[str, float]
    plans: dict[str, MemoryPlan]
    shared: dict[str, float]
    """Seconds of two cards of a pool that have one guidance half each; else empty."""

    @property
    def pools(self) -> tuple[str, ...]:
        return tuple(self.seconds)


@dataclass(frozen=True)
class Choices:
    """What else the model could be asked for, where a clip does not fit."""

    least_frames: int = 1
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """(width, height) in the clip's aspect by resolution class."""


def place(shape: Shape, model: str, cost: CostRow, pools: Iterable[Pool], choices: Choices | None = None) -> Placement:
    """The pools of `model` whose cards can hold the clip by some plan.

    Raises:
        DoesNotFit: naming the memory needed, each pool's memory, and the largest of the choices that would fit: the
            most frames at this size, and the largest resolution with these frames; or what no card can do.
    """
    serving = sorted((pool for pool in pools if pool.model == model), key=lambda pool: -pool.tflops)
    candidates = [pool for pool in serving if lacks(shape, pool) is None]
    if serving and not candidates:
        reasons = "; ".join(f"{pool.name}: {lacks(shape, pool)}" for pool in serving)
        raise DoesNotFit(f"acceleration: no card can do it ({reasons}).", param="acceleration")
    plans = {pool.name: plan for pool in candidates if (plan := plan_on(shape, cost, pool)) is not None}
    if not plans:
        raise DoesNotFit(_refusal(shape, cost, candidates, choices or Choices()), param="num_frames")
    able = [pool for pool in candidates if pool.name in plans]
    seconds = {pool.name: seconds_on(shape, cost, pool, plans[pool.name]) for pool in able}
    # A second card comes for one loop of steps; a clip of several parts has as many.
    halved = shape.guided and not shape.accelerations and shape.parts == 1
    shared = {pool.name: sum(shared_stages_on(shape, cost, pool).values()) for pool in able} if halved else {}
    return Placement(dict(sorted(seconds.items(), key=lambda item: item[1])), plans, shared)


def lacks(shape: Shape, pool: Pool) -> str | None:
    """Which of the clip's accelerations the cards of `pool` cannot do, and why."""
    beyond = lacking(shape.accelerations, pool.compute_capability)
    return None if beyond is None else f"{beyond}; a card has {pool.compute_capability:g}"


def plan_on(shape: Shape, cost: CostRow, pool: Pool) -> MemoryPlan | None:
    """The fastest plan by which a card of `pool` holds the clip; None where it cannot."""
    return PLANS[0] if pool.memory_gib is None else largest_fitting(shape, cost, pool.memory_gib)


def seconds_on(shape: Shape, cost: CostRow, pool: Pool, plan: MemoryPlan) -> float:
    """Seconds of a clip on a card of `pool`: by the measured speed, else by the class's."""
    return sum(stages_on(shape, cost, pool, plan).values())


def stages_on(shape: Shape, cost: CostRow, pool: Pool, plan: MemoryPlan) -> dict[str, float]:
    """The same, of each stage."""
    return stage_seconds(shape, cost, _speed(pool, cost), sequential=plan.sequential, chunked=plan.chunked)


def shared_stages_on(shape: Shape, cost: CostRow, pool: Pool) -> dict[str, float]:
    """Seconds of each stage of a guided clip on two cards of `pool`, with one guidance half each."""
    return shared_stage_seconds(shape, cost, _speed(pool, cost))


def _speed(pool: Pool, cost: CostRow) -> Speed:
    return speed_of(pool.tflops, cost) if pool.speed is None else pool.speed


def _refusal(shape: Shape, cost: CostRow, pools: list[Pool], choices: Choices) -> str:
    needed = f"{shape.width}x{shape.height} with {shape.num_frames} frames needs {least_gib(shape, cost):.1f} GiB"
    if not pools:
        return f"{needed}; no pool serves this model."
    memory = ", ".join(f"{pool.name} {pool.memory_gib:.3g} GiB" for pool in pools)
    return f"num_frames: {needed}; the pools have {memory}. {_advice(shape, cost, pools, choices)}"


def _advice(shape: Shape, cost: CostRow, pools: list[Pool], choices: Choices) -> str:
    """The largest settings that would fit: changing one of frames and size where that is enough, else both."""

    def most_frames(size: tuple[int, int]) -> int:
        shapes = (replace(shape, width=size[0], height=size[1], num_frames=n) for n in range(shape.num_frames, 0, -1))
        fitting = (one for one in shapes if any(plan_on(one, cost, pool) is not None for pool in pools))
        frames = next((one.num_frames for one in fitting), 0)
        return frames if frames >= choices.least_frames else 0

    found = []
    if frames := most_frames((shape.width, shape.height)):
        found.append(f"At this size {frames} frames would fit.")
    sizes = sorted(choices.sizes.items(), key=lambda item: item[1][0] * item[1][1], reverse=True)
    fitting = [(name, size, frames) for name, size in sizes if (frames := most_frames(size))]
    for name, (width, height), frames in fitting:
        if frames == shape.num_frames:
            found.append(f"With {frames} frames {name} ({width}x{height}) would fit.")
            break
    if not found and fitting:
        name, (width, height), frames = fitting[0]
        found.append(f"{name} ({width}x{height}) with {frames} frames would fit.")
    return " ".join(found) or ("No clip of this model would fit." if sizes else "Choose a smaller resolution.")
