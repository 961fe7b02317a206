"""The waiting jobs in the order of their ranks: the first of each group, by index, and which queues they stand in.

A queue is the waiting jobs of one model with one fit and priority, with or without a deadline; a group is those of
one owner in it. Every function runs inside the caller's transaction. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Float,
    FromClause,
    Integer,
    Select,
    Text,
    bindparam,
    func,
    literal,
    literal_column,
    select,
    union_all,
)

from serving.jobs.job import JobStatus
from serving.jobs.queue import queue_of
from serving.jobs.tables import jobs
from serving.scheduling.queueing import Head

OFFERED = 64
"""Heads that one claim looks at, and as many again where queues are crowded; each costs some 20 microseconds."""
LEAST_OWNERS = 4
"""Owners of each queue that it looks at, however many queues there are."""

# Written out: PostgreSQL's generic plan takes a limit that is a parameter for a tenth of all rows, and reads them all.
_ONE = literal_column("1", Integer)


class Turns:
    """At which owner the next look into a crowded queue begins, so that everybody's turn comes.

    Belongs to one process; when it is forgotten, the turns begin anew.
    """

    def __init__(self) -> None:
        self._next: dict[str, str] = {}

    def starts(self, queues: list[str]) -> list[str]:
        return [self._next.get(queue, "") for queue in queues]

    def advance(self, queue: str, owners: list[str], most: int) -> None:
        """After a look at `owners`, in order; fewer than `most` were the last of the alphabet."""
        self._next[queue] = owners[-1] if len(owners) >= most else ""


def heads(
    connection: Connection,
    pool: str,
    model: str,
    turns: Turns,
    taken: Collection[str] = (),
    within_s: float | None = None,
) -> list[Head]:
    """The first job of each group that `pool` may hold, leaving out the ids in `taken`.

    With `within_s` the first that is expected to take so long at most on the fastest pool that can hold it, and that no
    worker has tried yet: one that died of it could die of it again, and another job with it.

    Of a queue with more owners than can be looked at: the groups of the alphabet's first ones, and of as many others,
    who change from claim to claim.
    """
    able = [queue for queue in waiting_queues(connection, model) if queue_of(queue).may_go_to(pool)]
    if not able:
        return []
    most = max(LEAST_OWNERS, OFFERED // len(able))
    found = _first_of_each(connection, pool, model, able, [""] * len(able), most, taken, within_s)
    offered = {head.job_id: head for group in found.values() for head in group}
    crowded = [queue for queue in able if len(found[queue]) >= most]
    if crowded:
        found = _first_of_each(connection, pool, model, crowded, turns.starts(crowded), most, taken, within_s)
        for queue, others in found.items():
            turns.advance(queue, [head.owner for head in others], most)
            offered |= {head.job_id: head for head in others}
    return list(offered.values())


def is_long(connection: Connection, model: str, length: int) -> bool:
    """Whether at least so many jobs of `model` wait; counts no further."""
    some = select(jobs.c.seq).where(jobs.c.status == JobStatus.QUEUED, jobs.c.model == model).limit(length).subquery()
    return connection.scalar(select(func.count()).select_from(some)) == length


def waiting_queues(connection: Connection, model: str) -> list[str]:
    """The queues that any job of `model` waits in; one look into the index for each."""
    return list(connection.scalars(_queues_statement(), {"model": model}))


def _first_of_each(
    connection: Connection,
    pool: str,
    model: str,
    queues: list[str],
    starts: list[str],
    most: int,
    taken: Collection[str],
    within_s: float | None,
) -> dict[str, list[Head]]:
    values: dict[str, Any] = {"model": model, "most": most}
    values |= {f"queue_{number}": queue for number, queue in enumerate(queues)}
    values |= {f"start_{number}": owner for number, owner in enumerate(starts)}
    if taken:
        values["taken"] = list(taken)
    if within_s is not None:
        values["within_s"] = within_s
    found: dict[str, list[Head]] = {queue: [] for queue in queues}
    statement = heads_statement(pool, len(queues), bool(taken), within_s is not None)
    for job_id, queue, *rest in connection.execute(statement, values).all():
        fit, priority, _ = queue_of(queue)
        found[queue].append(Head(job_id, fit, priority, *rest))
    return found


@functools.lru_cache(maxsize=256)
def heads_statement(pool: str, queues: int, without_taken: bool = False, short: bool = False) -> Select[Any]:
    """Leaps through the index from an owner's first row to the next owner's, reading none between.

    Its parameters are `model`; `queue_0` and so on, with the owners `start_0` and so on to begin at; `most` owners of
    each; with `without_taken` the ids `taken`; and with `short` the seconds `within_s`.
    """

    def first(table: FromClause, queue: ColumnElement[str], owner: ColumnElement[bool]) -> Select[Any]:
        line = select(table.c.seq).where(*_waiting(table), table.c.queue == queue, owner)
        if without_taken:
            line = line.where(table.c.id.not_in(bindparam("taken", expanding=True)))
        if short:
            line = line.where(table.c.estimate_s <= bindparam("within_s", type_=Float), table.c.attempt == 0)
        return line.order_by(table.c.owner, table.c.rank, table.c.seq).limit(_ONE)

    estimate_s = func.coalesce(jobs.c.estimates[pool].as_float(), jobs.c.estimate_s).label("estimate_s")
    columns = (jobs.c.id, jobs.c.queue, jobs.c.owner, jobs.c.rank, estimate_s, jobs.c.deadline)
    begins = [
        first(jobs, bindparam(f"queue_{number}", type_=Text), jobs.c.owner >= bindparam(f"start_{number}", type_=Text))
        .with_only_columns(*columns, literal(1).label("nth"))
        .subquery()
        for number in range(queues)
    ]
    found = select(union_all(*map(select, begins)).subquery()).cte("heads", recursive=True)
    other = jobs.alias("other")
    following = first(other, found.c.queue, other.c.owner > found.c.owner)
    leap = jobs.c.seq == following.correlate(found).scalar_subquery()
    step = select(*columns, found.c.nth + 1).select_from(found.join(jobs, leap))
    found = found.union_all(step.where(found.c.nth < bindparam("most", type_=Integer)))
    return select(*(found.c[column.name] for column in columns)).order_by(found.c.nth)


@functools.cache
def _queues_statement() -> Select[Any]:
    def following(table: FromClause, *beyond: ColumnElement[bool]) -> Select[Any]:
        return select(table.c.queue).where(*_waiting(table), *beyond).order_by(table.c.queue).limit(_ONE)

    found: CTE = select(following(jobs).subquery()).cte("queues", recursive=True)
    other = jobs.alias("other")
    leap = following(other, other.c.queue > found.c.queue).correlate(found).scalar_subquery()
    found = found.union_all(select(leap).where(found.c.queue.is_not(None)))
    return select(found.c.queue).where(found.c.queue.is_not(None))


def _waiting(table: FromClause) -> list[ColumnElement[bool]]:
    return [table.c.status == JobStatus.QUEUED, table.c.model == bindparam("model", type_=Text)]
