"""The estimator of a card's speed: measured steps of an H200, and properties over random cards."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.presets import I2VGEN_XL
from serving.scheduling.calibration import (
    CHANGED_AFTER,
    MEASURED_NOISE,
    Calibration,
    Observation,
    calibrated,
    from_record,
    learn,
    to_record,
    unmeasured,
)
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import STAGES, Shape, Speed, speed_of, stage_seconds

COST = I2VGEN_XL.cost
SEED = speed_of(CARDS["h200"].tflops, COST)
STANDARD = Shape(512, 512, 16, 50, True)
FEW = [Shape(side, side, frames, 1, True) for side, frames in ((256, 8), (256, 24), (512, 16), (1024, 8), (1024, 16))]
CORNERS = [
    Shape(256, 256, 32, 100, False),
    Shape(1024, 1024, 32, 100, True),
    Shape(1368, 768, 8, 50, True),
    Shape(512, 512, 8, 30, False),
]
# Milliseconds of a guided step on an H200.
H200_MS = {(256, 8): 14.1, (512, 8): 46.8, (512, 16): 93.3, (768, 24): 357.6, (1024, 32): 936.6}

# Examples take longer on a busy machine, and say the same.
several = settings(max_examples=40)

paces = st.floats(0.1, 10.0)
cards = st.builds(
    lambda pace, own: scaled(SEED, pace, own), paces, st.lists(st.floats(0.5, 2.0), min_size=7, max_size=7)
)


def scaled(speed: Speed, pace: float, own: Sequence[float] = (1.0,) * 7) -> Speed:
    """A card that takes `pace` times as long, and each unit of work its `own` factor longer."""
    factors = iter(own)
    return Speed(**{stage: tuple(pace * next(factors) * c for c in getattr(speed, stage)) for stage in STAGES})


def clip(card: Speed, shape: Shape, noise: float = 1.0, *, sequential: bool = False) -> Observation:
    seconds = stage_seconds(shape, COST, card, sequential=sequential)
    return Observation(shape, {stage: noise * spent for stage, spent in seconds.items()}, sequential)


def measured(card: Speed, *, sequential: bool = False) -> list[Observation]:
    """The few clips of a calibration."""
    return [replace(clip(card, shape, sequential=sequential), noise=MEASURED_NOISE) for shape in FEW]


def total(speed: Speed, shape: Shape) -> float:
    return sum(stage_seconds(shape, COST, speed).values())


def taught(known: Calibration, card: Speed, shapes: Sequence[Shape], noise: float = 0.05) -> Calibration:
    """What is known after a job of each shape, `noise` of whose seconds are not the card's doing."""
    chance = random.Random(0)
    for shape in shapes:
        known = learn(known, clip(card, shape, chance.lognormvariate(0, noise)), COST)
    return known


def test_an_h200_by_three_of_its_five_measured_shapes() -> None:
    fit = [(256, 8), (512, 16), (1024, 32)]
    seen = [
        Observation(Shape(s, s, f, 1, True), {"denoise": H200_MS[s, f] / 1000}, noise=MEASURED_NOISE) for s, f in fit
    ]
    speed = calibrated(speed_of(60, COST), seen, COST).speed
    for (side, frames), milliseconds in H200_MS.items():
        step = stage_seconds(Shape(side, side, frames, 1, True), COST, speed)["denoise"]
        assert step == pytest.approx(milliseconds / 1000, rel=0.08)


def test_the_seed_of_an_h200_is_near() -> None:
    for (side, frames), milliseconds in H200_MS.items():
        step = stage_seconds(Shape(side, side, frames, 1, True), COST, SEED)["denoise"]
        assert step == pytest.approx(milliseconds / 1000, rel=0.12)


@several
@given(cards)
def test_a_few_clips_tell_a_card_s_law(card: Speed) -> None:
    speed = calibrated(SEED, measured(card), COST).speed
    for shape in CORNERS:
        assert total(speed, shape) == pytest.approx(total(card, shape), rel=0.05)


@several
@given(cards)
def test_jobs_alone_tell_it_too(card: Speed) -> None:
    jobs = [replace(shape, num_inference_steps=50) for shape in FEW] * 8
    speed = taught(unmeasured(SEED), card, jobs, noise=0.02).speed
    for shape in CORNERS:
        assert total(speed, shape) == pytest.approx(total(card, shape), rel=0.3)
    for shape in jobs[: len(FEW)]:
        assert total(speed, shape) == pytest.approx(total(card, shape), rel=0.2)


