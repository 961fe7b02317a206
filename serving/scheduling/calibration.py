"""What a card's own clips teach about its speed. Knows nothing of stores, clocks or devices.

Each stage's seconds are non-negative coefficients times units of work (`cost.work`). What is known of the coefficients
is a Gaussian belief that every clip narrows: least squares in relative error, one clip at a time. Between clips the
card may change, most likely in all coefficients alike; so what clips of one shape teach about the card's pace holds
for the shapes that nobody asks for, while the proportions between them stay as they were measured. One clip far off is
taken for an accident and counts for little; several in a row, off the same way, for a changed card.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.scheduling.cost import STAGES, CostRow, Shape, Speed, dot, stage_seconds, work

JOB_NOISE = 0.1
"""Relative error of a job's seconds: the card, its host and its driver have other things to do."""
MEASURED_NOISE = 0.03
"""The same, at least, of seconds measured with care."""
PACE, OWN = 1.0, 1.0
"""Relative errors of the seeds: what all coefficients of a stage have in common, and each one's own."""
MEASURED_OWN = 5.0
"""In place of `OWN` where seconds are measured with care: they tell the coefficients apart by themselves."""
PACE_DRIFT, OWN_DRIFT = 0.02, 0.005
"""The same of how a card changes from one job to the next."""
PACE_CHANGE, OWN_CHANGE = 1.0, 0.3
"""The same of a card whose driver or engine has changed."""
LEAST_S = 1e-4
"""No stage of a clip takes less."""
LEAST_SHARE = 0.02
"""Every coefficient is thought able to explain this share of a stage, or one that is 0 would stay so."""
SURPRISE = 3.0
"""Standard deviations beyond which seconds count as an accident."""
CHANGED_AFTER = 3
"""Surprises in a row, off the same way, that mean a changed card."""

Vector = tuple[float, ...]
Matrix = tuple[Vector, ...]


@dataclass(frozen=True)
class Observation:
    """Seconds of each stage of one clip on a card."""

    shape: Shape
    seconds: Mapping[str, float]
    sequential: bool = False
    """By a memory plan that runs the two guidance halves one after the other."""
    chunked: bool = False
    """By one that takes a few frames at once."""
    noise: float = JOB_NOISE
    """Relative error of the seconds."""


@dataclass(frozen=True)
class Law:
    """One stage's coefficients: their means, never negative, and covariance."""

    mean: Vector
    covariance: Matrix
    surprises: int = 0
    """Surprises in a row: positive where seconds were more than expected, negative where they were fewer."""


@dataclass(frozen=True)
class Calibration:
    """What is known of a model's speed on a class of cards."""

    laws: Mapping[str, Law]
    """By stage."""
    observations: int = 0

    @property
    def speed(self) -> Speed:
        return Speed(**{stage: self.laws[stage].mean for stage in STAGES})


def unmeasured(seed: Speed, own: float = OWN) -> Calibration:
    """What is known before the first clip: `seed`, give or take a factor of two or three.

    Args:
        own: relative error of each coefficient's seed.
    """
    means: dict[str, Vector] = {stage: getattr(seed, stage) for stage in STAGES}
    return Calibration({stage: Law(mean, _widened(mean, mean, PACE, own)) for stage, mean in means.items()})


def learn(calibration: Calibration, observation: Observation, cost: CostRow) -> Calibration:
    """What is known after one more job."""
    return _observed(calibration, observation, cost, drifts=True)


def calibrated(seed: Speed, observations: Sequence[Observation], cost: CostRow) -> Calibration:
    """What is known after clips that were measured with care, on one card, within minutes; nothing older counts."""
    calibration = unmeasured(_at_the_pace_of(observations, seed, cost), MEASURED_OWN)
    for observation in observations:
        calibration = _observed(calibration, observation, cost, drifts=False)
    return calibration


def to_record(calibration: Calibration) -> dict[str, Any]:
    """In JSON's types."""
    laws = {
        stage: {"mean": list(law.mean), "covariance": [list(row) for row in law.covariance], "surprises": law.surprises}
        for stage, law in calibration.laws.items()
    }
    return {"laws": laws, "observations": calibration.observations}


def from_record(record: Mapping[str, Any]) -> Calibration:
    """The way back from `to_record`."""
    laws = {
        stage: Law(tuple(law["mean"]), tuple(tuple(row) for row in law["covariance"]), law["surprises"])
        for stage, law in record["laws"].items()
    }
    return Calibration(laws, record["observations"])


