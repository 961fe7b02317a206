"""Parameters to request: ranges, presets, sizes, and errors that name the field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import I2VError, InvalidParameter, InvalidPrompt, ModelNotFound
from serving.framing import frame_size
from serving.parameters import MAX_SEED, VideoParameters
from serving.presets import BUILTIN, I2VGEN_XL, ModelProfile, profile_for, target_size
from serving.request import VideoRequest, resolve


def ask(**fields: Any) -> VideoRequest:
    return resolve(VideoParameters(**{"prompt": "the dress turns", **fields}), I2VGEN_XL, seed=7)


def test_defaults_are_the_models() -> None:
    request = ask()
    assert (request.width, request.height, request.num_frames, request.fps) == (512, 512, 16, 8)
    assert (request.num_inference_steps, request.guidance_scale, request.seed) == (50, 9.0, 7)
    assert request.negative_prompt is not None
    assert request.negative_prompt.startswith("Distorted, discontinuous")


@pytest.mark.parametrize(
    ("preset", "size", "frames", "steps", "fps"),
    [
        ("preview", 512, 8, 30, 8),
        ("standard", 512, 16, 50, 8),
        ("high", 768, 24, 80, 12),
        ("extreme", 1024, 32, 100, 8),
    ],
)
def test_presets(preset: str, size: int, frames: int, steps: int, fps: int) -> None:
    request = ask(preset=preset)
    assert (request.width, request.num_frames, request.num_inference_steps, request.fps) == (size, frames, steps, fps)


def test_explicit_parameters_override_the_preset() -> None:
    request = ask(preset="high", num_frames=9, resolution="256p")
    assert (request.width, request.num_frames, request.num_inference_steps) == (256, 9, 80)


def test_seed_zero_is_a_seed() -> None:
    assert ask(seed=0).seed == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"num_frames": 7}, "num_frames"),
        ({"num_frames": 33}, "num_frames"),
        ({"num_frames": 0}, "num_frames"),
        ({"fps": 3}, "fps"),
        ({"fps": 25}, "fps"),
        ({"num_inference_steps": 9}, "num_inference_steps"),
        ({"num_inference_steps": 101}, "num_inference_steps"),
        ({"guidance_scale": 0.9}, "guidance_scale"),
        ({"guidance_scale": 20.1}, "guidance_scale"),
        ({"seed": -1}, "seed"),
        ({"seed": MAX_SEED + 1}, "seed"),
        ({"resolution": "300p"}, "resolution"),
        ({"preset": "best"}, "preset"),
        ({"size": "512"}, "size"),
        ({"size": "0x0"}, "size"),
        ({"size": "513x512"}, "size"),
        ({"size": "64x64"}, "size"),
        ({"size": "2048x2048"}, "size"),
        ({"size": "1024x256"}, "size"),
        ({"size": "512x512", "resolution": "512p"}, "resolution"),
        ({"aspect_ratio": "3:1"}, "aspect_ratio"),
        ({"aspect_ratio": "a:b"}, "aspect_ratio"),
        ({"deadline": 0}, "deadline"),
        ({"deadline": -1.5}, "deadline"),
        ({"seconds": 8}, "seconds"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": 1.7e308}, "seconds"),
        ({"seconds": 2, "num_frames": 16}, "seconds"),
    ],
)
def test_out_of_range_names_the_field_what_was_given_and_what_is_allowed(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        ask(**fields)
    assert caught.value.param == param
    assert caught.value.message.startswith(f"{param}: ")
    assert str(fields[param]) in caught.value.message or "together" in caught.value.message


@pytest.mark.parametrize("prompt", ["", "  \n", "a" * 2001, "nul\x00", "bell\x07"])
def test_bad_prompts(prompt: str) -> None:
    with pytest.raises(InvalidPrompt) as caught:
        ask(prompt=prompt)
    assert caught.value.param == "prompt"


def test_unknown_model() -> None:
    with pytest.raises(ModelNotFound):
        ask(model="sora-2")


def test_a_deadline_is_optional_and_old_requests_without_one_are_read() -> None:
    assert ask().deadline_s is None
    request = ask(deadline=0.5)
    assert request.deadline_s == 0.5
    assert VideoRequest.model_validate(request.model_dump(exclude={"deadline_s"})).deadline_s is None


def test_no_acceleration_is_ever_on_by_default() -> None:
    assert ask().acceleration == ask(acceleration="").acceleration == ask(acceleration=[]).acceleration == ()
    assert ask().shape.accelerations == ()
    request = ask()
    assert VideoRequest.model_validate(request.model_dump(exclude={"acceleration"})).acceleration == ()


def test_accelerations_are_a_list_or_names_with_commas_between() -> None:
    names = ("deepcache", "guidance-interval", "fp8")
    assert ask(acceleration=["fp8", "deepcache", "guidance-interval"]).acceleration == names
    assert ask(acceleration="fp8, deepcache,guidance-interval").acceleration == names
    assert ask(acceleration="fp8,deepcache,guidance-interval").shape.accelerations == names


@pytest.mark.parametrize("name", ["dpm-solver++", "unipc"])
def test_a_faster_scheduler_takes_half_of_the_steps_that_are_not_asked_for(name: str) -> None:
    assert ask(acceleration=name).num_inference_steps == 25
    assert ask(acceleration=name, preset="high").num_inference_steps == 40
    assert ask(acceleration=name, num_inference_steps=50).num_inference_steps == 50
    assert ask(acceleration="deepcache").num_inference_steps == 50
    builtin = resolve(VideoParameters(prompt="p", acceleration=[name]), profile_for(BUILTIN), seed=0)
    assert builtin.num_inference_steps == 4  # no fewer than the model allows


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"acceleration": "turbo"}, ["turbo", "deepcache", "fp8"]),
        ({"acceleration": ["deepcache", "turbo"]}, ["turbo"]),
        ({"acceleration": "deepcache,deepcache"}, ["deepcache", "twice"]),
        ({"acceleration": "unipc,dpm-solver++"}, ["unipc", "dpm-solver++", "exclude"]),
        ({"acceleration": "guidance-interval", "guidance_scale": 1.0}, ["guidance-interval", "guidance_scale"]),
    ],
)
def test_accelerations_that_cannot_be(fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InvalidParameter) as caught:
        ask(**fields)
    assert caught.value.param == "acceleration"
    assert caught.value.message.startswith("acceleration: ")
    assert all(word in caught.value.message for word in words)


def test_a_model_offers_what_its_profile_says() -> None:
    bare = I2VGEN_XL.model_copy(update={"name": "bare", "accelerations": {}})
    with pytest.raises(InvalidParameter, match="bare offers none"):
        resolve(VideoParameters(prompt="p", acceleration=["deepcache"]), bare, seed=0)
    with pytest.raises(ValueError, match="turbo"):
        ModelProfile.model_validate(I2VGEN_XL.model_dump() | {"accelerations": {"turbo": {}}})


def test_seconds_times_fps_gives_the_frames() -> None:
    assert ask(seconds=2, fps=12).num_frames == 24


def test_a_model_without_negative_prompt_says_so() -> None:
    parameters = VideoParameters(prompt="pan left", negative_prompt="blurry")
    with pytest.raises(InvalidParameter, match="takes no negative prompt"):
        resolve(parameters, profile_for(BUILTIN), seed=0)


@pytest.mark.parametrize(
    ("size", "expected"),
    [("1280x720", (1280, 720)), ("720x1280", (720, 1280)), ("1792x1024", (1352, 776)), ("1024x1792", (776, 1352))],
)
def test_the_contracts_sizes_are_understood(size: str, expected: tuple[int, int]) -> None:
    request = ask(size=size)
    assert (request.width, request.height) == expected


@given(
    side=st.sampled_from([256, 512, 768, 1024]),
    width=st.integers(64, 8192),
    height=st.integers(64, 8192),
)
def test_sizes_keep_area_and_aspect(side: int, width: int, height: int) -> None:
    found = target_size(side, width / height)
    assert all(s % 8 == 0 for s in found)
    assert found[0] * found[1] == pytest.approx(side * side, rel=0.05)
    wanted = min(max(width / height, 9 / 16), 16 / 9)
    assert found[0] / found[1] == pytest.approx(wanted, rel=0.05)


def test_the_pictures_aspect_decides_unless_one_is_given() -> None:
    parameters = VideoParameters(prompt="p")
    assert frame_size(parameters, I2VGEN_XL, (1600, 900)) == target_size(512, 16 / 9)
    square = VideoParameters(prompt="p", aspect_ratio="1:1")
    assert frame_size(square, I2VGEN_XL, (1600, 900)) == (512, 512)


def _errors(parameters: VideoParameters) -> Iterator[I2VError]:
    try:
        resolve(parameters, I2VGEN_XL, seed=0)
    except I2VError as error:
        yield error


# A fresh machine builds Hypothesis' table of characters first, which takes seconds where others work beside it.
@given(st.dictionaries(st.sampled_from(sorted(VideoParameters.model_fields)), st.text() | st.integers() | st.floats()))
def test_any_legal_types_give_a_request_or_one_of_our_errors(fields: dict[str, Any]) -> None:
    try:
        parameters = VideoParameters(**{"prompt": "p", **fields})
    except ValueError:
        return
    assert {error.param for error in _errors(parameters)} <= set(VideoParameters.model_fields)


@pytest.mark.parametrize(
    ("given", "kept"),
    [(None, "edge"), ("edge", "edge"), (" BLUR", "blur"), ("#0AF", "#00aaff"), ("#FfFfFf", "#ffffff")],
)
def test_backgrounds(given: str | None, kept: str) -> None:
    assert ask(background=given).background == kept


@pytest.mark.parametrize("given", ["", "white", "#12345", "#gggggg", "rgb(1,2,3)", "#ffffff;x"])
def test_other_backgrounds_are_refused(given: str) -> None:
    with pytest.raises(InvalidParameter, match="edge, blur, or a colour") as caught:
        ask(background=given)
    assert caught.value.param == "background"


def test_requests_from_before_there_were_backgrounds_are_read() -> None:
    old = ask().model_dump(exclude={"background", "focus"})
    assert VideoRequest.model_validate(old) == ask()
