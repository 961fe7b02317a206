"""Who is served next and how many cards are up, on virtual time.

`ResolutionAware` keeps in memory what the store keeps in tables, and decides by the functions that the service decides
by. Knows nothing of databases, clocks, models or Ray.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from serving.scheduling.capacity import Held, PoolState, Target, Waiting, replicas
from serving.scheduling.preemption import preempting
from serving.scheduling.queueing import Head, choose, rank
from serving.scheduling.tally import Tally


@dataclass(frozen=True, slots=True)
class Task:
    """A job in a simulation. Moments are seconds of virtual time."""

    number: int
    accepted: float
    seconds: Mapping[str, float]
    """Expected GPU seconds by pool that can hold it, fastest first."""
    owner: str = ""
    priority: str = "interactive"
    deadline: float | None = None

    @property
    def estimate_s(self) -> float:
        return next(iter(self.seconds.values()))


class Policy(Protocol):
    """What a simulation asks. Moments are seconds of virtual time, and never go back."""

    waiting: int
    """Tasks in line."""
    waiting_s: float
    """Their GPU seconds, each on its fastest pool."""

    def add(self, task: Task) -> None: ...

    def take(self, pool: str, now: float, within_s: float | None = None) -> Task | None:
        """What a card of `pool` does next, out of the line; None where it can hold nothing that waits.

        Args:
            within_s: of a card at work, which gives way to jobs of so many seconds alone.
        """
        ...

    def sizes(self, now: float, pools: Sequence[PoolState]) -> dict[str, int]:
        """Cards that each pool should have."""
        ...


@dataclass(frozen=True, slots=True)
class _Group:
    """Tasks of one fit, priority and owner, with or without a deadline: by what they take, and then by rank."""

    fit: frozenset[str]
    lines: dict[float, list[tuple[float, int, Task]]] = field(default_factory=dict)

    def add(self, at: float, task: Task) -> None:
        heapq.heappush(self.lines.setdefault(task.estimate_s, []), (at, task.number, task))

    def first(self, within_s: float | None) -> float | None:
        """The line with the first of all ranks, or of those that take so long at most; None where there is none."""
        able = [estimate_s for estimate_s in self.lines if within_s is None or estimate_s <= within_s]
        return min(able, key=lambda estimate_s: self.lines[estimate_s][0], default=None)

    def head(self, key: str, pool: str, within_s: float | None) -> Head | None:
        line = self.first(within_s)
        if line is None:
            return None
        at, _, task = self.lines[line][0]
        return Head(key, self.fit, task.priority, task.owner, at, task.seconds[pool], task.deadline)

    def take(self, within_s: float | None) -> Task:
        line = self.first(within_s)
        assert line is not None
        _, _, task = heapq.heappop(self.lines[line])
        if not self.lines[line]:
            del self.lines[line]
        return task


class ResolutionAware:
    """The service's own: shortest expected work first with ageing and fair shares; pools sized by GPU seconds."""

    def __init__(self, target: Target, hold_s: float) -> None:
        self.waiting, self.waiting_s = 0, 0.0
        self._target = target
        self._held = Held(hold_s)
        self._groups: dict[str, _Group] = {}
        self._tallies: dict[str, Tally] = {}
        self._by_fit: dict[frozenset[str], Counter[str]] = {}
        self._jobs: Counter[frozenset[str]] = Counter()

    def add(self, task: Task) -> None:
        fit = frozenset(task.seconds)
        key = f"{'+'.join(sorted(fit))} {task.priority} {task.deadline is not None} {task.owner}"
        group = self._groups.setdefault(key, _Group(fit))
        at = rank(task.accepted, task.estimate_s, task.priority, task.deadline)
        group.add(at, task)
        self.waiting += 1
        self.waiting_s += task.estimate_s
        self._by_fit.setdefault(fit, Counter()).update(task.seconds)
        self._jobs[fit] += 1

    def take(self, pool: str, now: float, within_s: float | None = None) -> Task | None:
        tally = self._tallies.setdefault(pool, Tally())
        firsts = (group.head(key, pool, within_s) for key, group in self._groups.items() if pool in group.fit)
        heads = [head for head in firsts if head is not None]
        if within_s is not None:
            heads = preempting(heads, within_s)
        if not heads:
            return None
        chosen = heads[0] if len(heads) == 1 else choose(heads, pool, now, tally.usage(now))
        assert chosen is not None
        group = self._groups[chosen.job_id]
        task = group.take(within_s)
        if not group.lines:
            del self._groups[chosen.job_id]
        batch, timed, took_s = task.priority == "batch", task.deadline is not None, task.seconds[pool]
        tally.charge(task.owner, took_s, batch=batch, timed=timed, until=now + took_s)
        self.waiting -= 1
        self.waiting_s -= task.estimate_s
        self._by_fit[group.fit].subtract(task.seconds)
        self._jobs[group.fit] -= 1
        return task

    def sizes(self, now: float, pools: Sequence[PoolState]) -> dict[str, int]:
        groups = [Waiting(sums, self._jobs[fit]) for fit, sums in self._by_fit.items() if self._jobs[fit]]
        return self._held.sizes(now, replicas(pools, groups, self._target))
