"""The service on virtual time: arrivals in, cards that start, work and stop, and when each job began and ended.

What is decided is decided by the code that runs the service: `placement` says where a job fits and how long it takes,
a `policies.Policy` who is next and how many cards are up. Left out are pictures and encoding, which keep no card
waiting, crashes, and two cards on one job. Standard library only; the same arrivals and seed give the same outcome.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from serving.errors import DoesNotFit
from serving.scheduling.cost import CostRow, Shape
from serving.scheduling.placement import Placement, place
from serving.scheduling.policies import Policy, Task
from serving.scheduling.simulated import Arrival, Fleet, Outcome, Rules, Sample, Simulated
from serving.scheduling.virtual_cards import AtWork, Cards

_What = AtWork | Outcome | Literal["started", "looks"] | None
_Event = tuple[float, int, Cards | None, _What]
"""When; a number that orders events of one moment; the cards, or None where sizes are decided; what happens to them: a
card may be free, has ended a job that put another off, or has started, or those at work look for shorter jobs."""


class _Run:
    def __init__(self, fleets: Sequence[Fleet], policy: Policy, model: str, cost: CostRow, rules: Rules) -> None:
        self._cards = {fleet.pool.name: Cards(fleet, idle=fleet.least, wanted=fleet.least) for fleet in fleets}
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
                if arrives:
                    self._look_soon(now)
            if any(enough(outcome) for outcome in self.outcomes[seen:]):
                break
            seen = len(self.outcomes)
        for cards in self._cards.values():
            cards.account(now)
        up_s = {name: cards.up_s for name, cards in self._cards.items()}
        return Simulated(self.outcomes, self.samples, up_s, {n: c.busy_s for n, c in self._cards.items()}, now)

    def _push(self, at: float, cards: Cards | None, what: _What = None) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, cards, what))

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
        now, _, cards, what = event
        if cards is None:
            self._decide(now)
        elif what == "looks":
            self._look(cards, now)
        elif isinstance(what, Outcome):
            self.outcomes.append(what)
            self._look(cards, now)
        elif isinstance(what, AtWork) and what.free > now:
            self._push(what.free, cards, what)  # it was put off meanwhile
        else:
            cards.account(now)
            if isinstance(what, AtWork):
                cards.at_work.remove(what)
                self.outcomes.append(what.outcome)
            else:
                cards.starting -= 1
            cards.idle += 1
            cards.stop_idle()
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
            cards.stop_idle()
        others = sum(cards.starting for cards in self._cards.values()) - 1
        for name, cards in self._cards.items():
            for _ in range(more[name]):
                self._push(now + cards.fleet.start_s + others * self._rules.start_beside_s, cards, "started")
        if self._policy.waiting or self._more_than_needed():
            # Time alone may change what is wanted: a delay, or what is kept for a while.
            self._decide_soon(now)

    def _more_than_needed(self) -> bool:
        return any(cards.up > max(cards.fleet.least, cards.busy) for cards in self._cards.values())

    def _fill(self, now: float) -> None:
        free = [cards for cards in self._cards.values() if cards.idle and cards.wanted]
        if len(free) > 1:
            # Which of them asks first is an accident.
            self._random.shuffle(free)
        for cards in free:
            while cards.idle and (task := self._policy.take(cards.fleet.pool.name, now)) is not None:
                self._begin(cards, task, now)

    def _begin(self, cards: Cards, task: Task, now: float) -> None:
        cards.account(now)
        cards.idle -= 1
        outcome, steps = self._outcome(cards, task, now)
        estimate_s = task.seconds[cards.fleet.pool.name]
        preemptible = self._rules.preempt_s > 0 and task.deadline is None
        one = AtWork(outcome, outcome.ended + self._rules.gap_s, estimate_s, estimate_s / steps, preemptible)
        cards.at_work.append(one)
        self._push(one.free, cards, one)
        self._look_soon(now)

    def _outcome(self, cards: Cards, task: Task, begins: float) -> tuple[Outcome, int]:
        """What becomes of a task that begins then, and in how many steps."""
        pool = cards.fleet.pool.name
        arrival = self._arrivals.pop(task.number)
        took_s = task.seconds[pool] * self._random.lognormvariate(0.0, self._rules.noise)
        return Outcome(arrival, "", pool, begins, begins + took_s), arrival.shape.num_inference_steps

    def _look_soon(self, now: float) -> None:
        for cards in self._cards.values():
            if not cards.looks and self._policy.waiting and any(cards.rooms(now, self._rules.preempt_s)):
                cards.looks = True
                self._push(now + self._rules.look_s, cards, "looks")

    def _look(self, cards: Cards, now: float) -> None:
        """Cards at work take shorter jobs first, each when the step ends that it is at."""
        cards.looks = False
        while self._policy.waiting and (rooms := list(cards.rooms(now, self._rules.preempt_s))):
            task = self._policy.take(cards.fleet.pool.name, now, within_s=max(room for room, _ in rooms))
            if task is None:
                return
            able = [one for room, one in rooms if room >= task.seconds[cards.fleet.pool.name]]
            one = self._random.choice(able)  # which of them sees it first is an accident
            outcome, _ = self._outcome(cards, task, now + self._random.random() * one.step_s)
            outcome = replace(outcome, preempts=True)
            one.put_off(outcome.started, outcome.ended + self._rules.gap_s - outcome.started)
            self._push(outcome.ended, cards, outcome)

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
