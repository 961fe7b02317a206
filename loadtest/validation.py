"""The digital twin against the real service: the same arrivals, cards and settings, on virtual time and on the clock.

The service is real in all but its cards, which are emulated and `speed` times as fast. What the twin does not count is
measured before, on a service of its own with the same cards: how long a submission takes until its job begins, how much
longer than asked for an emulated card sleeps, what passes between two jobs of a card while all of them are at work, and
how long a card takes to start. Which of two idle cards asks first is an accident, so the twin's figure is the median
over several seeds.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.emulated import Pool, service
from loadtest.openloop import Told
from loadtest.quantile import quantile
from loadtest.recording import record
from loadtest.rows import COMPLETED, Recorded, Row
from loadtest.scenarios import PREVIEW, Request
from loadtest.server import Target
from loadtest.twin import Cards, ours, play, shape_of
from serving.presets import I2VGEN_XL
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import seconds
from serving.scheduling.simulator import Rules

TARGET_WAIT_S, HOLD_S = 10.0, 20.0
WITHIN = 0.15
SEEDS = 9
SHARES = {"p50": 0.5, "p95": 0.95}
PROBES = 8
"""Requests one after another, and jobs of each card at once."""
APART_S = 2.0


@dataclass(frozen=True)
class Case:
    """One way to have cards."""

    name: str
    pools: tuple[Pool, ...]

    @property
    def cards(self) -> list[Cards]:
        return [Cards(pool.card, pool.least, pool.most) for pool in self.pools]

    @property
    def scales(self) -> bool:
        return any(pool.least != pool.most for pool in self.pools)


CASES = (
    Case("fixed", (Pool("rtx4090", 8, 8),)),
    Case("scaling", (Pool("rtx4090", 9, 2), Pool("a100-80gb", 2, 0))),
)


@dataclass(frozen=True)
class Overheads:
    """What the twin is told of the service."""

    intake_s: float
    """From when a request is due until a card begins it, where one is idle."""
    slowness: float
    """Of an emulated card: what it took, for each second that it was to take."""
    gap_s: float
    """Between two jobs of a card."""
    start_s: float
    """From the wish for a card until it works."""


@dataclass(frozen=True)
class Compared:
    """One percentile of the waits of one kind."""

    what: str
    measured_s: float
    predicted_s: float
    low_s: float
    high_s: float
    """Of the predictions by their seeds."""

    @property
    def off(self) -> float:
        """Relative to what was measured."""
        return self.predicted_s / self.measured_s - 1 if self.measured_s else float("inf")

    @property
    def kept(self) -> bool:
        return abs(self.off) <= WITHIN


@dataclass(frozen=True)
class Validated:
    """A case, played and predicted."""

    case: Case
    overheads: Overheads
    requests: int
    unfinished: int
    all_kinds: Sequence[Compared]
    by_kind: Sequence[Compared]
    """To look at; a kind may have few requests."""

    @property
    def kept(self) -> bool:
        return self.unfinished == 0 and all(one.kept for one in self.all_kinds)


def validate(
    case: Case, requests: Sequence[Request], speed: float, picture: Path, folder: Path, told: Told
) -> Validated:
    """Play the requests, already `speed` times as fast, against a service of its own, and predict the same."""
    settings = {"I2V_TARGET_WAIT_S": str(TARGET_WAIT_S), "I2V_SCALE_DOWN_AFTER_S": str(HOLD_S)}
    overheads = probe(case, speed, picture, folder, settings)
    with service(case.pools, speed, **settings) as url:
        about = {"case": case.name, "times": speed}
        recorded = record(folder / case.name, Target(url, picture), requests, about, told)
    return compare(case, recorded, requests, speed, overheads)


def compare(
    case: Case, recorded: Recorded, requests: Sequence[Request], speed: float, overheads: Overheads
) -> Validated:
    """What was measured beside what the twin says of the same requests."""
    measured = _waits([(row.kind, (row.began or row.at) - row.at) for row in recorded.rows if row.outcome == COMPLETED])
    predicted = [predict(case, requests, speed, overheads, seed) for seed in range(SEEDS)]
    kinds = [kind for kind in measured if kind]
    unfinished = sum(row.outcome != COMPLETED for row in recorded.rows)
    return Validated(
        case,
        overheads,
        len(requests),
        unfinished,
        [_compared("", share, measured, predicted) for share in SHARES],
        [_compared(kind, share, measured, predicted) for kind in kinds for share in SHARES],
    )


def predict(
    case: Case, requests: Sequence[Request], speed: float, overheads: Overheads, seed: int
) -> Mapping[str, Sequence[float]]:
    """Waits by kind, and of all under ""; without keys, all owners are one to the service."""
    same = [Request(request.at, request.kind, "", request.fields) for request in requests]
    rules = Rules(seed=seed, sample_every_s=5.0, gap_s=overheads.gap_s)
    profile = I2VGEN_XL.faster(speed / overheads.slowness)
    simulated = play(same, case.cards, ours(TARGET_WAIT_S, HOLD_S), rules, profile, overheads.start_s)
    return _waits([(one.arrival.kind, one.wait_s + overheads.intake_s) for one in simulated.outcomes])


def _waits(pairs: Sequence[tuple[str, float]]) -> dict[str, list[float]]:
    kinds = {kind for kind, _ in pairs}
    found = {kind: sorted(wait for one, wait in pairs if one == kind) for kind in sorted(kinds)}
    return {"": sorted(wait for _, wait in pairs), **found}


def _compared(
    kind: str,
    share: str,
    measured: Mapping[str, Sequence[float]],
    predicted: Sequence[Mapping[str, Sequence[float]]],
) -> Compared:
    values = [quantile(waits[kind], SHARES[share]) for waits in predicted]
    name = f"{kind} {share}".strip()
    return Compared(name, quantile(measured[kind], SHARES[share]), statistics.median(values), min(values), max(values))


def probe(case: Case, speed: float, picture: Path, folder: Path, settings: Mapping[str, str]) -> Overheads:
    """Of previews, on the case's largest pool: a cold one where it scales, some one by one, then many at once."""
    pool = max(case.pools, key=lambda one: one.most)
    most = pool.most
    expected_s = seconds(shape_of(PREVIEW), I2VGEN_XL.faster(speed).cost, CARDS[pool.card].tflops)
    start_s = 0.0
    if case.scales:
        cold = [Request(0.0, "cold", "", PREVIEW)]
        with service([Pool(pool.card, most, 0)], speed, **settings) as url:
            (row,) = record(folder / "cold", Target(url, picture), cold, {"scenario": "cold"}).rows
        start_s = _begun_s(row)
    single = [Request(n * max(APART_S, 2 * expected_s), "single", "", PREVIEW) for n in range(PROBES)]
    later = single[-1].at + 4 * expected_s
    many = [Request(later, "many", "", PREVIEW) for _ in range(PROBES * most)]
    with service([Pool(pool.card, most, most)], speed, **settings) as url:
        rows = record(folder / "probe", Target(url, picture), [*single, *many], {"scenario": "probe"}).rows
    intake_s = statistics.median(_begun_s(row) for row in rows if row.kind == "single")
    busy = [row for row in rows if row.kind == "many" and row.began is not None and row.card_s is not None]
    card_s = statistics.fmean(row.card_s or 0.0 for row in busy)
    began = sorted(row.began or 0.0 for row in busy)
    # Once all wait in line, one begins whenever another ends, up to the last.
    in_line = max(row.accepted or 0.0 for row in busy)
    began = [moment for moment in began if moment > in_line]
    each_s = (began[-1] - began[0]) / (len(began) - 1) * most
    return Overheads(intake_s, card_s / expected_s, max(0.0, each_s - card_s), max(0.0, start_s - intake_s))


def _begun_s(row: Row) -> float:
    assert row.began is not None, f"a request of the probe was {row.outcome}: {row.reason}"
    return row.began - row.at
