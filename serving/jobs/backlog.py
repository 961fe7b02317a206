"""The work that waits, for whoever sizes the pools and admits jobs: by the pools that can hold it.

Takes no lock. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from sqlalchemy import Connection, and_, func, not_, select

from serving.jobs import roll
from serving.jobs.claims import lapsed
from serving.jobs.clock import StoreClock
from serving.jobs.job import JobStatus
from serving.jobs.queue import queue_of
from serving.jobs.tables import jobs, workers
from serving.scheduling.preemption import AtWork


class Load(NamedTuple):
    """A number of jobs, and the GPU seconds they are expected to need."""

    jobs: int
    gpu_s: float


@dataclass(frozen=True)
class WaitingGroup:
    """The waiting jobs of one model, priority and fit, those abandoned by their workers included."""

    model: str
    priority: str
    fit: frozenset[str]
    """Names of the pools that can hold them; empty where that is not known, and any pool of the model may try."""
    jobs: int
    estimate_s: float
    """GPU seconds of all of them, each on the fastest pool that can hold it."""
    seconds: Mapping[str, float]
    """By pool of the fit: GPU seconds of all of them, were they all done there."""


@dataclass(frozen=True)
class Backlog:
    """All waiting work, and what the pools still have in hand. Groups do not overlap; pools' loads do."""

    groups: tuple[WaitingGroup, ...]
    left_s: Mapping[str, tuple[float, ...]]
    """By pool, of each of its cards at work: the GPU seconds that are left; a job that two cards share is two."""

    def waiting(self, pool: str, model: str, priority: str | None = None) -> Load:
        """What waits that `pool`, which serves `model`, could take, as if no other pool took any of it.

        Args:
            priority: of this priority alone.
        """
        able = [
            group
            for group in self.groups
            if group.model == model and (not group.fit or pool in group.fit) and priority in (None, group.priority)
        ]
        gpu_s = sum(group.seconds.get(pool, group.estimate_s) for group in able)
        return Load(sum(group.jobs for group in able), gpu_s)

    @property
    def running(self) -> Mapping[str, Load]:
        """By pool: its cards at work, as jobs, and the GPU seconds that are left of theirs."""
        return {pool: Load(len(left_s), sum(left_s)) for pool, left_s in self.left_s.items()}

    @property
    def total(self) -> Load:
        return Load(sum(group.jobs for group in self.groups), sum(group.estimate_s for group in self.groups))


_Key = tuple[str, str, frozenset[str]]


def backlog(connection: Connection, clock: StoreClock, leaving: Collection[str] = ()) -> Backlog:
    """`leaving` are workers whose cards are not counted among those at work."""
    found: dict[_Key, WaitingGroup] = {}
    for group in [*_waiting(connection), *_abandoned(connection, clock)]:
        key = group.model, group.priority, group.fit
        found[key] = _joined(found[key], group) if key in found else group
    return Backlog(tuple(found.values()), left_s(connection, clock, leaving))


def _waiting(connection: Connection) -> Iterator[WaitingGroup]:
    queued = jobs.c.status == JobStatus.QUEUED
    counts = select(jobs.c.model, jobs.c.queue, func.count(), func.sum(jobs.c.estimate_s)).where(queued)
    for model, queue, count, estimate_s in connection.execute(counts.group_by(jobs.c.model, jobs.c.queue)).all():
        fit, priority, _ = queue_of(queue)
        seconds = dict.fromkeys(fit, float(estimate_s))
        if len(fit) > 1:
            # Only estimates that differ by pool have to be read out of the rows.
            sums = select(*(func.sum(jobs.c.estimates[pool].as_float()).label(pool) for pool in fit))
            mine = sums.where(queued, jobs.c.model == model, jobs.c.queue == queue)
            # None where the last of them has been claimed since they were counted.
            seconds = {pool: gpu_s or 0.0 for pool, gpu_s in connection.execute(mine).mappings().one().items()}
        yield WaitingGroup(model, priority, fit, count, float(estimate_s), seconds)


def _abandoned(connection: Connection, clock: StoreClock) -> Iterator[WaitingGroup]:
    columns = (jobs.c.model, jobs.c.queue, jobs.c.estimates, jobs.c.estimate_s)
    for model, queue, estimates, estimate_s in connection.execute(select(*columns).where(lapsed(clock))):
        yield WaitingGroup(model, queue_of(queue).priority, frozenset(estimates), 1, estimate_s, estimates)


def _joined(one: WaitingGroup, other: WaitingGroup) -> WaitingGroup:
    seconds = {pool: one.seconds[pool] + other.seconds[pool] for pool in one.seconds}
    estimate_s = one.estimate_s + other.estimate_s
    return WaitingGroup(one.model, one.priority, one.fit, one.jobs + other.jobs, estimate_s, seconds)


def left_s(connection: Connection, clock: StoreClock, leaving: Collection[str] = ()) -> dict[str, tuple[float, ...]]:
    """By pool, of each of its cards at work: the GPU seconds that are left."""
    return {pool: tuple(one.left_s for one in cards) for pool, cards in in_hand(connection, clock, leaving).items()}


def cards_at_work(connection: Connection, clock: StoreClock, pool: str) -> int:
    return sum(one.left_s > 0 for one in in_hand(connection, clock).get(pool, ()))


def in_hand(connection: Connection, clock: StoreClock, leaving: Collection[str] = ()) -> dict[str, tuple[AtWork, ...]]:
    """The cards at work by pool, but for those of the workers `leaving`; a job that two cards share is two."""
    columns = (jobs.c.estimates, jobs.c.estimate_s, jobs.c.progress, jobs.c.stage)
    at_work = and_(jobs.c.status == JobStatus.IN_PROGRESS, not_(lapsed(clock)), jobs.c.pool.is_not(None))
    led = select(jobs.c.worker, jobs.c.id, jobs.c.preempts, jobs.c.deadline, jobs.c.preempted_s, jobs.c.pool, *columns)
    cards: dict[str, tuple[str, AtWork]] = {}
    for worker, job_id, preempts, deadline, preempted_s, pool, *rest in connection.execute(led.where(at_work)):
        if worker in leaving:
            continue
        leader = preempts or job_id
        takes_s, job_left_s = _seconds(pool, *rest)
        _, card = cards.get(leader, (pool, AtWork(0.0)))
        card = replace(card, left_s=card.left_s + job_left_s)
        if preempts is None:
            card = replace(card, estimate_s=takes_s, preempted_s=preempted_s, gives_way=deadline is None)
        else:
            card = replace(card, another_s=job_left_s)
        cards[leader] = (pool, card)
    helps = and_(workers.c.assists == jobs.c.id, roll.seen(clock))
    helped = select(workers.c.id, workers.c.pool, *columns).where(helps, at_work)
    helping = [
        (pool, AtWork(_seconds(pool, *rest)[1]))
        for worker, pool, *rest in connection.execute(helped)
        if worker not in leaving
    ]
    found: dict[str, tuple[AtWork, ...]] = {}
    for pool, card in (*cards.values(), *helping):
        found[pool] = (*found.get(pool, ()), card)
    return found


def _seconds(
    pool: str, estimates: Mapping[str, float], estimate_s: float, progress: int, stage: str | None
) -> tuple[float, float]:
    """What a job takes on a card of `pool`, and what of that is left: none while its clip is encoded."""
    takes_s = estimates.get(pool, estimate_s)
    return takes_s, 0.0 if stage == "encoding" else takes_s * (1.0 - progress / 100)
