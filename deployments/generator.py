"""One replica a card: takes a job at a time and hands its frames to the encoder, or helps with another card's."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, TypeVar

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.beating import Beat
from deployments.encoder import RECEIVED
from deployments.loading import load
from deployments.wiring import Wiring
from serving.assisting import Assistant
from serving.card_meter import CardMeter
from serving.card_speed import CardSpeed
from serving.engine.link import Door, Meeting
from serving.errors import I2VError, WorkerCrashed
from serving.jobs.job import Job
from serving.jobs.lease import JobLease
from serving.jobs.worker import Worker
from serving.logs import about
from serving.patience import Patience
from serving.pools import ServedPool
from serving.rendering import Rendered, Renderer

logger = logging.getLogger(__name__)
HANDOVERS = 3
T = TypeVar("T")


@serve.deployment(
    max_ongoing_requests=1,
    health_check_period_s=2,
    # Longer than the longest part of a clip: a replica that Serve takes down finishes the job it has. A clip of many
    # parts may take longer, and is then made anew by another one.
    graceful_shutdown_timeout_s=900,
)
class Generator:
    def __init__(self, wiring: Wiring, pool: ServedPool, encoder: DeploymentHandle[Any]) -> None:
        wiring.open_log()
        self._settings = wiring.settings
        self._encoder = encoder
        self._meter = CardMeter(wiring.metrics(), pool.settings.name)
        model = load(pool, wiring.settings, self._meter.compiled)
        model.warm_up()
        self._store = wiring.open_store()
        cost, least_step_s = pool.profile.cost, wiring.settings.step_timeout_s
        own = Patience(cost, lambda job, missing: self._give_up(job, TimeoutError(missing)), least_step_s)
        others = Patience(cost, lambda job, missing: self._exit(job, TimeoutError(missing)), least_step_s)
        self._renderer = Renderer(model, own, self._store, wiring.pictures(), self._meter)
        self._assistant = Assistant(model, others, self._meter)
        # A call ends a moment before the card is free, so that the next job is here in time, and one that is cancelled
        # frees Serve's slot although its thread still runs. So the card has a lock of its own.
        self._card = asyncio.Lock()
        # CUDA's libraries keep handles and workspaces for each thread that calls them.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="card")
        # One clip may be on its way to the encoder while the card works on the next.
        self._way_out = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._worker = Worker(
            id=serve.get_replica_context().replica_tag,
            role="generator",
            pool=pool.settings.name,
            model=pool.profile.name,
            card={
                "name": model.card.name,
                "memory_bytes": model.card.memory_bytes if model.card.own_memory else None,
                "compute_capability": model.card.compute_capability,
            },
        )
        self._beat = Beat(self._store, self._worker)
        self._speed = CardSpeed(self._store, pool.profile, pool.card_class(self._worker.card))
        logger.info("ready: %s on %s", pool.model, model.card.name)

    async def generate(self, job: Job, meeting: Meeting | None = None) -> None:
        """Returns once the card is free again, or will be in a moment: its frames are decoded, or the job has ended.

        Args:
            meeting: where a second card waits to help.
        """
        free = asyncio.Event()
        work = self._keep(self._work(job, meeting, free))
        work.add_done_callback(lambda _: free.set())
        await free.wait()
        if work.done():
            work.result()

    async def assist(self, job: Job, host: str) -> AsyncIterator[Meeting]:
        """Yields where the card that has the job finds this one; ends when it needs this one no more."""
        door, over = Door(host), threading.Event()
        work = self._keep(self._assist(job, door, over))
        try:
            yield door.meeting
            await asyncio.shield(work)
        finally:
            over.set()

    async def check_health(self) -> None:
        self._beat.check()

    async def __del__(self) -> None:
        """Serve awaits it where a replica is taken down, idle; no hook at the process's exit would run."""
        if "_beat" in vars(self):
            async with self._card, self._way_out:
                await asyncio.to_thread(self._beat.leave)

    async def _assist(self, job: Job, door: Door, over: threading.Event) -> None:
        with about(job.id), door:
            async with self._card:
                self._beat.say(replace(self._worker, assists=job.id))
                try:
                    await self._on_card(partial(self._assistant.assist, job, door, over.is_set))
                except Exception as error:
                    self._exit(job, error)
                finally:
                    self._beat.say(self._worker)

    async def _work(self, job: Job, meeting: Meeting | None, free: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()

        def nearly_free() -> None:
            loop.call_soon_threadsafe(free.set)

        # The lease first: a job that has to wait for the card must not lapse meanwhile.
        with about(job.id):
            async with JobLease(self._store, job, lease_s=self._settings.lease_s) as lease:
                try:
                    # The card may still be decoding the clip before.
                    prepared = await asyncio.to_thread(self._renderer.prepare, job, lease)
                    if prepared is None:
                        return
                    async with self._card:
                        rendered = await self._on_card(
                            partial(self._renderer.render, prepared, lease, nearly_free, meeting)
                        )
                        if rendered is None:
                            return
                        await self._way_out.acquire()
                except I2VError as error:
                    # The store is out of reach, not the card: the job waits again once its lease ends.
                    logger.warning("not settled: %s", error.message, extra={"code": error.code})
                    return
                except Exception as error:
                    await asyncio.to_thread(self._give_up, job, error)
                free.set()
                try:
                    await self._hand_over(job, rendered)
                except I2VError as error:
                    logger.warning("not handed over, nor put back: %s", error.message, extra={"code": error.code})
                finally:
                    self._way_out.release()
        if rendered.observation is not None:
            self._keep(asyncio.to_thread(self._speed.learn, rendered.observation))

    async def _on_card(self, work: Callable[[], T]) -> T:
        """What `work` gives, in the card's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, copy_context().run, work)

    def _give_up(self, job: Job, error: Exception) -> NoReturn:
        """End this process, whose card no longer answers; Serve starts another, and the job runs again."""
        logger.critical("the card is lost: %s", error, exc_info=error, extra={"job": job.id})
        try:
            self._store.release(
                job.id,
                job.attempt,
                reason_code=WorkerCrashed.code,
                reason="The card failed: " + str(error).partition("\n")[0],
                charge=True,
            )
        finally:
            os._exit(1)

    def _exit(self, job: Job, error: Exception) -> NoReturn:
        """As `_give_up`, where the job is another card's."""
        logger.critical("the card that helped is lost: %s", error, exc_info=error, extra={"job": job.id})
        os._exit(1)

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

    def _keep(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _drain(stream: Any) -> None:
    try:
        async for _ in stream:
            pass
    except RayError as error:
        logger.warning("encoder lost after hand-over; the job runs again when its lease ends: %s", error)
