"""What a run's rows say: latency by phase, goodput under promises, refusals by reason, cost. Pure functions.

Percentiles are of values that occurred, none between; those of a phase are of the requests in which it is known.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtest.plan import PRICES, Promise
from loadtest.quantile import quantile
from loadtest.rows import COMPLETED, FAILED, REFUSED, UNFINISHED, Recorded, Row

PHASES = ("submit", "queue", "generation", "encode", "rest", "download", "whole")
SHARES = (0.5, 0.9, 0.99)
ALL = "all"


@dataclass(frozen=True)
class Spread:
    """Seconds of one phase."""

    count: int
    p50: float
    p90: float
    p99: float
    worst: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(len(values), *(quantile(values, share) for share in (*SHARES, 1.0)))


@dataclass(frozen=True)
class Kept:
    """What became of one promise."""

    promise: Promise
    asked: int
    """Requests that it was given to."""
    good: int
    """Those of them that had a clip in time."""
    seconds: float
    """Of the run."""

    @property
    def share(self) -> float:
        return self.good / self.asked if self.asked else 1.0

    @property
    def kept(self) -> bool:
        return self.asked - self.good <= self.asked * (100 - self.promise.percent) // 100

    @property
    def goodput(self) -> float:
        """Clips in time, a minute."""
        return self.good / self.seconds * 60 if self.seconds else 0.0


@dataclass(frozen=True)
class Cost:
    """What the clips took of cards, as far as the server tells."""

    card_s: Mapping[str, float]
    """By card class; "" of cards whose class is not known."""
    clips: int
    dollars: float | None
    """At the prices of the cards' hours at work; None where a class has no price."""


@dataclass(frozen=True)
class Measured:
    """All figures of a run."""

    counts: Mapping[str, int]
    """By outcome."""
    seconds: float
    phases: Mapping[str, Mapping[str, Spread]]
    """By kind, and of all requests under "all": by phase."""
    kept: Sequence[Kept]
    refusals: Mapping[str, int]
    """By the error's code."""
    failures: Mapping[str, int]
    cost: Cost
    lag: Spread
    """How late this sender was with its requests: where p99 is not small, it measured itself."""


def measure(run: Recorded, promises: Sequence[Promise] = (), prices: Mapping[str, float] = PRICES) -> Measured:
    """
    Raises:
        ValueError: there is no request in the run.
    """
    if not run.rows:
        raise ValueError("the run holds no request.")
    rows, seconds = run.rows, run.seconds
    counts: Counter[str] = Counter(row.outcome for row in rows)
    return Measured(
        counts={outcome: counts[outcome] for outcome in (COMPLETED, FAILED, REFUSED, UNFINISHED)},
        seconds=seconds,
        phases=_phases(rows),
        kept=[_kept(promise, rows, seconds) for promise in promises],
        refusals=Counter(row.reason for row in rows if row.outcome == REFUSED),
        failures=Counter(row.reason for row in rows if row.outcome == FAILED),
        cost=_cost(rows, prices),
        lag=spread([row.sent - row.at for row in rows]),
    )


def _phases(rows: Sequence[Row]) -> dict[str, dict[str, Spread]]:
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found = dict(row.phases)
        if row.whole_s is not None:
            found["whole"] = row.whole_s
        for phase, spent in found.items():
            seconds[row.kind][phase].append(spent)
            seconds[ALL][phase].append(spent)
    kinds = [*sorted(kind for kind in seconds if kind != ALL), ALL]
    return {kind: {p: spread(seconds[kind][p]) for p in PHASES if seconds[kind][p]} for kind in kinds}


def _kept(promise: Promise, rows: Sequence[Row], seconds: float) -> Kept:
    """Refused, failed and unfinished requests broke it."""
    mine = [row for row in rows if promise.applies(row.kind, row.priority)]
    bad = sum(promise.broken(row.outcome_on_virtual_time) for row in mine)
    return Kept(promise, len(mine), len(mine) - bad, seconds)


def _cost(rows: Sequence[Row], prices: Mapping[str, float]) -> Cost:
    card_s: dict[str, float] = defaultdict(float)
    done = [row for row in rows if row.outcome == COMPLETED]
    for row in done:
        if row.card_s is not None:
            card_s[row.card] += row.card_s
    priced = bool(card_s) and all(card in prices for card in card_s)
    dollars = sum(spent / 3600 * prices[card] for card, spent in card_s.items()) if priced else None
    return Cost(dict(card_s), len(done), dollars)


def open_at(rows: Sequence[Row], every_s: float) -> list[tuple[float, int]]:
    """(moment, requests accepted and not yet ended), at regular moments: what a queue that grows looks like."""
    changes = sorted(
        change
        for row in rows
        if row.accepted is not None
        for change in ((row.accepted, 1), *([(row.done, -1)] if row.done is not None else []))
    )
    end = max((row.ended or row.answered or row.sent for row in rows), default=0.0)
    found, count, place, at = [], 0, 0, 0.0
    while at <= end + every_s:
        while place < len(changes) and changes[place][0] <= at:
            count += changes[place][1]
            place += 1
        found.append((at, count))
        at += every_s
    return found
