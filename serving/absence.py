"""Which pools have been without a card for so long that it makes no sense to wait for them.

Knows nothing of jobs, HTTP or Ray.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

GIVEN_UP_S = 600.0
"""So long without a card, seconds. A crash costs a pool some ten seconds, a first start with its download minutes."""


LOOKS_S = 60.0
"""Looks further apart than this, seconds, say nothing of what was between them."""


class Absence:
    """Counts from the first of looks in a row that find a pool empty: who looks seldom gives up late, or never."""

    def __init__(self, pools: Iterable[str]) -> None:
        """`pools` are those that should have a card at any time; others may sleep, and are never given up."""
        self._since: dict[str, float | None] = dict.fromkeys(pools)
        self._looked = 0.0

    def look(self, present: Collection[str | None], now: float) -> None:
        """Note which pools have a live card; `now` is any clock's seconds that never goes back."""
        stale = now - self._looked > LOOKS_S
        self._looked = now
        for pool, since in self._since.items():
            self._since[pool] = None if pool in present else now if since is None or stale else since

    def given_up(self, pools: Iterable[str], now: float) -> bool:
        """Whether all of these pools are."""
        emptied = (self._since.get(pool) for pool in pools)
        return all(since is not None and now - since >= GIVEN_UP_S for since in emptied)
