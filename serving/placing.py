"""The pools as placement sees them: what their cards hold, and how fast they are known to be.

Knows nothing of requests, HTTP or Ray.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Mapping, Sequence

from serving.absence import Absence
from serving.jobs.store import JobStore
from serving.pools import Card, ServedPool, compute_capability, memory_gib
from serving.scheduling.cost import Speed
from serving.scheduling.placement import Placement, Pool
from serving.settings import AUTO

SPEEDS_KEPT_S = 5.0

_Speeds = Mapping[tuple[str, str], Speed]


class Placeable:
    """The deployed pools over one store."""

    def __init__(self, store: JobStore, pools: Sequence[ServedPool]) -> None:
        self._store = store
        self._pools = pools
        self._speeds: tuple[float, _Speeds] = -math.inf, {}
        self._absence = Absence(pool.name for pool in pools if pool.settings.min_replicas != 0)

    def now(self) -> list[Pool]:
        """With their cards' memory: the class's, or for "auto" what the cards themselves reported."""
        reported = {worker.pool: worker.card for worker in self._store.workers(role="generator")}
        self.look(reported)
        speeds = self._known_speeds()
        return [_as_pool(pool, reported.get(pool.name), speeds) for pool in self._pools]

    def look(self, present: Collection[str | None]) -> None:
        """Note which pools have a live card."""
        self._absence.look(present, time.monotonic())

    def given_up(self, placement: Placement) -> bool:
        """Whether every pool that could take it has been without a card for so long that none is to be expected."""
        return self._absence.given_up(placement.pools, time.monotonic())

    def _known_speeds(self) -> _Speeds:
        """Measured speeds by model and card class, read every few seconds: a clip changes them by little."""
        read_at, speeds = self._speeds
        if time.monotonic() - read_at > SPEEDS_KEPT_S:
            speeds = {(row.model, row.card): row.calibration.speed for row in self._store.calibrations.every()}
            self._speeds = time.monotonic(), speeds
        return speeds


def _as_pool(pool: ServedPool, card: Card | None, speeds: _Speeds) -> Pool:
    model, known = pool.profile.name, pool.card_class(card)
    memory, capability = known.memory_gib, known.compute_capability
    if card is not None and pool.settings.card == AUTO:
        memory, capability = memory_gib(card), compute_capability(card)
    return Pool(pool.name, model, known.tflops, memory or None, speeds.get((model, known.name)), capability)
