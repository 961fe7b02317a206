"""How a clip is put together: which fields are legal, how many frames that gives, and what each part is asked for."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.encoding import MAX_RECIPE_BYTES
from serving.engine.contract import Clip
from serving.errors import I2VError, InvalidPrompt
from serving.joining import generate_parts, read_parts
from serving.montage import MAX_ANGLE_CHARACTERS, MAX_FRAMES, Montage
from serving.parameters import MAX_SEED, VideoParameters
from serving.presets import BUILTIN, I2VGEN_XL, profile_for
from serving.prompts.lint import lint
from serving.prompts.tokens import estimate
from serving.recipe import make_recipe
from serving.request import VideoRequest, resolve, reworded
from serving.scheduling.cards import CARDS
from serving.testing import EmulatedPipeline

MONTAGES = st.builds(Montage, segments=st.integers(1, 8), loop=st.sampled_from(["none", "pingpong"])) | st.builds(
    Montage, angles=st.lists(st.just("a pan"), min_size=2, max_size=6).map(tuple), loop=st.just("none")
)
ANGLES = ["the camera pans to the left", "the camera zooms in"]


def ask(**fields: Any) -> VideoRequest:
    return resolve(VideoParameters(**{"prompt": "the dress turns", **fields}), I2VGEN_XL, seed=7)


def refused(**fields: Any) -> tuple[str | None, str]:
    with pytest.raises(I2VError) as caught:
        ask(**fields)
    return caught.value.param, caught.value.message


def test_a_clip_is_one_part_where_nothing_else_is_said() -> None:
    request = ask()
    assert request.montage == Montage()
    assert request.montage.plain
    assert request.parts == (request,)
    assert (request.all_frames, request.all_steps, request.duration_s) == (16, 50, 2.0)
    assert ask(segments=1, angles=[], loop="none") == request


@pytest.mark.parametrize(
    ("fields", "frames"),
    [
        ({"segments": 3}, 16 + 15 + 15),
        ({"angles": ANGLES}, 2 * 16),
        ({"loop": "pingpong"}, 16 + 14),
        ({"segments": 2, "loop": "pingpong"}, 31 + 29),
        ({"angles": ANGLES, "loop": "pingpong"}, 32 + 30),
        ({"segments": 8, "num_frames": 32}, 249),
    ],
)
def test_frames_of_the_whole_clip(fields: dict[str, Any], frames: int) -> None:
    request = ask(**fields)
    assert request.all_frames == frames
    assert request.duration_s == frames / 8


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"segments": 0}, "segments", "0 given; allowed: 1 to 8"),
        ({"segments": 9}, "segments", "9 given; allowed: 1 to 8"),
        ({"angles": ["one"]}, "angles", "1 given; allowed: 2 to 6"),
        ({"angles": ["one"] * 7}, "angles", "7 given; allowed: 2 to 6"),
        ({"angles": ANGLES, "segments": 2}, "angles", "together with segments"),
        ({"angles": ["one", " "]}, "angles", "is empty"),
        ({"angles": ["one", "\x00"]}, "angles", "control characters"),
        ({"angles": ["one", "a" * (MAX_ANGLE_CHARACTERS + 1)]}, "angles", "501 characters"),
        ({"angles": ["one", "a" * 500], "prompt": "p" * 1600}, "angles", "2102 characters with the prompt"),
        ({"segments": 8, "num_frames": 32, "loop": "pingpong"}, "loop", f"has 496; at most {MAX_FRAMES}"),
        ({"seconds": 32, "segments": 8}, "seconds", "256 frames; allowed are 57 to 249 frames"),
        ({"seconds": 6, "segments": 8}, "seconds", "48 frames; allowed are 57"),
        ({"seconds": 1.7e308, "segments": 2}, "seconds", "inf frames"),
    ],
)
def test_what_is_refused_names_the_field(fields: dict[str, Any], param: str, words: str) -> None:
    found = refused(**fields)
    assert found[0] == param
    assert found[1].startswith(f"{param}: ")
    assert words in found[1]


@pytest.mark.parametrize(
    ("fields", "each", "frames"),
    [
        ({"seconds": 6, "segments": 3}, 17, 49),  # 48 asked for; parts of 16 would give 46
        ({"seconds": 4, "angles": ANGLES}, 16, 32),
        ({"seconds": 4, "loop": "pingpong"}, 17, 32),
        ({"seconds": 2}, 16, 16),
    ],
)
def test_seconds_are_the_whole_clip_s(fields: dict[str, Any], each: int, frames: int) -> None:
    request = ask(**fields)
    assert (request.num_frames, request.all_frames) == (each, frames)


@given(montage=MONTAGES, each=st.integers(2, 32))
def test_parts_of_the_length_that_a_total_asks_for_give_that_total(montage: Montage, each: int) -> None:
    assert montage.each(montage.total(each)) == each


@given(montage=MONTAGES, seed=st.integers(0, MAX_SEED))
def test_each_part_has_a_legal_seed_of_its_own_and_the_first_the_clip_s(montage: Montage, seed: int) -> None:
    seeds = montage.seeds(seed)
    assert seeds[0] == seed
    assert len(set(seeds)) == montage.parts
    assert all(0 <= one <= MAX_SEED for one in seeds)


def test_the_next_seed_after_the_largest_is_zero() -> None:
    assert Montage(segments=3).seeds(MAX_SEED - 1) == (MAX_SEED - 1, MAX_SEED, 0)


@given(montage=MONTAGES, each=st.integers(1, 9))
def test_the_frames_shown_are_the_parts_own_in_order(montage: Montage, each: int) -> None:
    """Each frame holds the part it is of, and its place there."""

    class Numbered(EmulatedPipeline):
        def generate(self, picture: Any, request: VideoRequest, **options: Any) -> Clip:
            frames = np.zeros((request.num_frames, 2, 2, 3), np.uint8)
            frames[..., 0], frames[:, ..., 1] = request.seed, np.arange(request.num_frames)[:, None, None]
            return Clip(frames, {}, None)

    model = Numbered(I2VGEN_XL, CARDS["h100"])
    changes = {"segments": montage.segments, "angles": montage.angles, "loop": montage.loop, "num_frames": each}
    request = ask(seed=0).model_copy(update=changes)
    joined = generate_parts(
        model,
        read_parts(model, None, request),  # type: ignore[arg-type]
        request,
        on_step=lambda *_: None,
        should_stop=lambda: False,
    )
    shown = [(int(frame[0, 0, 0]), int(frame[0, 0, 1])) for frame in joined.clip.frames]
    forward = [(part, place) for part in range(montage.parts) for place in range(montage.segments > 1 < part + 1, each)]
    assert len(shown) == montage.total(each)
    assert shown[: len(forward)] == forward
    assert shown[len(forward) :] == (forward[-2:0:-1] if montage.loop == "pingpong" else [])


@pytest.mark.parametrize("prompt", ["a mug on a table", "a mug on a table.", "a mug on a table, "])
def test_an_angle_adds_to_the_prompt(prompt: str) -> None:
    parts = ask(prompt=prompt, angles=ANGLES, seed=5).parts
    assert [part.prompt for part in parts] == [f"a mug on a table, {angle}" for angle in ANGLES]
    assert [part.seed for part in parts] == [5, 6]
    assert all(part.montage == Montage() for part in parts)


def test_a_new_prompt_keeps_the_parts_and_may_be_too_long_for_them() -> None:
    request = ask(angles=["a pan", "a" * 500], loop="pingpong")
    again = reworded(request, "the coat turns")
    assert again == request.model_copy(update={"prompt": "the coat turns"})
    with pytest.raises(InvalidPrompt) as caught:
        reworded(request, "p" * 1600)
    assert caught.value.param == "angles"


def test_requests_stored_before_there_were_parts_are_read() -> None:
    old = ask().model_dump(mode="json", exclude={"segments", "angles", "loop"})
    assert VideoRequest.model_validate(old) == ask()


def test_work_is_that_of_all_parts_and_memory_that_of_one() -> None:
    assert ask(segments=3).shape.parts == ask(angles=[*ANGLES, "a pan"]).shape.parts == 3
    assert ask(loop="pingpong").shape == ask().shape
    assert ask(segments=3).shape.num_frames == 16


def test_a_chain_drifts_and_says_so() -> None:
    def codes(**fields: Any) -> list[str]:
        return [caution.code for caution in lint(ask(**fields), I2VGEN_XL, estimate)]

    assert codes(prompt="the camera pans to the left") == []
    assert codes(prompt="the camera pans to the left", segments=2) == ["segments_drift"]


def test_cautions_of_one_angle_name_it() -> None:
    request = ask(prompt="a beautiful mug", angles=["the camera pans to the left", "in soft light"])
    found = [(caution.code, caution.field, caution.message[:8]) for caution in lint(request, I2VGEN_XL, estimate)]
    assert found == [("abstract_words", "prompt", '"beautif'), ("no_motion", "angles", "Angle 2:")]


def test_water_that_an_angle_names_may_flow_backwards() -> None:
    request = ask(prompt="a garden", angles=["a river flows past", "the camera pans to the left"])
    assert "backward_flow" in [caution.code for caution in lint(request, I2VGEN_XL, estimate)]


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "\U0001d518" * 2000, "segments": 8},
        {"prompt": "\U0001d518" * 1498, "angles": ["\U0001d518" * 500] * 6},
    ],
    ids=["segments", "angles"],
)
def test_the_longest_recipe_fits_into_the_file(fields: dict[str, Any]) -> None:
    model = EmulatedPipeline(I2VGEN_XL.faster(1e9), CARDS["h100"])
    request = ask(**fields, negative_prompt="\U0001d518" * 2000, seed=MAX_SEED, num_inference_steps=10)
    readings = read_parts(model, None, request)  # type: ignore[arg-type]
    joined = generate_parts(model, readings, request, on_step=lambda *_: None, should_stop=lambda: False)
    recipe = make_recipe(
        request,
        picture=b"",
        model="m" * 500,
        revision="r" * 100,
        card="c" * 100,
        dtype="float16",
        kernels="triton",
        scheduler="DDIMScheduler",
        timings_s=joined.clip.timings,
    )
    written = json.dumps(recipe | {"montage": joined.recipe}, ensure_ascii=False).encode()
    assert 60_000 < len(written) < MAX_RECIPE_BYTES


def test_the_builtin_model_takes_parts_too() -> None:
    parameters = VideoParameters(prompt="pan left", segments=3)
    assert resolve(parameters, profile_for(BUILTIN), seed=0).all_frames == 8 + 7 + 7
