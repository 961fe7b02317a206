"""The service on virtual time: arrivals in, cards that start, work and stop, and when each job began and ended.

What is decided is decided by the code that runs the service: `placement` says where a job fits and how long it takes,
a `policies.Policy` who is next and how many cards are up. Left out are pictures and encoding, which keep no card
waiting, crashes, and two cards on one job. Standard library only; the same arrivals and seed give the same outcome.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from serving.errors import DoesNotFit
from serving.scheduling.capacity import PoolState
from serving.scheduling.cost import CostRow, Shape
from serving.scheduling.placement import Placement, Pool, place
from serving.scheduling.policies import Policy, Task


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request. Moments are seconds since the simulation's start."""

    at: float
    shape: Shape
    kind: str = ""
    """What the report calls it."""
    owner: str = ""
    priority: str = "interactive"
    deadline: float | None = None


@dataclass(frozen=True)
class Fleet:
    """One pool of a simulation."""

    pool: Pool
    size: float
    """What a card costs, in any unit."""
    least: int
    most: int
    """Bounds of its cards."""
    start_s: float = 60.0
    """From the wish for a card until it works."""


@dataclass(frozen=True)
class Rules:
    """What is not decided by a policy."""

    decide_every_s: float = 0.5
    gap_s: float = 0.03
    """Between two jobs of a card."""
    start_beside_s: float = 0.0
    """How much longer a card takes to start for each other that is starting then: those of one machine share its
    processors."""
    most_waiting: int | None = 10_000
    most_waiting_s: float | None = None
    """Bounds of the line: jobs, GPU seconds; beyond, a request is refused."""
    noise: float = 0.0
    """Standard deviation of the logarithm of what a job takes, around what it is expected to."""
    sample_every_s: float = 60.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an arrival."""

    arrival: Arrival
    refused: str = ""
    """The error's code; empty where it was done."""
    pool: str = ""
    started: float = 0.0
    ended: float = 0.0

    @property
    def wait_s(self) -> float:
        return self.started - self.arrival.at

    @property
    def latency_s(self) -> float:
        return self.ended - self.arrival.at


@dataclass(frozen=True, slots=True)
class Sample:
    """One pool at one moment."""

    at: float
    pool: str
    up: int
    """Cards that are paid for: at work, idle or starting."""
    busy: int
    waiting: int
    """Jobs in line, of all pools."""
    waiting_s: float


@dataclass(frozen=True)
class Simulated:
    """What a simulation gave."""

    outcomes: list[Outcome]
    """In order of ends and refusals."""
    samples: list[Sample]
    up_s: dict[str, float]
    """Card seconds paid for, by pool."""
    busy_s: dict[str, float]
    ended: float
    """The last event."""


@dataclass
class _Cards:
    """A pool's cards now."""

    fleet: Fleet
    idle: int = 0
    ends: list[float] = field(default_factory=list)
    """Of the cards at work: when they are free."""
    starting: int = 0
    wanted: int = 0
    changed: float = 0.0
    up_s: float = 0.0
    busy_s: float = 0.0

    @property
    def busy(self) -> int:
        return len(self.ends)

    @property
    def up(self) -> int:
        return self.idle + self.busy + self.starting

    def account(self, now: float) -> None:
        """Before any count changes."""
        self.up_s += self.up * (now - self.changed)
        self.busy_s += self.busy * (now - self.changed)
        self.changed = now

    def state(self, now: float) -> PoolState:
        left_s = tuple(end - now for end in self.ends)
        fleet = self.fleet
        return PoolState(fleet.pool.name, fleet.size, fleet.least, fleet.most, self.idle + self.busy, left_s)


_Event = tuple[float, int, _Cards | None, Outcome | None]
"""When; a number that orders events of one moment; the cards, or None where sizes are decided; what a card has done, or
None where it has started."""


