"""What a forecast begins with: the line, work in hand, and what was served lately.

Takes no lock. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Text, and_, cast, func, select

from serving.jobs import line, usage
from serving.jobs.backlog import in_hand
from serving.jobs.claims import lapsed
from serving.jobs.clock import StoreClock
from serving.jobs.job import JobStatus
from serving.jobs.queue import queue_of
from serving.jobs.tables import jobs
from serving.scheduling.forecast import Stretch
from serving.scheduling.preemption import AtWork
from serving.scheduling.queueing import Usage, rank

_COLUMNS = [jobs.c[name] for name in ("id", "queue", "owner", "rank", "estimate_s", "estimates", "deadline")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What `scheduling.forecast.ends` is asked with."""

    now: float
    """Epoch seconds."""
    waiting: tuple[Stretch, ...]
    """The model's waiting jobs, those abandoned by their workers included; one each."""
    at_work: Mapping[str, tuple[AtWork, ...]]
    """By pool, its cards at work."""
    usage: Mapping[str, Usage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook(Situation):
    """What `scheduling.forecast.starts` is asked with: many a stretch, of which none stands on both sides of `job`."""

    job: Stretch


def outlook(
    connection: Connection,
    clock: StoreClock,
    model: str,
    pools: Collection[str],
    estimates: Mapping[str, float],
    priority: str,
    owner: str,
    deadline_s: float | None,
) -> Outlook:
    now = float(connection.execute(select(clock.wall())).scalar_one())
    deadline = None if deadline_s is None else now + deadline_s
    estimate_s = min(estimates.values())
    place = rank(now, estimate_s, priority, deadline)
    job = Stretch(frozenset(estimates), priority, owner, place, 1, estimate_s, dict(estimates), deadline)
    return Outlook(
        now=now,
        job=job,
        waiting=(*_waiting(connection, model, place), *_abandoned(connection, clock, model)),
        at_work=in_hand(connection, clock),
        usage={pool: usage.recent(connection, pool, now) for pool in pools},
    )


def situation(
    connection: Connection, clock: StoreClock, model: str, pools: Collection[str], most: int
) -> Situation | None:
    """None where more than `most` jobs wait."""
    if line.is_long(connection, model, most + 1):
        return None
    now = float(connection.execute(select(clock.wall())).scalar_one())
    queued = and_(jobs.c.status == JobStatus.QUEUED, jobs.c.model == model)
    # As text: most of them are the same few, and to parse them all would take longer than to read them.
    texts = [cast(column, Text) if column.name == "estimates" else column for column in _COLUMNS]
    rows = connection.execute(select(*texts).where(queued))
    parsed = functools.cache(json.loads)
    waiting = (
        _of_one(job_id, queue, owner, place, estimate_s, parsed(estimates), deadline)
        for job_id, queue, owner, place, estimate_s, estimates, deadline in rows
    )
    return Situation(
        now=now,
        waiting=(*waiting, *_abandoned(connection, clock, model)),
        at_work=in_hand(connection, clock),
        usage={pool: usage.recent(connection, pool, now) for pool in pools},
    )


def _waiting(connection: Connection, model: str, place: float) -> Iterator[Stretch]:
    for name in line.waiting_queues(connection, model):
        fit, priority, timed = queue_of(name)
        columns = [jobs.c.owner, func.min(jobs.c.rank), func.count(), func.sum(jobs.c.estimate_s)]
        # What the line's index does not hold is read only where it matters.
        columns += [func.avg(jobs.c.deadline)] if timed else []
        several = sorted(fit) if len(fit) > 1 else []
        columns += [func.sum(jobs.c.estimates[pool].as_float()) for pool in several]
        before = (jobs.c.rank <= place).label("before")
        mine = (jobs.c.status == JobStatus.QUEUED, jobs.c.model == model, jobs.c.queue == name)
        # By its label: as an expression its parameter would be another one than the column's.
        grouped = select(*columns, before).where(*mine).group_by(jobs.c.owner, "before")
        for owner, first, count, estimate_s, *rest in connection.execute(grouped):
            deadline = rest.pop(0) if timed else None
            seconds = dict(zip(several, rest, strict=False)) or dict.fromkeys(fit, estimate_s)
            yield Stretch(fit, priority, owner, first, count, estimate_s, seconds, deadline)


def _abandoned(connection: Connection, clock: StoreClock, model: str) -> Iterator[Stretch]:
    for row in connection.execute(select(*_COLUMNS).where(lapsed(clock), jobs.c.model == model)):
        yield _of_one(*row)


def _of_one(
    job_id: str,
    queue: str,
    owner: str,
    place: float,
    estimate_s: float,
    estimates: dict[str, float],
    deadline: float | None,
) -> Stretch:
    """Of a row with `_COLUMNS`."""
    fit, priority, _ = queue_of(queue)
    return Stretch(fit, priority, owner, place, 1, estimate_s, estimates, deadline, (job_id,))
