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

HOLD_S = 75.0
"""How long a card that nothing needs is kept, where nobody says otherwise."""


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
    left_s: tuple[float, ...] = ()
    """Of each replica at work: seconds until it is free."""

    @property
    def busy(self) -> int:
        """Replicas at work."""
        return min(len(self.left_s), self.most)

    def room_s(self, replicas: int, within_s: float) -> float:
        """GPU-seconds that so many replicas can do from now on within `within_s`, besides what they are at."""
        finishing = sum(max(0.0, within_s - left) for left in self.left_s[: self.busy])
        return finishing + max(0, replicas - self.busy) * within_s


@dataclass(frozen=True)
class Waiting:
    """Jobs that the same pools can hold."""

    seconds: Mapping[str, float]
    """GPU-seconds of all of them, by each pool that can hold them."""
    jobs: int = 1
    """A card does one at a time: more cards than jobs are of no use."""


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
    assigned = {pool.name: _Assigned() for pool in pools}
    # What few pools can hold is placed first: it has the fewest ways out.
    for group in sorted(waiting, key=lambda group: len(group.seconds)):
        _assign(group, [pool for pool in by_size if pool.name in group.seconds], assigned, target)
    return {pool.name: _sized(pool, assigned[pool.name], target) for pool in pools}


class Held:
    """Sizes that fall only after they were lower for `hold_s` seconds: so long a card is kept that nothing needs."""

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


@dataclass
class _Assigned:
    """Waiting work that one pool is to do."""

    seconds: float = 0.0
    jobs: float = 0.0

    def add(self, group: Waiting, pool: PoolState, share: float) -> None:
        self.seconds += group.seconds[pool.name] * share
        self.jobs += group.jobs * share


def _assign(group: Waiting, able: Sequence[PoolState], assigned: Mapping[str, _Assigned], target: Target) -> None:
    """Add the group's seconds to the pools, the smallest first."""
    left = 1.0  # share of the group
    for pool, limit in _rooms(able, target):
        needed = group.seconds[pool.name] * left
        taken = min(needed, max(0.0, limit - assigned[pool.name].seconds))
        share = left * taken / needed if needed else left
        assigned[pool.name].add(group, pool, share)
        left -= share
        if left <= 1e-9:
            return
    if able:
        assigned[able[0].name].add(group, able[0], left)


def _rooms(able: Sequence[PoolState], target: Target) -> Iterable[tuple[PoolState, float]]:
    """Pools with the GPU-seconds they may be given in all, in the order in which they are filled."""
    home = able[:1]
    yield from ((pool, pool.room_s(pool.most, target.wait_s)) for pool in home)
    yield from ((pool, pool.room_s(pool.running, target.wait_s)) for pool in able[1:])
    yield from ((pool, pool.room_s(pool.most, target.overflow_s)) for pool in home)
    yield from ((pool, pool.room_s(pool.most, target.overflow_s)) for pool in able[1:])


def _sized(pool: PoolState, work: _Assigned, target: Target) -> int:
    beyond_s = work.seconds - pool.room_s(pool.busy, target.wait_s)
    # At most one for each job; one at least for what waits where nothing runs.
    more = min(math.ceil(beyond_s / target.wait_s - 1e-9), math.ceil(work.jobs - 1e-9)) if beyond_s > 0 else 0
    return max(pool.least, min(pool.most, pool.busy + more))
