"""When two cards take one job: never at another job's cost, and only where the deadline asks for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.presets import I2VGEN_XL
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import Shape, Speed, shared_stage_seconds, speed_of, stage_seconds
from serving.scheduling.pairing import CAUTION, pays
from serving.scheduling.placement import Pool, place

COST = I2VGEN_XL.cost
SHAPE = Shape(512, 512, 16, 50, True)
SECONDS = st.floats(0.01, 1e4)


def test_a_job_that_one_card_would_end_too_late() -> None:
    assert pays(left_s=6, alone_s=10, shared_s=5.5, idle=1, waiting=False)
    assert pays(left_s=10.5, alone_s=10, shared_s=5.5, idle=1, waiting=False)  # in time by too little
    assert pays(left_s=3, alone_s=10, shared_s=5.5, idle=1, waiting=False)  # late by less
    assert pays(left_s=-3, alone_s=10, shared_s=5.5, idle=7, waiting=False)
    assert not pays(left_s=20, alone_s=10, shared_s=5.5, idle=1, waiting=False)


@given(left_s=st.none() | st.floats(-1e4, 1e4), alone_s=SECONDS, shared_s=st.none() | SECONDS)
def test_what_nobody_gains_from_is_not_done(left_s: float | None, alone_s: float, shared_s: float | None) -> None:
    for idle, waiting in ((0, False), (1, True), (0, True)):
        assert not pays(left_s=left_s, alone_s=alone_s, shared_s=shared_s, idle=idle, waiting=waiting)
    done = pays(left_s=left_s, alone_s=alone_s, shared_s=shared_s, idle=1, waiting=False)
    if left_s is None or shared_s is None or left_s >= CAUTION * alone_s or shared_s >= alone_s:
        assert not done
    else:
        assert done


@given(left_s=st.floats(-1e4, 1e4), less_s=st.floats(0, 1e4), alone_s=SECONDS, shared_s=SECONDS)
def test_a_closer_deadline_asks_for_no_less(left_s: float, less_s: float, alone_s: float, shared_s: float) -> None:
    asked = pays(left_s=left_s, alone_s=alone_s, shared_s=shared_s, idle=1, waiting=False)
    closer = pays(left_s=left_s - less_s, alone_s=alone_s, shared_s=shared_s, idle=1, waiting=False)
    assert closer >= asked


@pytest.mark.parametrize(("side", "frames"), [(512, 16), (768, 24), (1024, 32)])
def test_two_cards_denoise_little_less_than_twice_as_fast(side: int, frames: int) -> None:
    shape, speed = Shape(side, side, frames, 50, True), speed_of(CARDS["h200"].tflops, COST)
    alone, shared = stage_seconds(shape, COST, speed), shared_stage_seconds(shape, COST, speed)
    assert 1.75 < alone["denoise"] / shared["denoise"] < 1 / COST.unguided_share
    # One card does them.
    assert {stage: shared[stage] for stage in ("condition", "decode")} == {
        stage: alone[stage] for stage in ("condition", "decode")
    }


def test_the_exchange_costs_each_step() -> None:
    free = Speed((0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0))
    few, many = (shared_stage_seconds(replace(SHAPE, num_inference_steps=n), COST, free) for n in (10, 50))
    assert many["denoise"] == pytest.approx(5 * few["denoise"]) != 0


def test_placement_says_what_two_cards_of_each_pool_take() -> None:
    pools = [Pool("rtx4060", "m", 12, 8), Pool("a100", "m", 62, 40), Pool("other", "n", 200, 141)]
    placement = place(SHAPE, "m", COST, pools)
    assert placement.shared.keys() == placement.seconds.keys() == {"rtx4060", "a100"}
    assert all(placement.shared[name] < placement.seconds[name] for name in placement.pools)
    measured = place(SHAPE, "m", COST, [replace(pools[1], speed=speed_of(1, COST))])
    assert measured.shared["a100"] == sum(shared_stage_seconds(SHAPE, COST, speed_of(1, COST)).values())
    assert place(replace(SHAPE, guided=False), "m", COST, pools).shared == {}
