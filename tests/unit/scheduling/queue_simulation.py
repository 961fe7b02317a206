"""A pool of cards over simulated time: arrivals in, who was served where and when out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from serving.scheduling.capacity import Target
from serving.scheduling.policies import ResolutionAware, Task
from serving.scheduling.queueing import rank

Group = tuple[frozenset[str], str, str, bool]


@dataclass(frozen=True)
class Arrival:
    """One job. `seconds` is what it takes on any card; `deadline` is in simulated seconds, like `at`."""

    at: float
    seconds: float
    fit: frozenset[str] = frozenset({"pool"})
    owner: str = "a"
    priority: str = "interactive"
    deadline: float | None = None
    age_s: float = 0.0
    """How long before `at` it was accepted."""

    @property
    def accepted(self) -> float:
        return self.at - self.age_s

    @property
    def rank(self) -> float:
        return rank(self.accepted, self.seconds, self.priority, self.deadline)

    @property
    def group(self) -> Group:
        return self.fit, self.priority, self.owner, self.deadline is None

    def task(self, number: int) -> Task:
        seconds = dict.fromkeys(sorted(self.fit), self.seconds)
        return Task(number, self.accepted, seconds, self.owner, self.priority, self.deadline)


@dataclass(frozen=True)
class Served:
    """One job's run on one card."""

    job: Arrival
    pool: str
    start: float

    @property
    def end(self) -> float:
        return self.start + self.job.seconds

    @property
    def wait(self) -> float:
        return self.start - self.job.at


def simulate(
    arrivals: Iterable[Arrival],
    cards: Mapping[str, int],
    *,
    until: float = float("inf"),
    past: Mapping[str, float] | None = None,
) -> list[Served]:
    """Serve `arrivals` with `cards` cards of each pool, to the end or to `until`; in order of start.

    Args:
        past: GPU seconds that each owner was served, in every pool, just before the start.
    """
    policy = ResolutionAware(Target(), hold_s=0.0)
    for pool in cards:
        for owner, seconds in (past or {}).items():
            policy.add(Arrival(-seconds, seconds, frozenset({pool}), owner).task(-1))
            policy.take(pool, -seconds)
    jobs = sorted(arrivals, key=lambda job: job.at)
    coming, waiting = deque(enumerate(jobs)), set[int]()
    running: dict[str, list[Served]] = {pool: [] for pool in cards}
    done: list[Served] = []
    while True:
        ends = [run.end for runs in running.values() for run in runs]
        now = min([*ends, *(job.at for _, job in list(coming)[:1])], default=float("inf"))
        if now > until or now == float("inf"):
            return done
        while coming and coming[0][1].at <= now:
            number, job = coming.popleft()
            waiting.add(number)
            policy.add(job.task(number))
        for pool, runs in running.items():
            runs[:] = [run for run in runs if run.end > now]
            while len(runs) < cards[pool]:
                task = policy.take(pool, now)
                able = any(pool in jobs[number].fit for number in waiting)
                assert (task is not None) == able, "a free card idles while it could hold a waiting job"
                if task is None:
                    break
                waiting.remove(task.number)
                job = jobs[task.number]
                assert pool in job.fit, "a job went to a card that cannot hold it"
                runs.append(Served(job, pool, now))
                done.append(runs[-1])
