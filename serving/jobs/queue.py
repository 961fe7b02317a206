"""The name of the queue a job waits in, as its row holds it. Knows nothing of databases, HTTP, Ray or video."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

_DEADLINE = "deadline"


class Queue(NamedTuple):
    """What all jobs of one queue have in common, apart from their model."""

    fit: frozenset[str]
    """Names of the pools that can hold them; empty where that is not known."""
    priority: str
    timed: bool
    """Whether they have deadlines; those stand apart, so that one that comes close is seen."""

    def may_go_to(self, pool: str) -> bool:
        """Whether `pool`, which serves their model, may take them."""
        return not self.fit or pool in self.fit

    def rivals(self, other: Queue) -> bool:
        """Whether some pool may take jobs of both."""
        return not self.fit or not other.fit or not self.fit.isdisjoint(other.fit)


def queue_name(fit: Iterable[str], priority: str, *, timed: bool) -> str:
    """Such as "a100,h100/batch/deadline". Pools' names hold neither commas nor slashes."""
    return "/".join((",".join(sorted(fit)), priority, *([_DEADLINE] if timed else [])))


@functools.lru_cache(maxsize=1024)
def queue_of(name: str) -> Queue:
    fit, priority, *rest = name.split("/")
    return Queue(frozenset(fit.split(",") if fit else ()), priority, _DEADLINE in rest)
