"""When a card at work does a shorter job first, between two steps of the one it is at.

A clip of minutes would else keep a preview of seconds waiting for as long as it has left. What it has done stays where
it is, so nothing is done twice. Standard library only; knows nothing of databases, models or Ray.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from serving.scheduling.queueing import Head

SHARE = 0.75
"""Of what a job is expected to take, how long it is put off at most, in all."""
RATIO = 2.0
"""A job gives way to such as take at most this part of its own time."""
MOST_S = 45.0
"""Seconds that a job is put off in all, where nobody says otherwise."""


def room_s(estimate_s: float, left_s: float, preempted_s: float, most_s: float = MOST_S) -> float:
    """The longest job that the one at work gives way to, in expected seconds on its card; none where that is 0 or less.

    Args:
        estimate_s: what the one at work is expected to take there.
        left_s: what of that is still to be done: what would take longer rather waits for its end.
        preempted_s: how long it has been put off so far.
        most_s: how long it may be put off in all.
    """
    return min(min(SHARE * estimate_s, most_s) - preempted_s, estimate_s / RATIO, left_s)


@dataclass(frozen=True, slots=True)
class AtWork:
    """One card's work in hand, seconds on that card."""

    left_s: float
    """Until it is free."""
    estimate_s: float = 0.0
    """Of its job, in all."""
    preempted_s: float = 0.0
    """How long that was put off before."""
    another_s: float = 0.0
    """What is left of a shorter job that it does first."""
    gives_way: bool = False
    """Whether its job may be put off."""

    def room_s(self, most_s: float) -> float:
        """As `room_s`, once it has done what it does first."""
        if not self.gives_way:
            return 0.0
        return room_s(self.estimate_s, self.left_s - self.another_s, self.preempted_s + self.another_s, most_s)


def preempting(heads: Iterable[Head], within_s: float) -> list[Head]:
    """Those that may put off a job at work which gives way to jobs of `within_s`: batch jobs never do."""
    return [head for head in heads if head.priority != "batch" and head.estimate_s <= within_s]