class _Run:
    def __init__(self, fleets: Sequence[Fleet], policy: Policy, model: str, cost: CostRow, rules: Rules) -> None:
        self._cards = {fleet.pool.name: _Cards(fleet, idle=fleet.least, wanted=fleet.least) for fleet in fleets}
        self._policy, self._model, self._cost, self._rules = policy, model, cost, rules
        self._random = random.Random(rules.seed)  # noqa: S311 (no secrecy in a simulation)
        self._events: list[_Event] = []
        self._count = 0
        self._deciding = False
        self._scaled = any(fleet.least != fleet.most for fleet in fleets)
        self._places: dict[Shape, Placement | None] = {}
        self._arrivals: dict[int, Arrival] = {}
        self.outcomes: list[Outcome] = []
        self.samples: list[Sample] = []

    def run(self, arrivals: Iterable[Arrival], enough: Callable[[Outcome], bool]) -> Simulated:
        coming = iter(arrivals)
        seen = 0
        following = next(coming, None)
        now, sampled = 0.0, 0.0
        while following is not None or self._events:
            arrives = following is not None and (not self._events or following.at <= self._events[0][0])
            now = following.at if arrives and following is not None else self._events[0][0]
            while sampled <= now:
                self._sample(sampled)
                sampled += self._rules.sample_every_s
            if arrives and following is not None:
                self._arrive(following)
                following = next(coming, None)
            else:
                self._happen(heapq.heappop(self._events))
            if self._policy.waiting:
                self._fill(now)
            if any(enough(outcome) for outcome in self.outcomes[seen:]):
                break
            seen = len(self.outcomes)
        for cards in self._cards.values():
            cards.account(now)
        up_s = {name: cards.up_s for name, cards in self._cards.items()}
        return Simulated(self.outcomes, self.samples, up_s, {n: c.busy_s for n, c in self._cards.items()}, now)

    def _push(self, at: float, cards: _Cards | None, outcome: Outcome | None = None) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, cards, outcome))

    def _arrive(self, arrival: Arrival) -> None:
        placement = self._place(arrival.shape)
        rules, policy = self._rules, self._policy
        if placement is None:
            self.outcomes.append(Outcome(arrival, refused=DoesNotFit.code))
            return
        if (rules.most_waiting is not None and policy.waiting >= rules.most_waiting) or (
            rules.most_waiting_s is not None and policy.waiting_s >= rules.most_waiting_s
        ):
            self.outcomes.append(Outcome(arrival, refused="server_overloaded"))
            return
        self._count += 1
        self._arrivals[self._count] = arrival
        policy.add(Task(self._count, arrival.at, placement.seconds, arrival.owner, arrival.priority, arrival.deadline))
        self._decide_soon(arrival.at)

    def _place(self, shape: Shape) -> Placement | None:
        if shape not in self._places:
            try:
                pools = [cards.fleet.pool for cards in self._cards.values()]
                self._places[shape] = place(shape, self._model, self._cost, pools)
            except DoesNotFit:
                self._places[shape] = None
        return self._places[shape]

    def _happen(self, event: _Event) -> None:
        now, _, cards, outcome = event
        if cards is None:
            self._decide(now)
            return
        cards.account(now)
        if outcome is None:
            cards.starting -= 1
        else:
            cards.ends.remove(now)
            self.outcomes.append(outcome)
        cards.idle += 1
        self._stop_idle(cards)
        self._decide_soon(now)

    def _decide_soon(self, now: float) -> None:
        if not self._deciding and self._scaled:
            self._deciding = True
            self._push(now + self._rules.decide_every_s, None)

    def _decide(self, now: float) -> None:
        self._deciding = False
        wanted = self._policy.sizes(now, [cards.state(now) for cards in self._cards.values()])
        more = {}
        for name, cards in self._cards.items():
            cards.account(now)
            cards.wanted = wanted[name]
            more[name] = max(0, wanted[name] - cards.up)
            cards.starting += more[name]
            self._stop_idle(cards)
        others = sum(cards.starting for cards in self._cards.values()) - 1
        for name, cards in self._cards.items():
            for _ in range(more[name]):
                self._push(now + cards.fleet.start_s + others * self._rules.start_beside_s, cards)
        if self._policy.waiting or self._more_than_needed():
            # Time alone may change what is wanted: a delay, or what is kept for a while.
            self._decide_soon(now)

    def _more_than_needed(self) -> bool:
        return any(cards.up > max(cards.fleet.least, cards.busy) for cards in self._cards.values())

    def _stop_idle(self, cards: _Cards) -> None:
        cards.idle -= max(0, min(cards.idle, cards.up - cards.wanted))

    def _fill(self, now: float) -> None:
        free = [cards for cards in self._cards.values() if cards.idle and cards.wanted]
        if len(free) > 1:
            # Which of them asks first is an accident.
            self._random.shuffle(free)
        for cards in free:
            while cards.idle and (task := self._policy.take(cards.fleet.pool.name, now)) is not None:
                self._begin(cards, task, now)

    def _begin(self, cards: _Cards, task: Task, now: float) -> None:
        cards.account(now)
        cards.idle -= 1
        pool = cards.fleet.pool.name
        took_s = task.seconds[pool] * self._random.lognormvariate(0.0, self._rules.noise)
        outcome = Outcome(self._arrivals.pop(task.number), "", pool, now, now + took_s)
        free = now + took_s + self._rules.gap_s
        cards.ends.append(free)
        self._push(free, cards, outcome)

    def _sample(self, at: float) -> None:
        for name, cards in self._cards.items():
            waiting, waiting_s = self._policy.waiting, self._policy.waiting_s
            self.samples.append(Sample(at, name, cards.up, cards.busy, waiting, waiting_s))


def simulate(
    arrivals: Iterable[Arrival],
    fleets: Sequence[Fleet],
    policy: Policy,
    model: str,
    cost: CostRow,
    rules: Rules | None = None,
    enough: Callable[[Outcome], bool] = lambda outcome: False,
) -> Simulated:
    """Run the arrivals, in order of their moments, until the last one has ended.

    Args:
        enough: is shown every outcome, and ends the simulation where it says so.
    """
    return _Run(fleets, policy, model, cost, rules or Rules()).run(arrivals, enough)


def merged(streams: Iterable[Iterator[Arrival]]) -> Iterator[Arrival]:
    """Several streams of arrivals as one, in order."""
    return heapq.merge(*streams, key=lambda arrival: arrival.at)
