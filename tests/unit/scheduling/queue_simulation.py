"""A pool of cards over simulated time: arrivals in, who was served where and when out."""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from serving.scheduling.queueing import Head, Usage, choose, faded, rank

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

    @property
    def rank(self) -> float:
        return rank(self.at, self.seconds, self.priority, self.deadline)

    @property
    def group(self) -> Group:
        return self.fit, self.priority, self.owner, self.deadline is None


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


class Ledger:
    """What one pool served: finished jobs, fading, and those that run, with all they will take."""

    def __init__(self, past: Mapping[str, float]) -> None:
        self._faded = {(owner, "interactive", False): (gpu_s, 0.0) for owner, gpu_s in past.items()}
        self.running: list[Served] = []

    def finish(self, now: float) -> None:
        for run in [run for run in self.running if run.end <= now]:
            self.running.remove(run)
            gpu_s, at = self._faded.get(_account(run.job), (0.0, run.end))
            self._faded[_account(run.job)] = faded(gpu_s, run.end - at) + run.job.seconds, run.end

    def usage(self, now: float) -> Usage:
        by_owner: dict[str, float] = defaultdict(float)
        batch_s = deadline_s = 0.0
        entries = [(key, faded(gpu_s, now - at)) for key, (gpu_s, at) in self._faded.items()]
        for (owner, priority, timed), gpu_s in [*entries, *((_account(r.job), r.job.seconds) for r in self.running)]:
            by_owner[owner] += gpu_s
            batch_s += gpu_s if priority == "batch" else 0.0
            deadline_s += gpu_s if timed else 0.0
        return Usage(by_owner, batch_s, deadline_s)


def _account(job: Arrival) -> tuple[str, str, bool]:
    return job.owner, job.priority, job.deadline is not None


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
    coming = deque(sorted(enumerate(arrivals), key=lambda pair: (pair[1].at, pair[0])))
    ledgers = {pool: Ledger(past or {}) for pool in cards}
    groups: dict[Group, list[tuple[float, int, Arrival]]] = {}
    done: list[Served] = []
    while True:
        ends = [run.end for ledger in ledgers.values() for run in ledger.running]
        now = min([*ends, *(job.at for _, job in list(coming)[:1])], default=float("inf"))
        if now > until or now == float("inf"):
            return done
        for ledger in ledgers.values():
            ledger.finish(now)
        while coming and coming[0][1].at <= now:
            number, job = coming.popleft()
            heapq.heappush(groups.setdefault(job.group, []), (job.rank, number, job))
        for pool, ledger in ledgers.items():
            while len(ledger.running) < cards[pool]:
                head = choose(_heads(groups), pool, now, ledger.usage(now))
                able = any(pool in group[0][2].fit for group in groups.values())
                assert (head is not None) == able, "a free card idles while it could hold a waiting job"
                if head is None:
                    break
                job = _take(groups, head)
                assert pool in job.fit, "a job went to a card that cannot hold it"
                ledger.running.append(Served(job, pool, now))
                done.append(ledger.running[-1])


def _heads(groups: Mapping[Group, list[tuple[float, int, Arrival]]]) -> list[Head]:
    return [
        Head(str(number), job.fit, job.priority, job.owner, place, job.seconds, job.deadline)
        for place, number, job in (group[0] for group in groups.values())
    ]


def _take(groups: dict[Group, list[tuple[float, int, Arrival]]], head: Head) -> Arrival:
    key = head.fit, head.priority, head.owner, head.deadline is None
    job = heapq.heappop(groups[key])[2]
    if not groups[key]:
        del groups[key]
    return job
