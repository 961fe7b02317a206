"""Cost and placement against the counts and peaks they were fitted to, and the refusal's words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serving.errors import DoesNotFit
from serving.presets import I2VGEN_XL
from serving.scheduling.cards import CARDS, recognise
from serving.scheduling.cost import CALL_S, FRAMES_AT_ONCE, PIECEWISE, Shape, seconds, speed_of, tflop
from serving.scheduling.placement import Choices, Pool, place
from serving.scheduling.plans import MAX_CHUNK, PLANS, decode_chunk, largest_fitting, stages_gib

COST = I2VGEN_XL.cost
HEAVY = COST.model_copy(update={"in_pieces_gib": None, "encode_gib": 0.5})
"""Of a model whose long clips take more than its pictures."""
POOLS = [Pool("rtx4060", "m", 10, 8), Pool("a100", "m", 62, 40), Pool("other", "n", 200, 141)]


@pytest.mark.parametrize(
    ("side", "frames", "counted"),
    [(256, 8, 4.95), (512, 8, 20.9), (512, 16, 41.9), (768, 24, 157), (1024, 32, 428)],
)
def test_the_fit_reproduces_the_counted_operations(side: int, frames: int, counted: float) -> None:
    assert tflop(Shape(side, side, frames, 1, True), COST) == pytest.approx(counted, rel=0.03)


def test_without_guidance_little_more_than_half_the_work_and_half_the_activations() -> None:
    guided, plain = (Shape(512, 512, 16, 50, guided) for guided in (True, False))
    assert tflop(plain, COST) == pytest.approx(tflop(guided, COST) * COST.unguided_share)
    both, one = (stages_gib(PLANS[0], shape, COST)["denoise"] - COST.weights_gib for shape in (guided, plain))
    assert both / 2 < one < 0.6 * both


def test_a_small_job_may_go_to_every_card_of_its_model_fastest_first() -> None:
    placement = place(Shape(512, 512, 8, 30, True), "m", COST, POOLS)
    assert placement.pools == ("a100", "rtx4060")
    for name, tflops in (("rtx4060", 10), ("a100", 62)):
        assert placement.seconds[name] == seconds(Shape(512, 512, 8, 30, True), COST, tflops)


def test_a_measured_speed_counts_and_not_the_class_s() -> None:
    shape = Shape(512, 512, 8, 30, True)
    slow = replace(POOLS[1], speed=speed_of(1, COST))
    placement = place(shape, "m", COST, [POOLS[0], slow])
    assert placement.pools == ("rtx4060", "a100")
    assert placement.seconds["a100"] == seconds(shape, COST, 1)


def test_halves_in_sequence_take_a_second_call_of_the_model_each_step() -> None:
    shape, small = Shape(1024, 1024, 32, 100, True), Pool("small", "m", 62, 8.4)
    placement = place(shape, "m", COST, [small, POOLS[1]])
    assert placement.plans["small"].name == "offload-sequential"
    assert placement.seconds["small"] - placement.seconds["a100"] == pytest.approx(100 * CALL_S)


def test_a_few_frames_at_once_take_more_launches_each_step() -> None:
    shape, small = Shape(1024, 1024, 32, 100, True), Pool("small", "m", 62, 12)
    placement = place(shape, "m", COST, [small, POOLS[1]])
    assert placement.plans["small"].name == "offload-chunked"
    more = PIECEWISE * (2 * 32 / FRAMES_AT_ONCE - 1)
    assert placement.seconds["small"] - placement.seconds["a100"] == pytest.approx(100 * CALL_S * more)


def test_a_large_job_goes_only_where_it_fits() -> None:
    assert place(Shape(1024, 1024, 32, 100, True), "m", COST, POOLS).pools == ("a100",)


@pytest.mark.parametrize(
    ("memory_gib", "side", "frames", "plan"),
    [
        (10, 512, 16, "resident"),
        (8, 512, 16, "resident"),
        (7, 512, 16, "offload"),
        (24, 1024, 32, "resident"),
        (14, 1024, 32, "offload"),
        (12, 1024, 32, "offload-chunked"),
        (8.4, 1024, 32, "offload-sequential"),
        (8.3, 1024, 32, "offload-sequential-chunked"),
        (8, 1024, 32, None),
    ],
)
def test_the_fastest_exact_plan_that_fits_is_taken(memory_gib: float, side: int, frames: int, plan: str | None) -> None:
    found = largest_fitting(Shape(side, side, frames, 50, True), COST, memory_gib)
    assert (found.name if found else None) == plan


def test_what_fits_nowhere_is_refused_with_what_would_fit() -> None:
    with pytest.raises(DoesNotFit) as caught:
        place(Shape(1024, 1024, 32, 100, True), "m", HEAVY, [POOLS[0]])
    message = caught.value.message
    assert "needs 8.4 GiB" in message
    assert "rtx4060 8 GiB" in message
    frames = int(message.split("At this size ")[1].split(" frames")[0])
    assert place(Shape(1024, 1024, frames, 100, True), "m", HEAVY, [POOLS[0]]).pools == ("rtx4060",)


def test_where_not_even_one_frame_fits_a_smaller_resolution_is_advised() -> None:
    with pytest.raises(DoesNotFit, match="Choose a smaller resolution"):
        place(Shape(1024, 1024, 32, 100, True), "m", COST, [Pool("tiny", "m", 1, 4)])


SQUARES = {"256p": (256, 256), "512p": (512, 512), "768p": (768, 768), "1024p": (1024, 1024)}


def refusal(memory_gib: float, side: int, frames: int) -> str:
    with pytest.raises(DoesNotFit) as caught:
        place(Shape(side, side, frames, 50, True), "m", HEAVY, [Pool("one", "m", 1, memory_gib)], Choices(8, SQUARES))
    return caught.value.message


def test_both_ways_out_are_the_largest_that_fit() -> None:
    message = refusal(8, 1024, 32)
    frames = int(message.split("At this size ")[1].split(" frames")[0])
    assert "With 32 frames 768p (768x768) would fit." in message
    pool = Pool("one", "m", 1, 8)
    assert place(Shape(1024, 1024, frames, 50, True), "m", HEAVY, [pool]).pools == ("one",)
    assert place(Shape(768, 768, 32, 50, True), "m", HEAVY, [pool]).pools == ("one",)
    for side, more in ((1024, frames + 1), (1024, 32)):
        with pytest.raises(DoesNotFit):
            place(Shape(side, side, more, 50, True), "m", HEAVY, [pool])


def test_fewer_frames_than_the_model_makes_are_not_advised() -> None:
    heavy = HEAVY.model_copy(update={"activation_gib": 2.0, "one_half_gib": None})
    with pytest.raises(DoesNotFit, match=r"have one 10 GiB\. With 32 frames 256p \(256x256\) would fit\.$"):
        place(Shape(1024, 1024, 32, 50, True), "m", heavy, [Pool("one", "m", 1, 10)], Choices(8, SQUARES))


def test_where_one_change_is_not_enough_both_are_advised() -> None:
    heavy = HEAVY.model_copy(update={"activation_gib": 20.0, "one_half_gib": None})
    with pytest.raises(DoesNotFit, match=r"have one 12 GiB\. 256p \(256x256\) with 9 frames would fit\.$"):
        place(Shape(1024, 1024, 32, 50, True), "m", heavy, [Pool("one", "m", 1, 12)], Choices(8, SQUARES))


def test_where_nothing_fits_it_says_so() -> None:
    assert refusal(2, 1024, 32).endswith("No clip of this model would fit.")


@pytest.mark.parametrize(("memory_gib", "chunk"), [(None, 1), (8, 1), (10.2, 2), (80, MAX_CHUNK)])
def test_frames_decoded_at_once(memory_gib: float | None, chunk: int) -> None:
    assert decode_chunk(PLANS[0], Shape(1024, 1024, 32, 50, True), COST, memory_gib) == chunk


@pytest.mark.parametrize(
    ("name", "memory", "expected"),
    [
        ("NVIDIA GeForce RTX 4090", 23.5, "rtx4090"),
        ("NVIDIA A100-SXM4-40GB", 39.4, "a100-40gb"),
        ("NVIDIA A100 80GB PCIe", 79.2, "a100-80gb"),
        ("NVIDIA H100 80GB HBM3", 79.6, "h100"),
        ("AMD EPYC", 0, "cpu"),
    ],
)
def test_cards_are_recognised(name: str, memory: float, expected: str) -> None:
    assert recognise(name, memory) is CARDS[expected]


def test_an_unknown_card_keeps_its_memory() -> None:
    assert recognise("NVIDIA B300", 270).memory_gib == 270


def test_several_parts_take_their_times_as_long_in_the_memory_of_one_and_one_card() -> None:
    one = Shape(512, 512, 16, 50, True)
    three = replace(one, parts=3)
    alone, joined = (place(shape, "m", COST, POOLS) for shape in (one, three))
    assert joined.seconds == {name: pytest.approx(3 * s) for name, s in alone.seconds.items()}
    assert joined.plans == alone.plans
    assert tflop(three, COST) == 3 * tflop(one, COST)
    assert set(alone.shared) == set(alone.seconds)
    assert joined.shared == {}
    assert three.words == "512x512, 3 x 16 frames, guided"
