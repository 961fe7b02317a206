"""What accelerations mean for each step, and what the cost model makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serving.errors import DoesNotFit
from serving.presets import BUILTIN, I2VGEN_XL, profile_for
from serving.scheduling.accelerations import ACCELERATIONS, EXACT, Step, counted, lacking, steps
from serving.scheduling.calibration import Observation, learn, unmeasured
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import Shape, speed_of, stage_seconds, tflop, work
from serving.scheduling.placement import Pool, place
from serving.scheduling.plans import MARGIN, PLANS, MemoryPlan, stages_gib

COST = I2VGEN_XL.cost
STANDARD = Shape(512, 512, 16, 50, True)


def with_(*names: str, shape: Shape = STANDARD) -> Shape:
    return replace(shape, accelerations=names)


def marks(made: tuple[Step, ...]) -> str:
    """A letter a step: whole, keeping or cached, small where unguided."""
    letters = ("c" if step.cached else "k" if step.keeps else "w" for step in made)
    return "".join(letter if step.unguided else letter.upper() for letter, step in zip(letters, made, strict=True))


@pytest.mark.parametrize(
    ("names", "count", "options", "expected"),
    [
        ((), 4, {}, "WWWW"),
        (("dpm-solver++", "fp8"), 4, {}, "WWWW"),
        (("deepcache",), 5, {}, "KCKCW"),
        (("deepcache",), 1, {}, "W"),
        (("deepcache",), 7, {"interval": 3}, "KCCKCCW"),
        (("deepcache",), 4, {"interval": 1}, "WWWW"),
        (("guidance-interval",), 10, {}, "wwWWWWWwww"),
        (("guidance-interval",), 4, {"span": (0.0, 1.0)}, "WWWW"),
        (("guidance-interval",), 4, {"span": (0.0, 0.0)}, "wwww"),
        # Guidance begins anew with a whole step, though a cached one were due.
        (("deepcache", "guidance-interval"), 10, {}, "kcKCKCKckc"),
        (("deepcache", "guidance-interval"), 6, {"span": (0.5, 1.0)}, "kcwKCW"),
        (("deepcache", "guidance-interval"), 5, {"span": (0.2, 1.0)}, "wKCKC"),
    ],
)
def test_steps(names: tuple[str, ...], count: int, options: dict[str, object], expected: str) -> None:
    assert marks(steps(count, names, **options)) == expected  # type: ignore[arg-type]


def test_a_guided_step_never_uses_features_of_the_conditional_half_alone() -> None:
    for count in range(1, 40):
        for interval in (2, 3, 4):
            for span in ((0.0, 0.5), (0.2, 0.7), (0.33, 0.4), (0.5, 1.0)):
                kept: Step | None = None
                for step in steps(count, ("deepcache", "guidance-interval"), interval=interval, span=span):
                    if step.cached:
                        assert kept is not None
                        assert kept.keeps
                        assert step.unguided or not kept.unguided
                    else:
                        kept = step


def test_without_names_all_steps_are_exact() -> None:
    assert set(steps(100)) == {EXACT}


def test_work_is_what_the_steps_are() -> None:
    calls, linear, spatial = work(STANDARD, COST)["denoise"]
    half = work(with_("deepcache"), COST)["denoise"]
    assert half == pytest.approx(
        (
            calls * (1 + COST.cached_linear) / 2,
            linear * (1 + COST.cached_linear) / 2,
            spatial * (1 + COST.cached_spatial) / 2,
        )
    )
    assert tflop(STANDARD, COST) / tflop(with_("deepcache"), COST) > 1.4
    interval = work(with_("guidance-interval"), COST)["denoise"]
    assert interval == pytest.approx((50, *(value * (1 + COST.unguided_share) / 2 for value in (linear, spatial))))
    assert work(with_("guidance-interval"), COST, sequential=True)["denoise"][0] == 75
    for name in ("dpm-solver++", "unipc", "fp8"):
        assert work(with_(name), COST) == work(STANDARD, COST)


def test_only_denoising_is_cheaper() -> None:
    exact, cached = (work(shape, COST) for shape in (STANDARD, with_("deepcache", "guidance-interval")))
    assert {stage for stage in exact if exact[stage] != cached[stage]} == {"denoise"}


@pytest.mark.parametrize("names", [("deepcache",), ("guidance-interval",), ("deepcache", "guidance-interval")], ids=str)
def test_an_accelerated_clip_teaches_what_an_exact_one_would(names: tuple[str, ...]) -> None:
    """A card that is as fast as thought stays so; one that was counted as exact would seem faster."""
    speed = speed_of(CARDS["h200"].tflops, COST)
    known = unmeasured(speed)
    shape = with_(*names)
    seconds = stage_seconds(shape, COST, speed)
    for _ in range(20):
        known = learn(known, Observation(shape, seconds), COST)
    assert known.speed.denoise == pytest.approx(speed.denoise, rel=1e-6)
    poisoned = unmeasured(speed)
    for _ in range(20):
        poisoned = learn(poisoned, Observation(STANDARD, seconds), COST)
    exact_s = stage_seconds(STANDARD, COST, speed)["denoise"]
    assert stage_seconds(STANDARD, COST, poisoned.speed)["denoise"] < 0.85 * exact_s


def test_fp8_is_not_counted_and_so_teaches_nothing() -> None:
    assert not counted(("deepcache", "fp8"))
    assert counted(("deepcache", "guidance-interval", "unipc"))


def test_features_and_float8_weights_take_memory() -> None:
    large = Shape(1024, 1024, 32, 100, True)
    features = COST.cached_gib * large.megapixels * large.num_frames
    for plan in PLANS:
        plain = denoising_gib(plan, large)
        assert denoising_gib(plan, with_("deepcache", shape=large)) == pytest.approx(plain + MARGIN * features)
        assert denoising_gib(plan, with_("fp8", shape=large)) == pytest.approx(plain + COST.float8_gib)
    unguided = replace(large, guided=False)
    plain = denoising_gib(PLANS[0], unguided)
    assert denoising_gib(PLANS[0], with_("deepcache", shape=unguided)) == pytest.approx(plain + MARGIN * features / 2)


def denoising_gib(plan: MemoryPlan, shape: Shape) -> float:
    return stages_gib(plan, shape, COST)["denoise"]


def pools(*names: str) -> list[Pool]:
    rows = [CARDS[name] for name in names]
    return [Pool(r.name, "i2v", r.tflops, r.memory_gib, compute_capability=r.compute_capability) for r in rows]


def test_fp8_goes_only_to_cards_that_can() -> None:
    cards = pools("rtx3090", "rtx4090", "a100-80gb", "h100")
    assert set(place(STANDARD, "i2v", COST, cards).pools) == {"rtx3090", "rtx4090", "a100-80gb", "h100"}
    assert set(place(with_("fp8"), "i2v", COST, cards).pools) == {"rtx4090", "h100"}


def test_where_no_card_can_the_refusal_names_the_field_and_what_each_has() -> None:
    with pytest.raises(DoesNotFit, match=r"fp8 needs compute capability 8\.9") as caught:
        place(with_("fp8"), "i2v", COST, pools("rtx3090", "a100-80gb"))
    assert caught.value.param == "acceleration"
    assert "rtx3090" in caught.value.message
    assert "a card has 8.6" in caught.value.message
    with pytest.raises(DoesNotFit) as caught:
        place(replace(with_("fp8"), width=16384, height=16384), "i2v", COST, pools("rtx3090", "h100"))
    assert caught.value.param == "num_frames"


@pytest.mark.parametrize(("capability", "able"), [(0.0, False), (8.0, False), (8.6, False), (8.9, True), (9.0, True)])
def test_which_cards_can_do_fp8(capability: float, able: bool) -> None:
    assert (lacking(("deepcache", "fp8"), capability) is None) == able
    assert lacking(("deepcache", "unipc"), 0.0) is None


def test_every_row_excludes_what_excludes_it() -> None:
    for row in ACCELERATIONS.values():
        assert all(row.name in ACCELERATIONS[other].excludes for other in row.excludes)


def test_the_models_offer_rows_of_the_table() -> None:
    assert set(I2VGEN_XL.accelerations) == set(ACCELERATIONS)
    assert set(profile_for(BUILTIN).accelerations) == set(ACCELERATIONS) - {"fp8"}
