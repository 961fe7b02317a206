"""What one pool has served, as virtual time goes on. Knows nothing of databases, clocks or Ray.

The store counts the same in its tables (`jobs.usage`); forecasts and simulations count it here.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict

from serving.scheduling.queueing import Usage, faded

_Account = tuple[str, bool, bool]
"""Owner; whether batch; whether with a deadline."""


class Tally:
    """Starts from `usage`, which fades from moment 0 on, in seconds of any clock that never goes back."""

    def __init__(self, usage: Usage | None = None) -> None:
        served = usage or Usage()
        self._by_owner = dict(served.by_owner)
        self._jobs = {owner: served.jobs.get(owner, math.inf) for owner in served.by_owner}
        self._batch_s, self._deadline_s = served.batch_s, served.deadline_s
        self._at = 0.0
        # Until when, whose, GPU seconds, of how many; the first to end first.
        self._running: list[tuple[float, _Account, float, int]] = []

    def charge(self, owner: str, gpu_s: float, *, batch: bool, timed: bool, until: float, jobs: int = 1) -> None:
        """Add jobs that run until `until`: up to then they count whole, and fade from there."""
        heapq.heappush(self._running, (until, (owner, batch, timed), gpu_s, jobs))

    def usage(self, at: float) -> Usage:
        """As it counts at `at`."""
        self._fade(at)
        by_owner, counts = defaultdict(float, self._by_owner), defaultdict(float, self._jobs)
        batch_s, deadline_s = self._batch_s, self._deadline_s
        for _, (owner, batch, timed), gpu_s, jobs in self._running:
            by_owner[owner] += gpu_s
            counts[owner] += jobs
            batch_s += batch * gpu_s
            deadline_s += timed * gpu_s
        return Usage(by_owner, batch_s, deadline_s, counts)

    def _fade(self, at: float) -> None:
        kept = faded(1.0, at - self._at)
        self._at = max(at, self._at)
        self._by_owner = {owner: gpu_s * kept for owner, gpu_s in self._by_owner.items()}
        self._jobs = {owner: jobs * kept for owner, jobs in self._jobs.items()}
        self._batch_s *= kept
        self._deadline_s *= kept
        while self._running and self._running[0][0] <= at:
            until, (owner, batch, timed), whole_s, jobs = heapq.heappop(self._running)
            gpu_s = faded(whole_s, at - until)
            self._by_owner[owner] = self._by_owner.get(owner, 0.0) + gpu_s
            self._jobs[owner] = self._jobs.get(owner, 0.0) + faded(jobs, at - until)
            self._batch_s += batch * gpu_s
            self._deadline_s += timed * gpu_s
