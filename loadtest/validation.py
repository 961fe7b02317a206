"""The digital twin against the real service: the same arrivals, cards and settings, on virtual time and on the clock.

The service is real in all but its cards, which are emulated and `speed` times as fast. What the twin does not count is
measured before, on a service of its own with the same cards (`probe`): how long a card takes to start, alone and while
others start, how long a request takes to a card that is idle, what an emulated card takes for each second that it is
to take, and what passes between two jobs of a card. A wait ends where the card begins, by the service's log. Which of
two idle cards asks first is an accident, so the twin's figure is the median over several seeds.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest.emulated import Pool, service
from loadtest.openloop import Told
from loadtest.quantile import quantile
from loadtest.recording import record
from loadtest.rows import COMPLETED, Recorded, Row
from loadtest.saturation import Clip, gaps_s, read_clips
from loadtest.scenarios import PREVIEW, STANDARD, Request
from loadtest.server import Target
from loadtest.twin import Cards, ours, play, shape_of
from serving.jobs.job import accepted_at
from serving.presets import I2VGEN_XL
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import seconds
from serving.scheduling.simulated import Rules

TARGET_WAIT_S, HOLD_S = 10.0, 20.0
WITHIN = 0.15
SEEDS = 9
SHARES = {"p50": 0.5, "p95": 0.95}
SINGLES, APART_S = 8, 1.0
"""Requests of the probe to idle cards."""
KEPT_S = 300.0
"""How long the probe's cards are kept."""


@dataclass(frozen=True)
class Case:
    """One way to have cards."""

    name: str
    pools: tuple[Pool, ...]

    @property
    def cards(self) -> list[Cards]:
        return [Cards(pool.card, pool.least, pool.most) for pool in self.pools]


CASES = (
    Case("fixed", (Pool("rtx4090", 3, 3),)),
    Case("scaling", (Pool("rtx4090", 3, 0), Pool("a100-80gb", 1, 0))),
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
    """From the wish for a card until it works, where no other starts."""
    start_beside_s: float
    """Of each other that starts at the same time: how much longer it takes then."""


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
    case: Case, overheads: Overheads, requests: Sequence[Request], speed: float, picture: Path, folder: Path, told: Told
) -> Validated:
    """Play the requests, already `speed` times as fast, against a service of its own, and predict the same."""
    logs = (folder / case.name / "logs").resolve()
    with service(case.pools, speed, I2V_LOG_DIR=str(logs), **_settings(HOLD_S)) as url:
        about = {"case": case.name, "times": speed}
        recorded = record(folder / case.name, Target(url, picture), requests, about, told)
    return compare(case, begun(recorded, _clips(logs)), requests, speed, overheads)


def begun(recorded: Recorded, clips: Sequence[Clip]) -> Recorded:
    """The same, with each request begun where the card that made its clip began: a claim may come a moment before."""
    by_job = {clip.job: clip for clip in clips}
    rows = []
    for row in recorded.rows:
        clip, accepted = by_job.get(row.id), accepted_at(row.id)
        if clip is not None and accepted is not None and row.accepted is not None:
            row = replace(row, began=clip.began - accepted + row.accepted)
        rows.append(row)
    return replace(recorded, rows=rows)


def _clips(logs: Path) -> list[Clip]:
    return [clip for log in logs.glob("app_*.log") for clip in read_clips(log)]


def _settings(hold_s: float) -> dict[str, str]:
    return {"I2V_TARGET_WAIT_S": str(TARGET_WAIT_S), "I2V_SCALE_DOWN_AFTER_S": str(hold_s)}


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
    rules = Rules(seed=seed, sample_every_s=5.0, gap_s=overheads.gap_s, start_beside_s=overheads.start_beside_s)
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


def probe(case: Case, speed: float, picture: Path, folder: Path) -> Overheads:
    """On the case's largest pool: one card from zero, then all others, then requests to idle cards, then more than they
    can do."""
    pool = max(case.pools, key=lambda one: one.most)
    logs = (folder / "probe" / "logs").resolve()
    stages = (
        [Request(0.0, "alone", "", STANDARD)],
        [Request(0.0, "beside", "", STANDARD)] * pool.most,
        [Request(n * APART_S, "single", "", PREVIEW) for n in range(SINGLES)],
        [Request(0.0, "many", "", fields) for fields in (PREVIEW, PREVIEW, STANDARD) for _ in range(pool.most)],
    )
    runs: dict[str, Recorded] = {}
    with service([Pool(pool.card, pool.most, 0)], speed, I2V_LOG_DIR=str(logs), **_settings(KEPT_S)) as url:
        for requests in stages:
            name = requests[0].kind
            runs[name] = record(folder / "probe" / name, Target(url, picture), requests, {"scenario": name})
    tflops = CARDS[pool.card].tflops
    many = stages[-1]
    expected_s = sum(seconds(shape_of(one.fields), I2VGEN_XL.faster(speed).cost, tflops) for one in many)
    return probed(**runs, clips=_clips(logs), expected_s=expected_s)


def probed(
    alone: Recorded, beside: Recorded, single: Recorded, many: Recorded, clips: Sequence[Clip], expected_s: float
) -> Overheads:
    """What the probe's requests say; those of `many` were to take `expected_s` card seconds, all together."""
    intake_s = statistics.median(_begun_s(row) for row in begun(single, clips).rows)
    ids = {row.id for row in many.rows}
    busy = [clip for clip in clips if clip.job in ids]
    # Of each card, the first job: those of `beside` started at the same time.
    first = {clip.card: clip.job for clip in sorted(clips, key=lambda clip: clip.began, reverse=True)}
    one_s = statistics.fmean(_begun_s(row) for row in begun(alone, clips).rows)
    others = [_begun_s(row) for row in begun(beside, clips).rows if row.id in first.values()]
    each_other_s = (statistics.fmean(others) - one_s) / (len(others) - 1) if len(others) > 1 else 0.0
    return Overheads(
        intake_s,
        slowness=sum(clip.seconds for clip in busy) / expected_s,
        gap_s=statistics.median(gaps_s(busy)),
        # The simulation, too, takes a moment before it wishes for a card.
        start_s=max(0.0, one_s - intake_s - Rules().decide_every_s),
        start_beside_s=max(0.0, each_other_s),
    )


def _begun_s(row: Row) -> float:
    assert row.began is not None, f"a request of the probe was {row.outcome}: {row.reason}"
    return row.began - row.at
