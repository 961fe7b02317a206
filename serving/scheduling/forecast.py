"""When a job would start: the queue discipline run ahead of time over all that waits now.

As if no job came after this moment, each took what it is expected to, and no card was lost. Standard library only;
knows nothing of databases, models or Ray.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from serving.scheduling.queueing import Head, Usage, choose, faded

LOOKS = 20_000
"""Heads that one forecast looks at, some 2 microseconds each; of longer lines a card takes several jobs at once."""
MOST_LINES = 64
"""Lines that are told apart by owner; beyond, all owners count as one."""
_MINE = "~"  # after every number, and so after a job of the same rank


@dataclass(frozen=True, slots=True)
class Stretch:
    """Waiting jobs of one owner, priority and fit, with or without deadlines, that nothing told apart here divides."""

    fit: frozenset[str]
    """Names of the pools that can hold them; empty where that is not known, and any pool may try."""
    priority: str
    owner: str
    rank: float
    """Of the first of them, epoch seconds."""
    jobs: int
    estimate_s: float
    """GPU seconds of all of them, each on the fastest pool that can hold it."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By pool of the fit: GPU seconds of all of them, were they all done there."""
    deadline: float | None = None
    """Epoch seconds; the mean of theirs."""

    def seconds_each(self, pool: str) -> float:
        return self.seconds.get(pool, self.estimate_s) / self.jobs


@dataclass(frozen=True, slots=True)
class Cards:
    """One pool's cards."""

    pool: str
    free_in_s: tuple[float, ...]
    """For each card, seconds until it is free: what is left of its job, or of its start."""
    usage: Usage = field(default_factory=Usage)


def starts(cards: Sequence[Cards], waiting: Iterable[Stretch], job: Stretch, now: float) -> dict[str, float]:
    """In how many seconds a card of each pool would take `job`, did no other pool take it before.

    Pools without a card and those that cannot hold it are missing. The job itself goes to the one that is first.

    Args:
        cards: of the pools that serve the job's model.
        waiting: the jobs of its model.
        now: epoch seconds.
    """
    pools = {one.pool: _Pool(one.usage) for one in cards if one.free_in_s}
    free = [(at, number, one.pool) for number, one in enumerate(cards) for at in one.free_in_s]
    heapq.heapify(free)
    lines = _lines(waiting, job)
    at_once = math.ceil(sum(line.jobs for line in lines) * len(lines) / LOOKS)
    awaited = {pool for pool in pools if not job.fit or pool in job.fit}
    found: dict[str, float] = {}
    while free and awaited - found.keys():
        at, number, pool = free[0]
        heads = {str(n): line for n, line in enumerate(lines) if line.jobs and (not line.fit or pool in line.fit)}
        if pool in awaited and pool not in found:
            heads[_MINE] = _Line([job])
        chosen = choose((line.head(key, pool) for key, line in heads.items()), pool, now + at, pools[pool].usage(at))
        if chosen is None:
            heapq.heappop(free)
        elif chosen.job_id == _MINE:
            found[pool] = at
        else:
            taken, seconds = heads[chosen.job_id].take(at_once, pool)
            pools[pool].charge(taken, seconds)
            heapq.heapreplace(free, (at + seconds, number, pool))
    return found


class _Line:
    """The stretches of one group, in order of rank."""

    def __init__(self, stretches: list[Stretch]) -> None:
        self._stretches = sorted(stretches, key=lambda one: one.rank, reverse=True)
        self.fit = stretches[0].fit
        self.jobs = sum(one.jobs for one in stretches)
        self._left = self._stretches[-1].jobs

    def head(self, key: str, pool: str) -> Head:
        first = self._stretches[-1]
        each_s = first.seconds_each(pool)
        return Head(key, first.fit, first.priority, first.owner, first.rank, each_s, first.deadline)

    def take(self, most: int, pool: str) -> tuple[Stretch, float]:
        """Up to `most` jobs off the front: where they came from, and their seconds on `pool`."""
        first = self._stretches[-1]
        count = min(most, self._left)
        self.jobs -= count
        self._left -= count
        if self._left == 0:
            self._stretches.pop()
            self._left = self._stretches[-1].jobs if self._stretches else 0
        return first, first.seconds_each(pool) * count


class _Pool:
    """What a pool has served, as time goes on."""

    def __init__(self, usage: Usage) -> None:
        self._by_owner = dict(usage.by_owner)
        self._batch_s, self._deadline_s = usage.batch_s, usage.deadline_s
        self._at = 0.0

    def usage(self, at: float) -> Usage:
        kept = faded(1.0, at - self._at)
        self._at = at
        self._by_owner = {owner: gpu_s * kept for owner, gpu_s in self._by_owner.items()}
        self._batch_s *= kept
        self._deadline_s *= kept
        return Usage(self._by_owner, self._batch_s, self._deadline_s)

    def charge(self, job: Stretch, gpu_s: float) -> None:
        self._by_owner[job.owner] = self._by_owner.get(job.owner, 0.0) + gpu_s
        self._batch_s += gpu_s if job.priority == "batch" else 0.0
        self._deadline_s += gpu_s if job.deadline is not None else 0.0


def _lines(waiting: Iterable[Stretch], job: Stretch) -> list[_Line]:
    stretches = list(waiting)
    if len({_group(one) for one in stretches}) > MOST_LINES:
        sides: dict[object, list[Stretch]] = {}
        for one in stretches:
            sides.setdefault((one.fit, one.priority, one.deadline is None, one.rank <= job.rank), []).append(one)
        stretches = [_joined(side, job.owner) for side in sides.values()]
    groups: dict[object, list[Stretch]] = {}
    for one in stretches:
        groups.setdefault(_group(one), []).append(one)
    return [_Line(group) for group in groups.values()]


def _joined(stretches: list[Stretch], owner: str) -> Stretch:
    """All of them as one; they are of one kind."""
    jobs = sum(one.jobs for one in stretches)
    deadlines = [one.deadline * one.jobs for one in stretches if one.deadline is not None]
    return replace(
        stretches[0],
        owner=owner,
        rank=min(one.rank for one in stretches),
        jobs=jobs,
        estimate_s=sum(one.estimate_s for one in stretches),
        seconds={pool: sum(one.seconds.get(pool, one.estimate_s) for one in stretches) for pool in stretches[0].fit},
        deadline=sum(deadlines) / jobs if deadlines else None,
    )


def _group(one: Stretch) -> tuple[frozenset[str], str, str, bool]:
    return one.fit, one.priority, one.owner, one.deadline is not None
