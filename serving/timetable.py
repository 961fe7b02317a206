"""In how many seconds a job would be done, by a look at the queue now and then that all who ask share.

Knows nothing of HTTP or Ray.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from serving.jobs.job import Job, JobStatus
from serving.jobs.places import LONG
from serving.jobs.store import JobStore
from serving.placing import Placeable
from serving.pools import ServedPool
from serving.quoting import expected_cards
from serving.scheduling.cost import STAGES
from serving.scheduling.forecast import ends
from serving.scheduling.placement import Pool, plan_on, shared_stages_on, stages_on
from serving.settings import Settings
from serving.sizing import target, wanted

logger = logging.getLogger(__name__)
KEPT_S, MOST_KEPT_S = 2.0, 30.0
"""How long a look is good for, at least and at most."""
LOOKING_SHARE = 0.02
"""Part of the time that may go into looks; after a long one the next waits for longer."""
MOST_JOBS = 10_000
"""Where more wait, nobody is told when theirs would be done."""


@dataclass(frozen=True)
class Look:
    """What was seen at one moment."""

    at: float
    """By the monotonic clock."""
    good_until: float
    pools: Mapping[str, Pool] = field(default_factory=dict)
    ends_in_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds from then until a card would be done with each waiting job, by id."""
    shared: frozenset[str | None] = frozenset()
    """Ids of the jobs that two cards work on."""


class Timetable:
    """Over one store; reads only. To be asked on an event loop, by any number of tasks at once."""

    def __init__(self, store: JobStore, settings: Settings, pools: Sequence[ServedPool], placeable: Placeable) -> None:
        self._store = store
        self._aim = target(settings)
        self._preempt_s = settings.preempt_s
        self._pools = pools
        self._placeable = placeable
        self._profiles = {pool.profile.name: pool.profile for pool in pools}
        self._looking = threading.Lock()
        # Always the same one: what a look at a long line takes, the C library keeps for each thread that ever took it.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="timetable")
        self._look = Look(at=0.0, good_until=0.0)

    async def ends_in_s(self, job: Job) -> float | None:
        """Seconds until a card is done with it, encoding not included; None where nobody can tell, and after its end.

        Of a job accepted since the last look nothing is known until the next. Never raises for the store's sake.
        """
        if job.status.ended:
            return None
        if time.monotonic() >= self._look.good_until and not self._looking.locked():
            if len(self._look.ends_in_s) >= LONG:  # nobody waits for the next look: all are told by the old one
                self._thread.submit(self._look_again)
            else:
                await asyncio.get_running_loop().run_in_executor(self._thread, self._look_again)
        look = self._look
        if job.status is JobStatus.IN_PROGRESS:
            return self._left_s(job, look)
        ends_in_s = look.ends_in_s.get(job.id)
        return None if ends_in_s is None else max(0.0, ends_in_s - (time.monotonic() - look.at))

    def _left_s(self, job: Job, look: Look) -> float | None:
        """Of a job in progress: by the card's speed, and the step that it is at."""
        pool, profile = look.pools.get(job.pool or ""), self._profiles.get(job.model)
        if pool is None or profile is None:
            return None
        plan = plan_on(job.request.shape, profile.cost, pool)
        if plan is None:
            return None
        if job.id in look.shared:
            stages = shared_stages_on(job.request.shape, profile.cost, pool)
        else:
            stages = stages_on(job.request.shape, profile.cost, pool, plan)
        share = _share_left(job)
        return sum(stages[stage] * share[stage] for stage in STAGES)

    def _look_again(self) -> None:
        began = time.monotonic()
        if began < self._look.good_until:
            return  # of those who asked at the same moment, the first one's look serves all
        with self._looking:
            self._look = self._looked(began)

    def _looked(self, began: float) -> Look:
        pools: dict[str, Pool] = {}
        ends_in_s: dict[str, float] = {}
        shared: frozenset[str | None] = frozenset()
        try:
            pools = {pool.name: pool for pool in self._placeable.now()}
            ends_in_s = self._ends()
            shared = frozenset(worker.assists for worker in self._store.workers(role="generator"))
        except Exception as error:
            # An estimate is worth no answer.
            logger.warning("nobody is told when jobs would be done: %r", error)
        now = time.monotonic()
        kept_s = min(max(KEPT_S, (now - began) / LOOKING_SHARE), MOST_KEPT_S)
        return Look(began, now + kept_s, pools, ends_in_s, shared)

    def _ends(self) -> dict[str, float]:
        up = Counter(worker.pool or "" for worker in self._store.workers(role="generator"))
        will_be = wanted(self._pools, self._store.backlog(), up, self._aim)
        found: dict[str, float] = {}
        for model in self._profiles:
            serving = [pool for pool in self._pools if pool.profile.name == model]
            situation = self._store.situation(model, [pool.name for pool in serving], most=MOST_JOBS)
            if situation is not None:
                cards = [
                    expected_cards(pool, up[pool.name], will_be[pool.name], situation, self._preempt_s)
                    for pool in serving
                ]
                found |= ends(cards, situation.waiting, situation.now)
        return found


def _share_left(job: Job) -> dict[str, float]:
    """Of each of the card's stages, what of a job in progress is still to be done."""
    if job.stage == "encoding":
        return dict.fromkeys(STAGES, 0.0)
    if job.stage not in ("denoising", "paused", "decoding"):
        return dict.fromkeys(STAGES, 1.0)
    # A part that is not the last is decoded, and the next one conditioned, while the job is denoising.
    parts, left = job.request.montage.parts, job.steps - job.step
    to_begin = min(parts - 1, left * parts // job.steps)
    return {"condition": to_begin / parts, "denoise": left / job.steps, "decode": (to_begin + 1) / parts}
