"""The CPU stage behind the cards: takes frames, publishes the clip."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from ray import serve

from deployments.wiring import Wiring
from serving.jobs.job import Job
from serving.jobs.lease import JobLease
from serving.logs import about
from serving.publishing import Publisher

RECEIVED, DONE = "received", "done"


@serve.deployment(
    name="Encoder",
    max_ongoing_requests=2,
    health_check_period_s=2,
    graceful_shutdown_timeout_s=300,
    ray_actor_options={"num_cpus": 0},
)
class Encoder:
    def __init__(self, wiring: Wiring) -> None:
        wiring.open_log()
        self._settings = wiring.settings
        self._store = wiring.open_store()
        self._publisher = Publisher(
            self._store, wiring.outputs(), self._settings.output_prefix, self._settings.retention_s, wiring.metrics()
        )

    async def encode(self, job: Job, frames: np.ndarray, recipe: dict[str, Any]) -> AsyncIterator[str]:
        """Yields `RECEIVED` once the frames are here (the card may send its next then), and `DONE` at the end."""
        # A task of its own: the clip is published even if the card that waits for DONE dies.
        publishing = asyncio.create_task(asyncio.to_thread(self._publish, job, frames, recipe))
        yield RECEIVED
        await asyncio.shield(publishing)
        yield DONE

    def _publish(self, job: Job, frames: np.ndarray, recipe: dict[str, Any]) -> None:
        with (
            about(job.id),
            JobLease(self._store, job, lease_s=self._settings.lease_s) as lease,
        ):
            self._publisher.publish(job, frames, recipe, lease)
