"""Forecast and simulated policy beside what the store then does, on a clock that the test holds."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

import pytest
from sqlalchemy import ColumnElement, literal

from serving.jobs.job import Job, NewJob
from serving.jobs.store import JobStore
from serving.scheduling.capacity import Target
from serving.scheduling.forecast import Cards, ends
from serving.scheduling.policies import ResolutionAware, Task

MODEL = "i2vgen-xl"
CARDS = {"large": 1, "small": 2}
AGES_S = 1e9


class HeldClock:
    boot = ""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> ColumnElement[float]:
        return literal(self.at)

    def wall(self) -> ColumnElement[float]:
        return literal(self.at)


def fill(store: JobStore, new_job: Callable[..., NewJob], draw: random.Random) -> dict[str, Job]:
    """Of three owners, and long enough that what was served is forgotten by half within three of them."""
    found = {}
    for _ in range(40):
        seconds = draw.uniform(20.0, 600.0)
        fit = draw.choice([("large",), ("small",), ("large", "small")])
        estimates = {pool: seconds * (1.0 if pool == "large" else 1.7) for pool in fit}
        owner, priority = draw.choice("abc"), draw.choice(["interactive", "interactive", "batch"])
        job = store.insert(new_job(estimates=estimates, owner=owner, priority=priority))
        found[job.id] = job
    return found


Run = tuple[str, float]
"""A job's id and its seconds."""


def played(
    begin: float, take: Callable[[str, float], Run | None], end: Callable[[str, float], object]
) -> dict[str, float]:
    """When each job ends, while cards take what `take` gives to a pool at a moment."""
    free: list[tuple[float, int, str, str]] = [
        (begin, number, pool, "") for number, pool in enumerate(CARDS) for _ in range(CARDS[pool])
    ]
    found = {}
    while free:
        now, number, pool, before = heapq.heappop(free)
        if before:
            end(before, now)
        taken = take(pool, now)
        if taken is not None:
            job_id, seconds = taken
            found[job_id] = now + seconds
            heapq.heappush(free, (now + seconds, number, pool, job_id))
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_forecast_simulation_and_store_agree(store: JobStore, new_job: Callable[..., NewJob], seed: int) -> None:
    begin = 1.9e9
    store._clock = clock = HeldClock(begin)
    jobs = fill(store, new_job, random.Random(seed))
    situation = store.situation(MODEL, list(CARDS), most=100)
    assert situation is not None
    cards = [Cards(pool, (0.0,) * count, situation.usage[pool]) for pool, count in CARDS.items()]
    forecast = ends(cards, situation.waiting, situation.now)

    policy, ids = ResolutionAware(Target(), 0.0), list(jobs)
    for number, job in enumerate(jobs.values()):
        policy.add(Task(number, begin, job.estimates, job.owner, job.priority))

    def simulated(pool: str, now: float) -> Run | None:
        task = policy.take(pool, now)
        return None if task is None else (ids[task.number], task.seconds[pool])

    def claimed(pool: str, now: float) -> Run | None:
        clock.at = now
        job = store.claim(pool, MODEL, "card", AGES_S)
        return None if job is None else (job.id, job.estimates[pool])

    def completed(job_id: str, now: float) -> None:
        clock.at = now
        assert store.complete(job_id, 1, {})

    real = played(begin, claimed, completed)
    assert len(real) == len(jobs)
    assert {job_id: begin + at for job_id, at in forecast.items()} == pytest.approx(real, rel=0.0, abs=1e-3)
    assert played(begin, simulated, lambda job_id, now: None) == pytest.approx(real, rel=0.0, abs=1e-3)
