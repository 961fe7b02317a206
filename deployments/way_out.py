"""From a card to the encoder: one clip at a time, while the card works on the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.encoder import RECEIVED
from serving.card_meter import CardMeter
from serving.card_speed import CardSpeed
from serving.errors import I2VError, WorkerCrashed
from serving.jobs.job import Job
from serving.jobs.store import JobStore
from serving.rendering import Rendered

logger = logging.getLogger(__name__)
HANDOVERS = 3


class WayOut:
    """Of one card."""

    def __init__(self, store: JobStore, encoder: DeploymentHandle[Any], meter: CardMeter, speed: CardSpeed) -> None:
        self._store, self._encoder, self._meter, self._speed = store, encoder, meter, speed
        self._tasks: set[asyncio.Task[None]] = set()
        self.lock = asyncio.Lock()
        """Held by the clip that is on its way."""

    async def bring(self, job: Job, rendered: Rendered, then: Callable[[], object] = lambda: None) -> None:
        """A clip for which the lock was acquired; `then` may block.

        What fails is logged, and the job waits again: at once, or once its lease ends.
        """
        try:
            await self._hand_over(job, rendered)
        except I2VError as error:
            logger.warning("not handed over, nor put back: %s", error.message, extra={"code": error.code})
        finally:
            self.lock.release()
            await asyncio.to_thread(then)
        if rendered.observation is not None:
            self._keep(asyncio.to_thread(self._speed.learn, rendered.observation))

    async def _hand_over(self, job: Job, rendered: Rendered) -> None:
        for attempt in range(1, HANDOVERS + 1):
            stream = self._encoder.options(stream=True).encode.remote(job, rendered.frames, rendered.recipe)
            try:
                assert await anext(stream) == RECEIVED
            except (RayError, RayServeException, StopAsyncIteration) as error:
                # The frames are still here, and they are what the job costs: another encoder may take them.
                logger.warning("encoder lost at hand-over %d of %d: %s", attempt, HANDOVERS, error)
            else:
                self._keep(_drain(stream))
                return
        self._meter.failed(job.model, WorkerCrashed.code)
        await asyncio.to_thread(
            self._store.release,
            job.id,
            job.attempt,
            reason_code=WorkerCrashed.code,
            reason="No encoder took the frames.",
            charge=True,
        )

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _drain(stream: Any) -> None:
    try:
        async for _ in stream:
            pass
    except RayError as error:
        logger.warning("encoder lost after hand-over; the job runs again when its lease ends: %s", error)
