"""How many replicas each pool should have now: the store's backlog through `scheduling.capacity`, held for a while.

Knows nothing of Ray.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from serving.jobs.store import JobStore
from serving.scheduling.capacity import PoolState, Target, Waiting, replicas
from serving.scheduling.cards import CARDS
from serving.service import ServedPool


class Sizer:
    """Sizes pools from the waiting GPU-seconds; a card that is not needed any more is kept for `hold_s` seconds."""

    def __init__(
        self,
        store: JobStore,
        pools: Sequence[ServedPool],
        bounds: dict[str, tuple[int, int]],
        target: Target,
        hold_s: float,
    ) -> None:
        """`bounds` are each pool's least and most replicas."""
        self._store = store
        self._pools = pools
        self._bounds = bounds
        self._target = target
        self._hold_s = hold_s
        self._recent: deque[tuple[float, dict[str, int]]] = deque()

    def wanted(self, now: float) -> dict[str, int]:
        """Replicas by pool name; `now` is any clock's seconds that never goes back.

        Raises:
            StorageUnavailable: the store is out of reach.
        """
        backlog = self._store.backlog()
        running = Counter(worker.pool for worker in self._store.workers(role="generator"))
        states = [
            self._state(
                pool, running, backlog.running[pool.settings.name].jobs if pool.settings.name in backlog.running else 0
            )
            for pool in self._pools
        ]
        waiting = [Waiting(group.seconds or self._anywhere(group.model, group.estimate_s)) for group in backlog.groups]
        self._recent.append((now, replicas(states, waiting, self._target)))
        while self._recent[0][0] < now - self._hold_s:
            self._recent.popleft()
        return {pool.settings.name: max(past[pool.settings.name] for _, past in self._recent) for pool in self._pools}

    def _state(self, pool: ServedPool, running: Counter[str | None], busy: int) -> PoolState:
        name = pool.settings.name
        least, most = self._bounds[name]
        card = CARDS.get(pool.settings.card, CARDS["cpu"])
        return PoolState(name, card.memory_gib, least, most, running[name], min(busy, most))

    def _anywhere(self, model: str, seconds: float) -> dict[str, float]:
        return {pool.settings.name: seconds for pool in self._pools if pool.profile.name == model}
