"""The use cases over one store and its storages, by subject. Knows no HTTP and no Ray."""

from __future__ import annotations

import asyncio

from serving.admission import Admission
from serving.feed import Feed
from serving.intake import Intake, Prepare
from serving.jobs.store import JobStore
from serving.keyring import KeyRing
from serving.metrics import UNMEASURED, Metrics
from serving.models import Models
from serving.placing import Placeable
from serving.pools import ServedPool
from serving.quoting import Quoter
from serving.roster import Roster, roster
from serving.settings import Settings
from serving.storage import Storage
from serving.timetable import Timetable
from serving.videos import Videos


class VideoService:
    """Its parts are safe to call from many tasks at once."""

    def __init__(
        self,
        *,
        settings: Settings,
        pools: tuple[ServedPool, ...],
        store: JobStore,
        pictures: Storage,
        outputs: Storage,
        prepare: Prepare,
        metrics: Metrics = UNMEASURED,
    ) -> None:
        self._store = store
        self._pools = pools
        self._placeable = Placeable(store, pools)
        self.keyring = KeyRing(store.keys, required=settings.require_keys)
        self.models = Models(pools, settings.revision)
        self.admission = Admission(store, settings, pools, self._placeable, (pictures, outputs))
        timetable = Timetable(store, settings, pools, self._placeable)
        feed = Feed(store, metrics)
        self.videos = Videos(store, outputs, timetable, feed, metrics, output_prefix=settings.output_prefix)
        self.intake = Intake(
            store,
            settings,
            self.models,
            self._placeable,
            self.admission,
            Quoter(store, settings, pools),
            self.videos,
            pictures,
            prepare,
            metrics,
        )

    async def roster(self) -> Roster:
        """Every pool as it is now, and all that waits."""
        return await asyncio.to_thread(roster, self._store, self._pools, self._placeable)
