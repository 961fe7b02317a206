"""How many replicas each pool should have now: the store's backlog through `scheduling.capacity`, held for a while.

Knows nothing of Ray.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from serving.jobs.backlog import Backlog
from serving.jobs.store import JobStore
from serving.pools import ServedPool
from serving.scheduling.capacity import Held, PoolState, Target, Waiting, replicas
from serving.scheduling.cards import CARDS
from serving.settings import Settings


def target(settings: Settings) -> Target:
    return Target(settings.target_wait_s, 10 * settings.target_wait_s)


def wanted(
    pools: Sequence[ServedPool], backlog: Backlog, up: Mapping[str, int], aim: Target, also: Iterable[Waiting] = ()
) -> dict[str, int]:
    """Replicas by pool name for the backlog, and for what would wait `also`; `up` are those that run, by pool."""
    states = [_state(pool, up.get(pool.name, 0), backlog) for pool in pools]
    groups = [
        Waiting(group.seconds or _anywhere(pools, group.model, group.estimate_s), group.jobs)
        for group in backlog.groups
    ]
    return replicas(states, [*groups, *also], aim)


class Sizer:
    """Sizes pools from the waiting GPU-seconds; a card that is not needed any more is kept for `hold_s` seconds."""

    def __init__(self, store: JobStore, pools: Sequence[ServedPool], aim: Target, hold_s: float) -> None:
        self._store = store
        self._pools = pools
        self._aim = aim
        self._held = Held(hold_s)
        self.up: Mapping[str, int] = Counter()
        """Cards that were up at the last look, by pool; 0 of any other name."""

    def wanted(self, now: float, leaving: Collection[str] = ()) -> dict[str, int]:
        """Replicas by pool name.

        Args:
            now: any clock's seconds that never goes back.
            leaving: workers that are being stopped, or are gone and have a job on its way out; none of the cards that
                are up or at work, or an idle one would be kept beside them.

        Raises:
            StorageUnavailable: the store is out of reach.
        """
        workers = self._store.workers(role="generator")
        self.up = Counter(worker.pool or "" for worker in workers if worker.id not in leaving)
        return self._held.sizes(now, wanted(self._pools, self._store.backlog(leaving), self.up, self._aim))


def _state(pool: ServedPool, up: int, backlog: Backlog) -> PoolState:
    card = CARDS.get(pool.settings.card, CARDS["cpu"])
    return PoolState(pool.name, card.memory_gib, pool.least, pool.most, up, backlog.left_s.get(pool.name, ()))


def _anywhere(pools: Sequence[ServedPool], model: str, seconds: float) -> dict[str, float]:
    return {pool.name: seconds for pool in pools if pool.profile.name == model}
