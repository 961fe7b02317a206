"""The gauges that only the job store can tell: what waits for each pool, and which cards are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from serving.jobs.store import JobStore
from serving.metrics import CARDS, QUEUE_JOBS, QUEUE_SECONDS, Metrics
from serving.parameters import Priority
from serving.pools import ServedPool


def refresh(store: JobStore, pools: Sequence[ServedPool], metrics: Metrics) -> None:
    """Set the queue's and the cards' gauges of every pool, zeros included.

    Raises:
        StorageUnavailable: the store is out of reach.
    """
    backlog = store.backlog()
    cards = Counter(worker.pool for worker in store.workers(role="generator"))
    for pool in pools:
        name = pool.settings.name
        metrics.set(CARDS, cards[name], pool=name)
        for priority in get_args(Priority):
            work = backlog.waiting(name, pool.profile.name, priority)
            metrics.set(QUEUE_JOBS, work.jobs, pool=name, priority=priority)
            metrics.set(QUEUE_SECONDS, work.gpu_s, pool=name, priority=priority)
