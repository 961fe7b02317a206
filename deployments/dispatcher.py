"""One loop a pool: while something is claimable, reserve a card, then choose its job."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.handle import DeploymentHandle

from deployments.aftermath import Aftermath, aftermath
from deployments.autoscaling import STAT
from deployments.beating import Beat
from deployments.couriering import Couriering
from deployments.departures import leaving
from deployments.partners import Partners
from deployments.pools import deployment_of
from deployments.wiring import Wiring
from serving import gauges
from serving.card_meter import CardMeter
from serving.engine.link import Meeting
from serving.errors import I2VError, WorkerCrashed
from serving.jobs.job import Job
from serving.jobs.worker import Worker
from serving.logs import about
from serving.metrics import FAILURES
from serving.pools import ServedPool
from serving.retention import Policy, Reaper
from serving.sizing import Sizer, target

logger = logging.getLogger(__name__)
POLL_S = 0.1
BACKOFF_S = 1.0
# Ray drops a gauge that is not set again within 20 s.
GAUGES_S = 1.0
REAP_EVERY_S = 60.0
SIZE_EVERY_S = 0.5


@dataclass
class _Errand:
    """A job for a card."""

    card: str = ""
    """The replica that Serve has chosen."""
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the card has its job, or gets none."""


@serve.deployment(name="Dispatcher", health_check_period_s=2, ray_actor_options={"num_cpus": 0})
class Dispatcher:
    """Holds nothing that matters: all it knows is in the job store, and results do not pass through it."""

    def __init__(self, wiring: Wiring, generators: dict[str, DeploymentHandle[Any]]) -> None:
        wiring.open_log()
        self._wiring = wiring
        self._settings = wiring.settings
        self._store = wiring.open_store()
        self._metrics = wiring.metrics()
        self._store.adopt({pool.settings.name: pool.profile.name for pool in wiring.pools})
        self._partners = Partners(self._store, wiring.pools)
        self._at_work: dict[str, dict[asyncio.Task[None], _Errand]] = {pool.settings.name: {} for pool in wiring.pools}
        self._beat = Beat(self._store, Worker(id=serve.get_replica_context().replica_tag, role="dispatcher"))
        self._loops = [
            asyncio.get_running_loop().create_task(self._serve_pool(pool, generators[pool.settings.name]))
            for pool in wiring.pools
        ]
        self._loops.append(asyncio.get_running_loop().create_task(self._keep_gauges()))
        policy = Policy(self._settings.retention_s, self._settings.record_s)
        aim = target(self._settings)
        self._sizer = Sizer(self._store, wiring.pools, aim, self._settings.scale_down_after_s)
        self._wanted = {pool.name: pool.least for pool in wiring.pools}
        self._loops.append(asyncio.get_running_loop().create_task(self._size()))
        self._reaper = Reaper(self._store, wiring.pictures(), wiring.outputs(), wiring.job_logs(), policy)
        self._loops.append(asyncio.get_running_loop().create_task(self._reap()))
        courier = wiring.courier(self._store, self._metrics)
        self._couriering = None if courier is None else Couriering(courier)

    async def check_health(self) -> None:
        self._beat.check()
        if self._couriering is not None:
            self._couriering.check()
        if any(loop.done() for loop in self._loops):
            raise RuntimeError("a loop has stopped")

    def record_autoscaling_stats(self) -> dict[str, float]:
        """How many replicas each generator should have: what `autoscaling.FollowDispatcher` reads."""
        pools = (pool.settings for pool in self._wiring.pools)
        return {STAT + deployment_of(pool): float(self._wanted[pool.name]) for pool in pools}

    async def _size(self) -> None:
        while True:
            try:
                names = {self._wiring.worker(pool, replica) for pool in self._wiring.pools for replica in leaving()}
                self._wanted = await asyncio.to_thread(self._sizer.wanted, time.monotonic(), names)
            except I2VError as error:
                logger.warning("pools keep their sizes: %s", error.message)
            await asyncio.sleep(SIZE_EVERY_S)

    async def _keep_gauges(self) -> None:
        while True:
            try:
                await asyncio.to_thread(gauges.refresh, self._store, self._wiring.pools, self._metrics)
            except I2VError as error:
                logger.warning("no gauges: %s", error.message)
            await asyncio.sleep(GAUGES_S)

    async def _reap(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._reaper.run, time.time())
            except Exception:
                # What cannot be removed must not stop what can be rendered.
                logger.exception("retention")
            await asyncio.sleep(REAP_EVERY_S)

    async def _serve_pool(self, pool: ServedPool, cards: DeploymentHandle[Any]) -> None:
        name, model = pool.settings.name, pool.profile.name
        at_work = self._at_work[name]
        while True:
            try:
                # Serve would ask the cards fifty times a second whether one is free; here it is known when one is.
                gone = leaving()
                if at_work and sum(one.card not in gone for one in at_work.values()) >= self._sizer.up[name]:
                    await asyncio.wait(at_work, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
                    continue
                # To wait for a card of a sleeping pool wakes it: only when it is wanted.
                if not self._wanted[name] or not await asyncio.to_thread(self._store.claimable, name, model):
                    await asyncio.sleep(POLL_S)
                    continue
                # One card at a time is waited for; a further one only once this one has its job.
                errand = _Errand()
                task = asyncio.create_task(self._serve_card(pool, cards, errand))
                at_work[task] = errand
                task.add_done_callback(at_work.pop)
                await errand.settled.wait()
            except I2VError as error:
                logger.warning("pool %s: %s", pool.settings.name, error.message)
                await asyncio.sleep(BACKOFF_S)

    async def _serve_card(self, pool: ServedPool, cards: DeploymentHandle[Any], errand: _Errand) -> None:
        job: Job | None = None
        try:
            async with cards.options(method_name="generate").choose_replica() as card:
                errand.card = card.replica_id
                job = await asyncio.to_thread(
                    self._store.claim,
                    pool.settings.name,
                    pool.profile.name,
                    worker=self._wiring.worker(pool, card.replica_id),
                    lease_s=self._settings.lease_s,
                )
                if job is not None:
                    with about(job.id):
                        async with self._partners.beside(pool, cards, card, job) as meeting:
                            response = await self._dispatch(pool, cards, card, job, meeting)
                            errand.settled.set()
                            await self._follow(job, response)
        except (RayError, I2VError) as error:
            logger.warning("pool %s: %s", pool.settings.name, error, extra={"job": job and job.id})
            await asyncio.sleep(BACKOFF_S)
        except Exception:
            # The loop must outlive whatever Serve raises while it changes replicas.
            logger.exception("pool %s", pool.settings.name, extra={"job": job and job.id})
            await asyncio.sleep(BACKOFF_S)
        finally:
            errand.settled.set()

    async def _dispatch(
        self, pool: ServedPool, cards: DeploymentHandle[Any], card: Any, job: Job, meeting: Meeting | None
    ) -> Awaitable[None]:
        try:
            name = pool.settings.name
            CardMeter(self._metrics, name).claimed(job)
            logger.info("attempt %d dispatched", job.attempt, extra={"attempt": job.attempt, "pool": name})
            response: Awaitable[None] = cards.dispatch(card, job, meeting)
        except Exception as error:
            # No card has heard of it.
            logger.warning("attempt %d was not dispatched, and waits again: %r", job.attempt, error)
            await self._put_back(job, "It was not dispatched.", charge=False)
            raise
        return response

    async def _follow(self, job: Job, response: Awaitable[None]) -> None:
        try:
            await response
        except (Exception, asyncio.CancelledError) as error:
            what = aftermath(error)
            if what is Aftermath.UNKNOWN:
                # To put it back now could have two cards work on it.
                logger.warning("attempt %d is left to its lease, as its card may still have it: %r", job.attempt, error)
                raise
            logger.warning("attempt %d lost its card: %r", job.attempt, error)
            if what is Aftermath.OVER:
                self._metrics.add(FAILURES, model=job.model, code=WorkerCrashed.code)
            await self._put_back(job, f"The card failed ({type(error).__name__}).", charge=what is Aftermath.OVER)

    async def _put_back(self, job: Job, reason: str, *, charge: bool) -> None:
        await asyncio.to_thread(
            self._store.release, job.id, job.attempt, reason_code=WorkerCrashed.code, reason=reason, charge=charge
        )