@several
@given(cards)
def test_halves_in_sequence_cost_a_second_call(card: Speed) -> None:
    seen = measured(card, sequential=True)
    assert total(calibrated(SEED, seen, COST).speed, STANDARD) == pytest.approx(total(card, STANDARD), rel=0.05)


@several
@given(cards, st.integers(0, len(FEW) - 1), st.floats(0.3, 4.0))
def test_a_clip_known_to_be_unsteady_spoils_little(card: Speed, place: int, factor: float) -> None:
    """Measured while something else ran, as its steps show: the other clips and the counted proportions hold."""
    seen = measured(card)
    seconds = {stage: factor * spent for stage, spent in seen[place].seconds.items()}
    seen[place] = replace(seen[place], seconds=seconds, noise=abs(factor - 1) + MEASURED_NOISE)
    speed = calibrated(SEED, seen, COST).speed
    for shape in [*CORNERS, STANDARD]:
        assert total(speed, shape) == pytest.approx(total(card, shape), rel=0.15)


@several
@given(cards, st.floats(0.02, 50.0), st.sampled_from(FEW + CORNERS))
def test_one_accident_moves_estimates_little(card: Speed, factor: float, shape: Shape) -> None:
    before = calibrated(SEED, measured(card), COST)
    after = learn(before, clip(card, shape, factor), COST)
    for asked in [*CORNERS, STANDARD]:
        assert total(after.speed, asked) == pytest.approx(total(before.speed, asked), rel=0.1)


@several
@given(cards, st.floats(0.2, 5.0), st.sampled_from([*CORNERS, STANDARD]))
def test_a_changed_card_is_followed_everywhere(card: Speed, pace: float, shape: Shape) -> None:
    """One shape alone is asked for; the others, never run since, follow it."""
    before = calibrated(SEED, measured(card), COST)
    changed = scaled(card, pace)
    after = taught(before, changed, [shape] * (6 * CHANGED_AFTER), noise=0.0)
    assert total(after.speed, shape) == pytest.approx(total(changed, shape), rel=0.1)
    for asked in [*CORNERS, STANDARD]:
        assert total(after.speed, asked) == pytest.approx(total(changed, asked), rel=0.35)


@several
@given(cards, st.sampled_from([*CORNERS, STANDARD]))
def test_what_nobody_asks_for_is_not_forgotten(card: Speed, shape: Shape) -> None:
    before = calibrated(SEED, measured(card), COST)
    after = taught(before, card, [shape] * 200)
    for asked in [*CORNERS, STANDARD]:
        assert total(after.speed, asked) == pytest.approx(total(card, asked), rel=0.15)


@several
@given(
    st.lists(
        st.tuples(st.sampled_from(FEW + CORNERS), st.floats(0.0, 1e6, allow_nan=False), st.booleans()), max_size=40
    )
)
def test_whatever_is_reported_speeds_are_finite_and_not_negative(jobs: list[tuple[Shape, float, bool]]) -> None:
    known = unmeasured(SEED)
    for shape, seconds, sequential in jobs:
        known = learn(known, Observation(shape, dict.fromkeys(STAGES, seconds), sequential), COST)
    for stage in STAGES:
        assert all(0 <= value < 1e9 for value in getattr(known.speed, stage))
        assert all(known.laws[stage].covariance[i][i] >= 0 for i in range(len(known.laws[stage].mean)))


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_seconds_that_no_clip_takes_teach_nothing(seconds: float) -> None:
    known = unmeasured(SEED)
    assert learn(known, Observation(STANDARD, dict.fromkeys(STAGES, seconds)), COST).laws == known.laws


@several
@given(cards)
def test_a_record_comes_back_as_it_went(card: Speed) -> None:
    known = taught(unmeasured(SEED), card, FEW)
    assert from_record(json.loads(json.dumps(to_record(known)))) == known
    assert known.observations == len(FEW)


def test_a_clip_of_several_parts_teaches_what_its_parts_alone_would() -> None:
    speed = speed_of(50.0, COST)
    shape = replace(STANDARD, parts=4)
    seconds_of_it = stage_seconds(shape, COST, speed)
    calibration = unmeasured(speed)
    learned = learn(calibration, Observation(shape, seconds_of_it), COST)
    assert learned.speed.denoise == pytest.approx(speed.denoise)
    assert learned.speed.decode == pytest.approx(speed.decode)
