"""What the service's scheduling is compared with: Ray Serve's own routing and autoscaling, as it comes.

Plays on virtual time as a `scheduling.policies.Policy`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serving.scheduling.capacity import PoolState
from serving.scheduling.policies import Task


@dataclass(frozen=True)
class ServeDefaults:
    """Ray Serve's autoscaling on ongoing requests, by the defaults that it documents."""

    target_ongoing_requests: float = 2.0
    upscale_delay_s: float = 30.0
    downscale_delay_s: float = 600.0


class RequestCounting:
    """First come, first served at each pool; as many cards as requests, whatever those cost.

    Each task goes to the smallest pool that can hold it, as routes by hand would have it: Serve itself does not know
    what a card can hold.
    """

    def __init__(self, sizes: Mapping[str, float], rules: ServeDefaults | None = None) -> None:
        """`sizes`: of a card of each pool, in any unit."""
        self.waiting, self.waiting_s = 0, 0.0
        self._sizes = sizes
        self._rules = rules or ServeDefaults()
        self._lines: dict[str, deque[Task]] = {pool: deque() for pool in sizes}
        self._since: dict[str, float] = {}
        self._now: dict[str, int] = {}

    def add(self, task: Task) -> None:
        home = min(task.seconds, key=self._sizes.__getitem__)
        self._lines[home].append(task)
        self.waiting += 1
        self.waiting_s += task.estimate_s

    def take(self, pool: str, now: float, within_s: float | None = None) -> Task | None:
        del now
        if within_s is not None or not self._lines[pool]:  # a replica of Serve's ends what it has begun
            return None
        task = self._lines[pool].popleft()
        self.waiting -= 1
        self.waiting_s -= task.estimate_s
        return task

    def sizes(self, now: float, pools: Sequence[PoolState]) -> dict[str, int]:
        for pool in pools:
            ongoing = len(self._lines[pool.name]) + pool.busy
            desired = math.ceil(ongoing / self._rules.target_ongoing_requests)
            desired = max(pool.least, min(pool.most, desired))
            present = self._now.setdefault(pool.name, pool.least)
            if ongoing and present == 0:
                # From zero Serve starts one at once.
                self._now[pool.name] = max(1, pool.least)
            elif desired == present:
                self._since.pop(pool.name, None)
            else:
                since = self._since.setdefault(pool.name, now)
                up = desired > present
                if now - since >= (self._rules.upscale_delay_s if up else self._rules.downscale_delay_s):
                    self._now[pool.name] = desired
                    self._since.pop(pool.name, None)
        return {pool.name: max(self._now[pool.name], pool.busy) for pool in pools}
