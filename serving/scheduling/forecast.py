"""When jobs would start and end: the queue discipline run ahead of time over all that waits now.

As if no job came after this moment, each took what it is expected to, and no card was lost. Standard library only;
knows nothing of databases, models or Ray.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from serving.scheduling.preemption import preempting
from serving.scheduling.queueing import Head, Usage, choose
from serving.scheduling.tally import Tally

LOOKS = 20_000
"""Heads that one forecast looks at, some 2 microseconds each; of longer lines a card takes several jobs at once."""
LOOKS_FOR_ALL = 1_000
"""The same of a forecast for every waiting job, which is made again and again."""
MOST_LINES = 64
"""Lines that are told apart by owner; beyond, all owners count as one."""
_GUEST = "~"  # after every number, and so after a job of the same rank


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
    ids: tuple[str, ...] = ()
    """Of the jobs, in order, where it matters which they are."""

    def seconds_each(self, pool: str) -> float:
        return self.seconds.get(pool, self.estimate_s) / self.jobs


@dataclass(frozen=True, slots=True)
class Opening:
    """Between two steps of a job at work, which a shorter one may put off."""

    card: int
    """Which of its pool's."""
    from_s: float
    """In how many seconds."""
    within_s: float
    """For jobs of so many seconds on that card, and as many in all."""


@dataclass(frozen=True, slots=True)
class Cards:
    """One pool's cards."""

    pool: str
    free_in_s: tuple[float, ...]
    """For each card, seconds until it is free: what is left of its job, or of its start."""
    usage: Usage = field(default_factory=Usage)
    openings: tuple[Opening, ...] = ()


def starts(cards: Sequence[Cards], waiting: Iterable[Stretch], job: Stretch, now: float) -> dict[str, float]:
    """In how many seconds a card of each pool would take `job`, did no other pool take it before.

    Pools without a card and those that cannot hold it are missing. The job itself goes to the one that is first.

    Args:
        cards: of the pools that serve the job's model.
        waiting: the jobs of its model.
        now: epoch seconds.
    """
    lines = _lines(waiting, job)
    at_once = math.ceil(sum(line.jobs for line in lines) * len(lines) / LOOKS)
    return {pool: at for at, pool, taken, _ in _turns(cards, lines, now, at_once, job) if taken is job}


def ends(cards: Sequence[Cards], waiting: Sequence[Stretch], now: float) -> dict[str, float]:
    """In how many seconds a card would be done with each waiting job, by id; what none would take is missing.

    Args:
        cards: of the pools that serve the jobs' model.
        waiting: its jobs, one each.
        now: epoch seconds.
    """
    if len({_group(one) for one in waiting}) > MOST_LINES:
        waiting = [replace(one, owner="") for one in waiting]
    groups = _grouped(waiting)
    at_once = math.ceil(len(waiting) * len(groups) / LOOKS_FOR_ALL)
    lines = [_Line(_chunks(group, at_once)) for group in groups]
    found: dict[str, float] = {}
    for at, _, taken, seconds in _turns(cards, lines, now, at_once):
        each_s = seconds / taken.jobs
        found |= {job_id: at + nth * each_s for nth, job_id in enumerate(taken.ids, start=1)}
    return found


def _turns(
    cards: Sequence[Cards], lines: list[_Line], now: float, at_once: int, guest: Stretch | None = None
) -> Iterator[tuple[float, str, Stretch, float]]:
    """Each time that a card takes up to `at_once` jobs: in how many seconds, its pool, whose they are, their seconds.

    With a guest only until each pool that can hold it has taken it; it stays for the others all the same.
    """
    pools = {one.pool: Tally(one.usage) for one in cards if one.free_in_s}
    frees = {(number, nth): at for number, one in enumerate(cards) for nth, at in enumerate(one.free_in_s)}
    rooms = {(number, each.card): each.within_s for number, one in enumerate(cards) for each in one.openings}
    free = [(at, card, False) for card, at in frees.items()]
    free += [(each.from_s, (number, each.card), True) for number, one in enumerate(cards) for each in one.openings]
    heapq.heapify(free)
    awaiting = {pool for pool in pools if guest is not None and (not guest.fit or pool in guest.fit)}
    while free and (guest is None or awaiting):
        at, card, early = free[0]
        if not early and frees[card] > at:
            heapq.heapreplace(free, (frees[card], card, False))  # its job was put off
            continue
        if early and at >= frees[card]:
            heapq.heappop(free)
            continue
        pool = cards[card[0]].pool
        heads = {str(n): line for n, line in enumerate(lines) if line.jobs and (not line.fit or pool in line.fit)}
        if guest is not None and pool in awaiting:
            heads[_GUEST] = _Line([guest])
        firsts = [line.head(key, pool) for key, line in heads.items()]
        if early:
            firsts = preempting(firsts, rooms[card])
        chosen = choose(firsts, pool, now + at, pools[pool].usage(at))
        if chosen is None:
            heapq.heappop(free)
            continue
        most = max(1, min(at_once, int(rooms[card] / max(chosen.estimate_s, 1e-9)))) if early else at_once
        taken, jobs = heads[chosen.job_id].take(most)
        seconds = taken.seconds_each(pool) * jobs
        if chosen.job_id == _GUEST:
            awaiting.remove(pool)
        else:
            batch, timed = taken.priority == "batch", taken.deadline is not None
            pools[pool].charge(taken.owner, seconds, batch=batch, timed=timed, until=at + seconds, jobs=jobs)
            heapq.heapreplace(free, (at + seconds, card, early))
            if early:
                rooms[card] -= seconds
                frees[card] += seconds
            else:
                frees[card] = at + seconds
        yield at, pool, taken, seconds


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

    def take(self, most: int) -> tuple[Stretch, int]:
        """Up to `most` jobs off the front: where they came from, and how many they are."""
        first = self._stretches[-1]
        count = min(most, self._left)
        self.jobs -= count
        self._left -= count
        if self._left == 0:
            self._stretches.pop()
            self._left = self._stretches[-1].jobs if self._stretches else 0
        return first, count


def _lines(waiting: Iterable[Stretch], job: Stretch) -> list[_Line]:
    stretches = list(waiting)
    if len({_group(one) for one in stretches}) > MOST_LINES:
        sides: dict[object, list[Stretch]] = {}
        for one in stretches:
            sides.setdefault((one.fit, one.priority, one.deadline is None, one.rank <= job.rank), []).append(one)
        stretches = [_joined(side, job.owner) for side in sides.values()]
    return [_Line(group) for group in _grouped(stretches)]


def _chunks(stretches: list[Stretch], jobs: int) -> list[Stretch]:
    """Stretches of one job each as stretches of `jobs`, by rank."""
    ordered = sorted(stretches, key=lambda one: one.rank)
    if jobs == 1:
        return ordered
    return [_joined(ordered[at : at + jobs], ordered[0].owner) for at in range(0, len(ordered), jobs)]


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
        ids=tuple(job_id for one in stretches for job_id in one.ids),
    )


def _grouped(stretches: Iterable[Stretch]) -> list[list[Stretch]]:
    groups: dict[object, list[Stretch]] = {}
    for one in stretches:
        groups.setdefault(_group(one), []).append(one)
    return list(groups.values())


def _group(one: Stretch) -> tuple[frozenset[str], str, str, bool]:
    return one.fit, one.priority, one.owner, one.deadline is not None
