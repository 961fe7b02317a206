"""The cheapest pools of cards that keep a scenario's promises, by simulation.

    python -m loadtest plan --scenario sale --slo p95=120s [--cards rtx4090,a100-80gb]

For each choice of up to two classes the fewest cards are sought that keep every promise, then how few of them need be
up all the time; the others start and stop with the work, as the service scales them. What is paid for is the time that
cards are up, from the wish for one until it is gone. The search goes one number at a time, so it finds good pools, not
provably the best.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from loadtest.scenarios import Request
from loadtest.twin import SLACK, Cards, Figures, figures, ours, play
from serving.scheduling.cards import CARDS
from serving.scheduling.simulated import Outcome, Rules, Simulated

PRICES: Mapping[str, float] = {
    "rtx4060": 0.08,
    "rtx3060": 0.10,
    "rtx3090": 0.25,
    "rtx4090": 0.40,
    "rtx5090": 0.65,
    "a6000": 0.50,
    "l40s": 0.80,
    "a100-40gb": 1.20,
    "a100-80gb": 1.60,
    "h100": 2.50,
    "h200": 3.50,
}
"""Dollars a card hour to begin with; what you pay goes in `--price`."""
INTERACTIVE = "interactive"
"""All kinds that are not batch: of whom a promise is where it names no kind."""
MOST = 512
"""Cards of one class that are tried."""
RULES = Rules(noise=SLACK, decide_every_s=5.0)
"""The service sizes its pools twice a second; cards take a minute to start, so a simulation may do so less often."""
_SLO = re.compile(r"(?:(?P<kind>[^:=]+):)?(?:(?P<of>wait|latency)\.)?p(?P<percent>\d{2})=(?P<seconds>\d+(?:\.\d+)?)s?")


@dataclass(frozen=True)
class Promise:
    """That a share of the requests of a kind waits, or takes in all, at most so long."""

    kind: str
    of: str
    percent: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.kind} {self.of} p{self.percent} within {self.seconds:g} s"

    def applies(self, kind: str, priority: str) -> bool:
        """To interactive requests alone, where it names no kind."""
        return self.kind == kind or (self.kind == INTERACTIVE and priority != "batch")

    def broken(self, outcome: Outcome) -> bool:
        """Whether this one took too long, or was refused."""
        if not self.applies(outcome.arrival.kind, outcome.arrival.priority):
            return False
        return bool(outcome.refused) or (outcome.wait_s if self.of == "wait" else outcome.latency_s) > self.seconds

    def allowed(self, requests: Iterable[Request]) -> int:
        """How many may be too late."""
        mine = sum(self.applies(one.kind, str(one.fields.get("priority", "interactive"))) for one in requests)
        return mine * (100 - self.percent) // 100


def promise(text: str) -> Promise:
    """From "p95=120s", "wait.p50=10s", "preview:p99=60s"; of all interactive requests where no kind is named.

    Raises:
        ValueError: it is none of these.
    """
    found = _SLO.fullmatch(text.strip())
    if found is None:
        raise ValueError(f'slo: {text!r} given; allowed are such as "p95=120s", "wait.p50=10s", "preview:p99=60s".')
    kind, of = found["kind"] or INTERACTIVE, found["of"] or "latency"
    return Promise(kind, of, int(found["percent"]), float(found["seconds"]))


@dataclass(frozen=True)
class Plan:
    """Pools, and what a simulation of them gave."""

    cards: tuple[Cards, ...]
    dollars: float
    simulated: Simulated

    @property
    def figures(self) -> Mapping[str, Figures]:
        return figures(self.simulated.outcomes)


def plans(
    requests: Sequence[Request],
    promises: Sequence[Promise],
    classes: Sequence[str],
    prices: Mapping[str, float] = PRICES,
    told: Callable[[str], None] = lambda text: None,
) -> Iterator[Plan]:
    """For each choice of one or two classes the cheapest pools that keep all promises, where there are any.

    Args:
        told: is told which classes are being tried, and where they are of no use.
    """
    search = _Search(requests, promises, prices)
    by_size = sorted(classes, key=lambda name: (CARDS[name].memory_gib, CARDS[name].tflops))
    for count in (1, 2):
        for names in combinations(by_size, count):
            told(f"trying {' and '.join(names)}")
            found = search.cheapest(names)
            if found is None:
                told("  no number of them keeps the promises" if count == 1 else "  one of the two alone does as well")
            else:
                yield found


def kept(requests: Sequence[Request], promises: Sequence[Promise], cards: Sequence[Cards]) -> bool:
    """Whether the cards keep all promises to these requests."""
    return _Search(requests, promises, PRICES).kept(cards)


class _Search:
    def __init__(self, requests: Sequence[Request], promises: Sequence[Promise], prices: Mapping[str, float]) -> None:
        self._requests, self._prices = requests, prices
        self._allowed = {promise: promise.allowed(requests) for promise in promises}

    def cheapest(self, names: Sequence[str]) -> Plan | None:
        """None where no number of cards keeps the promises, or where one of the classes would have none."""
        fixed = self._fixed(names)
        if fixed is None or any(one.most == 0 for one in fixed):
            return None
        # With room to grow fewer cards need be up all the time.
        candidates = [fixed, self._lowered(fixed), self._lowered([replace(one, most=2 * one.most) for one in fixed])]
        return min((self._plan(cards) for cards in candidates), key=lambda plan: plan.dollars)

    def _fixed(self, names: Sequence[str]) -> list[Cards] | None:
        """The fewest cards, were all of them up all the time: of the largest class first."""
        most = _least(MOST, lambda n: self.kept([Cards(name, n, n) for name in names]))
        if most is None:
            return None
        cards = [Cards(name, most, most) for name in names]
        for place in reversed(range(len(cards))):
            cards = self._fewest(cards, place, lambda one, n: replace(one, least=n, most=n), cards[place].most)
        return cards

    def _lowered(self, cards: list[Cards]) -> list[Cards]:
        """As few of them up all the time as the promises allow, then as few at most."""
        for place in range(len(cards)):
            cards = self._fewest(cards, place, lambda one, n: replace(one, least=n), cards[place].least)
        for place in range(len(cards)):
            cards = self._fewest(
                cards, place, lambda one, n: replace(one, most=max(n, one.least, 1)), cards[place].most
            )
        return cards

    def _fewest(self, cards: list[Cards], place: int, change: Callable[[Cards, int], Cards], most: int) -> list[Cards]:
        def changed(n: int) -> list[Cards]:
            return [*cards[:place], change(cards[place], n), *cards[place + 1 :]]

        found = _least(most, lambda n: self.kept(changed(n)))
        return cards if found is None else changed(found)

    def kept(self, cards: Sequence[Cards]) -> bool:
        left = dict(self._allowed)

        def too_many(outcome: Outcome) -> bool:
            for promise in left:
                left[promise] -= promise.broken(outcome)
            return min(left.values()) < 0

        if not any(one.most for one in cards):
            return False
        play(self._requests, [one for one in cards if one.most], ours(), RULES, enough=too_many)
        return min(left.values()) >= 0

    def _plan(self, cards: Sequence[Cards]) -> Plan:
        simulated = play(self._requests, cards, ours(), RULES)
        dollars = sum(simulated.up_s[one.card] / 3600 * self._prices[one.card] for one in cards)
        return Plan(tuple(cards), dollars, simulated)


def _least(most: int, kept: Callable[[int], bool]) -> int | None:
    """The least number from 0 for which it holds; None where it does not hold for `most` either.

    More cards never keep fewer promises.
    """
    low, high = -1, 0
    while not kept(high):
        if high == most:
            return None
        low, high = high, min(most, max(1, 2 * high))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if kept(middle) else (middle, high)
    return high
