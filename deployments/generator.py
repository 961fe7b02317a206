"""One replica a card: does a job, a shorter one between two of its steps, or half of another card's."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, TypeVar

from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.beating import Beat
from deployments.loading import load
from deployments.way_out import WayOut
from deployments.wiring import Wiring
from serving.assisting import Assistant
from serving.card_meter import CardMeter
from serving.card_speed import CardSpeed
from serving.engine.link import Door, Meeting
from serving.errors import I2VError, InsufficientGpuMemory, WorkerCrashed
from serving.giving_way import GivingWay, gives_way
from serving.jobs.job import Job
from serving.jobs.lease import JobLease
from serving.jobs.worker import Worker
from serving.logs import about
from serving.patience import Patience
from serving.pools import ServedPool
from serving.rendering import Renderer

logger = logging.getLogger(__name__)
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
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._put_off: Job | None = None
        """The job at work while a shorter one is done."""
        self._worker = Worker(
            id=wiring.worker(pool, serve.get_replica_context().replica_tag),
            role="generator",
            pool=pool.settings.name,
            model=pool.profile.name,
            card={
                "name": model.card.name,
                "memory_bytes": model.card.memory_bytes if model.card.own_memory else None,
                "compute_capability": model.card.compute_capability,
            },
        )
        speed = CardSpeed(self._store, pool.profile, pool.card_class(self._worker.card))
        self._way_out = WayOut(self._store, encoder, self._meter, speed)
        self._beat = Beat(self._store, self._worker)
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
            async with self._card, self._way_out.lock:
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
        def nearly_free() -> None:
            self._loop.call_soon_threadsafe(free.set)

        # The lease first: a job that has to wait for the card must not lapse meanwhile.
        with about(job.id):
            async with JobLease(self._store, job, lease_s=self._settings.lease_s) as lease:
                try:
                    # The card may still be decoding the clip before.
                    prepared = await asyncio.to_thread(self._renderer.prepare, job, lease)
                    if prepared is None:
                        return
                    async with self._card, self._giving_way(job, lease, meeting) as giving_way:
                        rendered = await self._on_card(
                            partial(self._renderer.render, prepared, lease, nearly_free, meeting, giving_way)
                        )
                        if rendered is None:
                            return
                        await self._way_out.lock.acquire()
                except I2VError as error:
                    # The store is out of reach, not the card: the job waits again once its lease ends.
                    logger.warning("not settled: %s", error.message, extra={"code": error.code})
                    return
                except Exception as error:
                    await asyncio.to_thread(self._give_up, job, error)
                free.set()
                await self._way_out.bring(job, rendered)

    @asynccontextmanager
    async def _giving_way(self, job: Job, lease: JobLease, meeting: Meeting | None) -> AsyncIterator[GivingWay | None]:
        """To shorter jobs, while the card works on `job`; None where it gives way to none."""
        if not gives_way(job, self._settings.preempt_s) or meeting is not None:
            yield None
            return

        def claim(within_s: float) -> Job | None:
            if self._way_out.lock.locked():
                return None  # its frames would have to wait, and the card with them
            pool, lease_s = self._worker.pool or "", self._settings.lease_s
            return self._store.claim(pool, job.model, self._worker.id, lease_s, within_s=within_s, preempts=job.id)

        giving_way = GivingWay(self._store, job, self._settings.preempt_s, claim, partial(self._do_first, job, lease))
        looking = asyncio.create_task(giving_way.keep_looking())
        try:
            yield giving_way
        finally:
            looking.cancel()

    def _do_first(self, longer: Job, longer_lease: JobLease, job: Job) -> bool:
        """Do `job` between two steps of a longer one, in the card's thread; False where there was no room for it."""
        with about(job.id), longer_lease.paused(), ExitStack() as held:
            self._put_off = longer
            try:
                self._meter.claimed(job)
                lease = held.enter_context(JobLease(self._store, job, lease_s=self._settings.lease_s))
                prepared = self._renderer.prepare(job, lease)
                rendered = None if prepared is None else self._renderer.render(prepared, lease)
                if rendered is None:
                    return True
                asyncio.run_coroutine_threadsafe(self._way_out.lock.acquire(), self._loop).result()
            except InsufficientGpuMemory:
                return False
            except I2VError as error:
                logger.warning("not settled: %s", error.message, extra={"code": error.code})
                return True
            except Exception as error:
                self._give_up(job, error)
            finally:
                self._put_off = None
            self._loop.call_soon_threadsafe(self._keep, self._way_out.bring(job, rendered, held.pop_all().close))
        return True

    async def _on_card(self, work: Callable[[], T]) -> T:
        """What `work` gives, in the card's own thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, copy_context().run, work)

    def _give_up(self, job: Job, error: Exception) -> NoReturn:
        """End this process, whose card no longer answers; Serve starts another, and the job runs again."""
        logger.critical("the card is lost: %s", error, exc_info=error, extra={"job": job.id})
        try:
            reason = "The card failed: " + str(error).partition("\n")[0]
            self._put_back(job, reason, charge=True)
            if (longer := self._put_off) is not None and longer.id != job.id:
                self._put_back(longer, "The card failed under another job.", charge=False)
        finally:
            os._exit(1)

    def _put_back(self, job: Job, reason: str, *, charge: bool) -> None:
        self._store.release(job.id, job.attempt, reason_code=WorkerCrashed.code, reason=reason, charge=charge)

    def _exit(self, job: Job, error: Exception) -> NoReturn:
        """As `_give_up`, where the job is another card's."""
        logger.critical("the card that helped is lost: %s", error, exc_info=error, extra={"job": job.id})
        os._exit(1)

    def _keep(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