def _at_the_pace_of(observations: Sequence[Observation], seed: Speed, cost: CostRow) -> Speed:
    """`seed`, each stage faster or slower by what these clips took against what it expects."""
    ratios: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for observation in observations:
        expected = stage_seconds(
            observation.shape, cost, seed, sequential=observation.sequential, chunked=observation.chunked
        )
        for stage, seconds in observation.seconds.items():
            ratios[stage].append(seconds / expected[stage])
    pace = {stage: statistics.median(found) if found else 1.0 for stage, found in ratios.items()}
    return Speed(**{stage: tuple(pace[stage] * value for value in getattr(seed, stage)) for stage in STAGES})


def _observed(calibration: Calibration, observation: Observation, cost: CostRow, *, drifts: bool) -> Calibration:
    units = work(observation.shape, cost, sequential=observation.sequential, chunked=observation.chunked)
    laws = {
        stage: _updated(law, units[stage], observation.seconds.get(stage, 0.0), observation.noise, drifts=drifts)
        for stage, law in calibration.laws.items()
    }
    return Calibration(laws, calibration.observations + 1)


def _updated(law: Law, units: Vector, seconds: float, noise: float, *, drifts: bool) -> Law:
    """The law after `units` of work took `seconds`; unchanged by seconds that no clip can take."""
    if not LEAST_S < seconds < math.inf:
        return law
    expected = dot(units, law.mean)
    floor = tuple(LEAST_SHARE * max(expected, seconds) / unit if unit else 0.0 for unit in units)
    scale = tuple(max(pair) for pair in zip(law.mean, floor, strict=True))
    covariance = law.covariance
    if drifts:
        covariance = _sum(covariance, _widened(law.mean, scale, PACE_DRIFT, OWN_DRIFT))
    error = seconds - expected
    own = (noise * seconds) ** 2
    known = dot(units, _product(covariance, units))
    surprises = 0
    if drifts and error**2 > SURPRISE**2 * (known + own):
        surprises = _counted(law.surprises, error)
        if abs(surprises) < CHANGED_AFTER:
            # As if measured so badly that it is no surprise.
            own = (error / SURPRISE) ** 2 - known
        else:
            surprises = 0
            covariance = _sum(covariance, _widened(law.mean, scale, PACE_CHANGE, OWN_CHANGE))
            known = dot(units, _product(covariance, units))
    shared = _product(covariance, units)
    gain = tuple(value / (known + own) for value in shared)
    mean = tuple(value + share * error for value, share in zip(law.mean, gain, strict=True))
    covariance = tuple(
        tuple(value - share * other for value, other in zip(row, shared, strict=True))
        for row, share in zip(covariance, gain, strict=True)
    )
    return Law(_non_negative(mean, covariance), covariance, surprises)


def _counted(surprises: int, error: float) -> int:
    """Surprises in a row after one more."""
    sign = 1 if error > 0 else -1
    return surprises + sign if surprises * sign > 0 else sign


def _non_negative(mean: Vector, covariance: Matrix) -> Vector:
    """The means with the negative ones at 0, and the others where the belief puts them, given that."""
    for _ in mean:
        least = min(range(len(mean)), key=lambda i: mean[i])
        if mean[least] >= 0 or covariance[least][least] <= 0:
            break
        excess = mean[least] / covariance[least][least]
        mean = tuple(value - excess * row[least] for value, row in zip(mean, covariance, strict=True))
        mean = tuple(0.0 if i == least else value for i, value in enumerate(mean))
    return tuple(max(0.0, value) for value in mean)


def _widened(mean: Vector, scale: Vector, pace: float, own: float) -> Matrix:
    """The covariance of errors that all coefficients share, and of each one's own."""
    return tuple(
        tuple(pace**2 * a * b + (own**2 * scale[i] ** 2 if i == j else 0.0) for j, b in enumerate(mean))
        for i, a in enumerate(mean)
    )


def _sum(left: Matrix, right: Matrix) -> Matrix:
    return tuple(tuple(a + b for a, b in zip(*rows, strict=True)) for rows in zip(left, right, strict=True))


def _product(matrix: Matrix, vector: Vector) -> Vector:
    return tuple(dot(row, vector) for row in matrix)
