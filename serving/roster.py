"""Every pool as it is now: its cards, what they do, and which clips they can hold. Knows nothing of HTTP or Ray."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from serving.jobs.backlog import Load
from serving.jobs.store import JobStore
from serving.placing import Placeable
from serving.pools import Card, ServedPool
from serving.presets import ModelProfile, target_size
from serving.scheduling.cost import Shape
from serving.scheduling.placement import Pool, plan_on, seconds_on
from serving.settings import AUTO


@dataclass(frozen=True)
class PresetFit:
    """A preset of the pool's model, square and with the model's own guidance."""

    preset: str
    plan: str | None
    """The memory plan it would run by; None where no plan fits."""
    gpu_seconds: float | None


@dataclass(frozen=True)
class PoolState:
    """One pool now."""

    name: str
    model: str
    card: str
    """Its class; of an "auto" pool, what its cards call themselves, or "auto" before any has."""
    memory_gib: float | None
    """Of one card; None where memory is no limit, or not known yet."""
    least: int
    most: int
    """Bounds of its cards."""
    cards: tuple[Card, ...]
    """Those that are loaded and alive."""
    busy: int
    """Of them, those with a job in progress, its encoding included."""
    waiting: Load
    """What it could take; work that several pools can hold counts in each."""
    max_frames: dict[str, int]
    """By resolution: the most frames of a square clip that a card holds; 0 where not even the model's fewest fit."""
    presets: tuple[PresetFit, ...]


@dataclass(frozen=True)
class Roster:
    """All pools, and all that waits."""

    pools: tuple[PoolState, ...]
    queue: Load


def roster(store: JobStore, pools: Sequence[ServedPool], placeable: Placeable) -> Roster:
    """As the job store knows it at this moment.

    Raises:
        StorageUnavailable: the store is out of reach.
    """
    backlog = store.backlog()
    workers = store.workers(role="generator")
    known = {pool.name: pool for pool in placeable.now()}
    states = []
    for pool in pools:
        cards = tuple(worker.card for worker in workers if worker.pool == pool.name and worker.card is not None)
        running = backlog.running.get(pool.name, Load(0, 0.0)).jobs
        profile, placed = pool.profile, known[pool.name]
        states.append(
            PoolState(
                name=pool.name,
                model=profile.name,
                card=_named(pool, cards),
                memory_gib=placed.memory_gib,
                least=pool.least,
                most=pool.most,
                cards=cards,
                busy=min(running, len(cards)),
                waiting=backlog.waiting(pool.name, profile.name),
                max_frames={
                    name: _most_frames(name, pool.profile, known[pool.name]) for name in pool.profile.resolutions
                },
                presets=tuple(_preset_fits(pool.profile, known[pool.name])),
            )
        )
    return Roster(tuple(states), backlog.total)


def _named(pool: ServedPool, cards: Sequence[Card]) -> str:
    if pool.settings.card != AUTO or not cards:
        return pool.settings.card
    return str(cards[0]["name"])


def _square(profile: ModelProfile, resolution: str, num_frames: int, steps: int) -> Shape:
    guided = profile.guidance_scale.default > 1.0
    return Shape(*target_size(profile.side(resolution), 1.0), num_frames, steps, guided)


def _most_frames(resolution: str, profile: ModelProfile, pool: Pool) -> int:
    least, most = int(profile.num_frames.low), int(profile.num_frames.high)
    steps = int(profile.num_inference_steps.default)
    shapes = (_square(profile, resolution, frames, steps) for frames in range(most, least - 1, -1))
    return next((shape.num_frames for shape in shapes if plan_on(shape, profile.cost, pool) is not None), 0)


def _preset_fits(profile: ModelProfile, pool: Pool) -> Iterable[PresetFit]:
    for name, preset in profile.presets.items():
        shape = _square(profile, preset.resolution, preset.num_frames, preset.num_inference_steps)
        plan = plan_on(shape, profile.cost, pool)
        seconds = None if plan is None else seconds_on(shape, profile.cost, pool, plan)
        yield PresetFit(name, None if plan is None else plan.name, seconds)
