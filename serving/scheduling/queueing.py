"""Which waiting job a free card takes next. Standard library only; knows nothing of databases, models or Ray.

Two orders work together. Inside a group (one fit, priority, owner, and with or without a deadline) jobs go by
`rank`, which never changes once a job is accepted, so that a database finds each group's head in an index. Among
the heads, `choose` decides anew for every card. What follows for waiting:

- inside a group a job is never passed by one accepted after its rank: one of w expected seconds is passed for
  `PATIENCE * w` seconds at most, and for `DELAY_S` more in batch;
- while several owners wait, what one of them was served more than another, beyond `QUANTUM_S`, its jobs wait longer;
  it is forgotten by half every `HALF_LIFE_S`, so no owner waits for ever. A short job of an owner who was served much
  may still pass a long one that can wait: that is what keeps short jobs short among many owners. For the same reason
  a long job counts little against its owner's short ones, which puts their share at twice another's at most;
- batch jobs past their rank stand in one line with interactive ones until they have had `BATCH_SHARE` of a pool,
  and deadlines overtake until theirs have had `DEADLINE_SHARE` of it: none of the three starves the others;
- a card that could hold a waiting job is never left idle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

PATIENCE = 4.0
"""Seconds that a job lets later ones pass, for each second it is expected to take."""
DELAY_S: Mapping[str, float] = {"interactive": 0.0, "batch": 1800.0}
"""Seconds that a job of each priority lets later ones pass on top."""
DEADLINE_SLACK = 2.0
"""A job with a deadline starts this many times its expected seconds ahead of it: itself, and one like it before."""
BATCH_SHARE = 0.2
"""Part of a pool's recent GPU seconds up to which batch jobs past their rank stand beside interactive ones."""
DEADLINE_SHARE = 0.5
"""Part of a pool's recent GPU seconds up to which jobs overtake for their deadlines' sake."""
QUANTUM_S = 60.0
"""GPU seconds that one owner may be ahead of another before its jobs wait longer for it."""
HALF_LIFE_S = 900.0
"""Seconds in which served GPU seconds count for half."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first job of a group, as one pool sees it. Moments are epoch seconds."""

    job_id: str
    fit: frozenset[str]
    """Names of the pools that can hold it; empty where that is not known, and any pool of its model may try."""
    priority: str
    owner: str
    rank: float
    estimate_s: float
    """Expected GPU seconds on a card of this pool."""
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """GPU seconds that a pool served lately, as `faded`; running jobs count with what they are expected to take."""

    by_owner: Mapping[str, float] = field(default_factory=dict)
    batch_s: float = 0.0
    deadline_s: float = 0.0
    """Of jobs with a deadline, batch or not."""
    jobs: Mapping[str, float] = field(default_factory=dict)
    """By owner, how many jobs that was, as `faded`; of an owner who is not named, any number of short ones."""

    @property
    def total_s(self) -> float:
        return sum(self.by_owner.values())

    def beside_s(self, owner: str, estimate_s: float) -> float:
        """What the owner was served, as it counts against a job of `estimate_s`: each job for that long at most."""
        whole_s = self.by_owner.get(owner, 0.0)
        return min(whole_s, self.jobs[owner] * estimate_s) if owner in self.jobs else whole_s


def rank(accepted: float, estimate_s: float, priority: str, deadline: float | None = None) -> float:
    """Where a job stands in its group; the lowest goes first.

    Shortest expected work first, with ageing: by its rank a job of `estimate_s` has waited `PATIENCE * estimate_s`
    seconds, and `DELAY_S` more in batch. A deadline lowers the rank to the moment the job has to start by, but
    never below `accepted`: a job accepted after another's rank stays behind it, whatever it asks.

    Args:
        accepted: epoch seconds.
        estimate_s: expected GPU seconds on the fastest card that can hold it.
        priority: a key of `DELAY_S`.
        deadline: epoch seconds by which the job should have ended.
    """
    due = accepted + PATIENCE * estimate_s + DELAY_S[priority]
    if deadline is None:
        return due
    return min(due, max(accepted, deadline - DEADLINE_SLACK * estimate_s))


def choose(heads: Iterable[Head], pool: str, now: float, usage: Usage | None = None) -> Head | None:
    """The head that a free card of `pool` takes; None where it can hold none of them.

    In this order: interactive jobs, with due batch jobs and deadlines while they are within their shares; jobs
    that fewer pools can hold, unless one of the others is due; deadlines that have come close, of owners who were not
    served more than others lately; jobs that can wait least, by their ranks and what their owners were served.

    Args:
        now: epoch seconds.
        usage: of this pool; nothing served by default.
    """
    served = usage or Usage()
    able = [head for head in heads if not head.fit or pool in head.fit]
    if not able:
        return None
    least_s = min(served.by_owner.get(head.owner, 0.0) for head in able)
    late = {(head.fit, head.priority) for head in able if now >= head.rank or _is_close(head, now)}
    return min(able, key=lambda head: _order(head, now, served, least_s, late))


def _order(
    head: Head, now: float, usage: Usage, least_s: float, late: set[tuple[frozenset[str], str]]
) -> tuple[bool, float, bool, float, float, str]:
    ahead_s = usage.beside_s(head.owner, head.estimate_s) - least_s
    close = _is_close(head, now) and _within(usage.deadline_s, DEADLINE_SHARE, usage)
    due = now >= head.rank and _within(usage.batch_s, BATCH_SHARE, usage)
    second_class = head.priority == "batch" and not (close or due)
    # One late job shows that its other pools fall behind with all of its kind; a late batch job says nothing of
    # interactive ones. Where nobody knows which pools can hold a job, it can wait for any of them.
    width = 1.0 if (head.fit, head.priority) in late else float(len(head.fit) or "inf")
    # How long it can wait for others: what is left of its patience, and what its owner was served more than they.
    can_wait_s = max(0.0, head.rank - now) + max(0.0, ahead_s - QUANTUM_S)
    return second_class, width, not (close and ahead_s <= QUANTUM_S), can_wait_s, head.rank, head.job_id


def _is_close(head: Head, now: float) -> bool:
    """Whether this card has to start the job now to end it in time; true of a missed deadline too."""
    return head.deadline is not None and now >= head.deadline - DEADLINE_SLACK * head.estimate_s


def _within(served_s: float, share: float, usage: Usage) -> bool:
    return served_s <= share * usage.total_s


def faded(gpu_s: float, elapsed_s: float) -> float:
    """What `gpu_s` served GPU seconds count for `elapsed_s` seconds later."""
    return float(gpu_s * 0.5 ** (max(0.0, elapsed_s) / HALF_LIFE_S))
