"""Waiting GPU-seconds to replicas for each pool. Knows nothing of Ray, jobs or clocks.

Work that several pools can hold goes to the smallest of them, as far as it can do that work in the target wait; so a
burst of small jobs does not start a large card, and a job that only a large card holds never starts a small one.
Larger cards that are up help with what is left over; they are started for it only when it would wait far too long.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class PoolState:
    """One pool now."""

    name: str
    size: float
    """What a card costs, in any unit: pools are filled from the smallest to the largest."""
    least: int
    most: int
    """Bounds of its replicas."""
    running: int = 0
    """Replicas that are up."""
    busy: int = 0
    """Replicas at work."""


@dataclass(frozen=True)
class Waiting:
    """Jobs that the same pools can hold."""

    seconds: Mapping[str, float]
    """GPU-seconds of all of them, by each pool that can hold them."""


@dataclass(frozen=True)
class Target:
    """What the pools are sized for."""

    wait_s: float = 60.0
    """Waiting work is to be done within this."""
    overflow_s: float = 600.0
    """Work of a smaller pool starts a larger card only if it would wait longer than this."""


def replicas(pools: Sequence[PoolState], waiting: Iterable[Waiting], target: Target) -> dict[str, int]:
    """Replicas each pool should have, within its bounds and never fewer than are at work."""
    by_size = sorted(pools, key=lambda pool: pool.size)
    assigned = dict.fromkeys((pool.name for pool in pools), 0.0)
    # What few pools can hold is placed first: it has the fewest ways out.
    for group in sorted(waiting, key=lambda group: len(group.seconds)):
        _assign(group, [pool for pool in by_size if pool.name in group.seconds], assigned, target)
    return {pool.name: _sized(pool, assigned[pool.name], target) for pool in pools}


class Held:
    """Sizes that fall only after they have been lower for `hold_s` seconds: a card not needed any more is kept so long."""

    def __init__(self, hold_s: float) -> None:
        self._hold_s = hold_s
        # By pool the sizes that may still be the most, falling, each with the moment until which it was wanted.
        self._recent: dict[str, deque[tuple[int, float]]] = {}

    def sizes(self, now: float, latest: Mapping[str, int]) -> dict[str, int]:
        """The most that each pool was to have lately.

        Args:
            now: any clock's seconds that never goes back.
            latest: what each pool should have from now on.
        """
        return {pool: self._most(now, self._recent.setdefault(pool, deque()), size) for pool, size in latest.items()}

    def _most(self, now: float, recent: deque[tuple[int, float]], size: int) -> int:
        if recent:
            recent[-1] = (recent[-1][0], now)
        while recent and recent[-1][0] <= size:
            recent.pop()
        recent.append((size, now))
        while recent[0][1] < now - self._hold_s:
            recent.popleft()
        return recent[0][0]


def _assign(group: Waiting, able: Sequence[PoolState], assigned: dict[str, float], target: Target) -> None:
    """Add the group's seconds to the pools, the smallest first."""
    left = 1.0  # share of the group
    for pool, limit in _rooms(able, target):
        needed = group.seconds[pool.name] * left
        taken = min(needed, max(0.0, limit - assigned[pool.name]))
        assigned[pool.name] += taken
        left -= left * taken / needed if needed else left
        if left <= 1e-9:
            return
    if able:
        assigned[able[0].name] += group.seconds[able[0].name] * left


def _rooms(able: Sequence[PoolState], target: Target) -> Iterable[tuple[PoolState, float]]:
    """Pools with the GPU-seconds they may be given in all, in the order in which they are filled."""
    home = able[:1]
    yield from ((pool, pool.most * target.wait_s) for pool in home)
    yield from ((pool, pool.running * target.wait_s) for pool in able[1:])
    yield from ((pool, pool.most * target.overflow_s) for pool in home)
    yield from ((pool, pool.most * target.overflow_s) for pool in able[1:])


def _sized(pool: PoolState, seconds: float, target: Target) -> int:
    # A busy card is free again some time; until then it does none of the waiting work.
    wanted = math.ceil(seconds / target.wait_s - 1e-9) + (pool.busy if seconds > 0 else 0)
    return max(pool.least, min(pool.most, max(wanted, pool.busy)))
