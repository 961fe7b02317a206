"""What the service takes now, and what not: by its cards, its disk and the room in its queue.

Knows nothing of HTTP or Ray, and not what a request is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from serving.errors import I2VError, RateLimited, ServerOverloaded, StorageUnavailable
from serving.jobs.store import JobStore
from serving.keyring import Caller
from serving.placing import Placeable
from serving.pools import ServedPool
from serving.scheduling.placement import Placement
from serving.settings import Settings
from serving.storage import Storage


class Admission:
    """Over one store, and the storages that a job needs room in."""

    def __init__(
        self,
        store: JobStore,
        settings: Settings,
        pools: Sequence[ServedPool],
        placeable: Placeable,
        storages: Sequence[Storage],
    ) -> None:
        self._store = store
        self._settings = settings
        self._pools = pools
        self._placeable = placeable
        self._storages = storages

    def check(self, placement: Placement) -> None:
        """
        Raises:
            ServerOverloaded: no card that could take it is to be expected. StorageUnavailable: the disk is nearly full.
        """
        if self._placeable.given_up(placement):
            raise ServerOverloaded("No card that can hold this is there; try again later.", retry_after_s=60)
        if self._nearly_full():
            raise StorageUnavailable("The disk is nearly full; try again later.", retry_after_s=60)

    def refusal(self, placement: Placement, caller: Caller) -> I2VError | None:
        """What a submission would be answered now; None where it would be taken."""
        try:
            self.check(placement)
            self._store.check_room(caller.owner, **self.bounds(caller))
        except (RateLimited, ServerOverloaded, StorageUnavailable) as error:
            return error
        return None

    def bounds(self, caller: Caller) -> dict[str, Any]:
        """What the store holds a new job of the caller's against."""
        return {
            "max_waiting": self._settings.max_waiting_jobs,
            "max_waiting_s": self._settings.max_waiting_s,
            "max_owner_s": self._settings.max_owner_s,
            "max_owner_day_s": caller.daily_gpu_s,
        }

    async def not_ready(self) -> list[str]:
        """Why the service cannot take work now, one sentence a reason; empty when it can."""
        return await asyncio.to_thread(self._not_ready)

    def _not_ready(self) -> list[str]:
        self._store.ping()
        workers = self._store.workers()
        reasons = []
        if not any(worker.role == "dispatcher" for worker in workers):
            reasons.append("The dispatcher is not running.")
        live = {worker.pool for worker in workers if worker.role == "generator"}
        self._placeable.look(live)
        # A pool that may sleep is woken by the first job.
        able = [p for p in self._pools if p.settings.name in live or p.settings.min_replicas == 0]
        if not able:
            reasons.append("No card is ready yet.")
        if self._nearly_full():
            reasons.append("The disk is nearly full.")
        return reasons

    def _nearly_full(self) -> bool:
        rooms = (storage.free_bytes() for storage in self._storages)
        return any(room is not None and room < self._settings.disk_reserve_bytes for room in rooms)
