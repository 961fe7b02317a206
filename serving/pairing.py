"""Which claimed jobs are to have a second card, by what the store knows just then. Knows nothing of HTTP or Ray."""

from __future__ import annotations

from collections.abc import Sequence

from serving.jobs.job import Job
from serving.jobs.store import JobStore
from serving.placing import Placeable
from serving.pools import ServedPool
from serving.scheduling.pairing import pays
from serving.scheduling.placement import place


class Pairing:
    """Decides over one store; reads only."""

    def __init__(self, store: JobStore, pools: Sequence[ServedPool]) -> None:
        self._store = store
        self._placeable = Placeable(store, pools)

    def wanted(self, job: Job, pool: ServedPool, now: float) -> bool:
        """Whether a second card of `pool`, a card of which has just claimed `job`, is to help with it.

        Args:
            now: epoch seconds.

        Raises:
            StorageUnavailable: the store is out of reach.
            DoesNotFit: the pool's cards cannot hold it by what is known of them.
        """
        if job.deadline is None or not job.request.guided:
            return False
        mine = [known for known in self._placeable.now() if known.name == pool.name]
        placement = place(job.request.shape, job.model, pool.profile.cost, mine)
        up = sum(worker.pool == pool.name for worker in self._store.workers(role="generator"))
        return pays(
            left_s=job.deadline - now,
            alone_s=placement.seconds[pool.name],
            shared_s=placement.shared.get(pool.name),
            idle=up - self._store.cards_at_work(pool.name),
            waiting=self._store.claimable(pool.name, pool.profile.name),
        )
