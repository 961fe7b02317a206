"""What one pool has served, as virtual time goes on. Knows nothing of databases, clocks or Ray.

The store keeps the same in a table (`jobs.usage`); forecasts and simulations keep it here.
"""

from __future__ import annotations

from serving.scheduling.queueing import Usage, faded


class Tally:
    """Starts from `usage` at moment 0, in seconds of any clock that never goes back."""

    def __init__(self, usage: Usage | None = None) -> None:
        served = usage or Usage()
        self._by_owner = dict(served.by_owner)
        self._batch_s, self._deadline_s = served.batch_s, served.deadline_s
        self._at = 0.0

    def usage(self, at: float) -> Usage:
        """As it counts at `at`."""
        kept = faded(1.0, at - self._at)
        self._at = at
        self._by_owner = {owner: gpu_s * kept for owner, gpu_s in self._by_owner.items()}
        self._batch_s *= kept
        self._deadline_s *= kept
        return Usage(self._by_owner, self._batch_s, self._deadline_s)

    def charge(self, owner: str, gpu_s: float, *, batch: bool, timed: bool) -> None:
        """Add a job that begins now."""
        self._by_owner[owner] = self._by_owner.get(owner, 0.0) + gpu_s
        self._batch_s += gpu_s if batch else 0.0
        self._deadline_s += gpu_s if timed else 0.0
