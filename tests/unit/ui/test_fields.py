"""The table of advanced parameters: what models give it, and what of it goes into a submission."""

from __future__ import annotations

from typing import Any

import pytest

from serving.http.catalog import model_row
from serving.parameters import VideoParameters
from serving.presets import BUILTIN, I2VGEN_XL, ModelProfile, profile_for
from serving.request import resolve
from serving.ui.fields import FIELDS, asked, recalled, standing

SMALL = profile_for(BUILTIN)


def model(profile: ModelProfile) -> dict[str, Any]:
    """As the API has it."""
    parameters: dict[str, Any] = model_row(profile)["parameters"]
    return parameters


def test_every_field_is_the_apis() -> None:
    assert {field.name for field in FIELDS} <= set(VideoParameters.model_fields)


@pytest.mark.parametrize("profile", [SMALL, I2VGEN_XL], ids=lambda profile: profile.name)
def test_what_nobody_changed_is_not_named(profile: ModelProfile) -> None:
    assert asked(standing(model(profile), None), model(profile), None) == {}
    for name, preset in profile.presets.items():
        row = preset.model_dump() | {"name": name, "model": profile.name}
        values = standing(model(profile), row)
        assert asked(values, model(profile), row) == {}
        assert (values["num_frames"], values["resolution"]) == (preset.num_frames, preset.resolution)


def test_what_was_changed_is_named_as_a_form_has_it() -> None:
    offered = model(I2VGEN_XL)
    changed = {"num_frames": 24, "seed": "0", "acceleration": ["unipc", "deepcache"], "negative_prompt": ""}
    assert asked(standing(offered, None) | changed, offered, None) == {
        "num_frames": 24,
        "seed": "0",
        "acceleration": "unipc,deepcache",
        "negative_prompt": "",
    }


def test_angles_are_lines() -> None:
    offered = model(I2VGEN_XL)
    values = standing(offered, None) | {"angles": " pan left, slowly \n\nzoom in\n", "loop": "pingpong"}
    named = asked(values, offered, None)
    assert named == {"angles": '["pan left, slowly", "zoom in"]', "loop": "pingpong"}
    assert VideoParameters.model_validate({"prompt": "p", **named}).angles == ["pan left, slowly", "zoom in"]
    assert asked(values | {"angles": " \n", "loop": "none", "segments": 3}, offered, None) == {"segments": 3}


def test_a_field_that_a_model_does_not_take_is_never_named() -> None:
    offered = model(SMALL)
    assert asked(standing(offered, None) | {"negative_prompt": "blurry"}, offered, None) == {}


@pytest.mark.parametrize(
    "parts",
    [{"segments": 3}, {"angles": ["pan left, slowly", "zoom in"], "loop": "pingpong"}],
    ids=["segments", "angles"],
)
@pytest.mark.parametrize("profile", [SMALL, I2VGEN_XL], ids=lambda profile: profile.name)
def test_a_videos_settings_ask_for_the_same_again(profile: ModelProfile, parts: dict[str, Any]) -> None:
    given = VideoParameters(
        prompt="pan left", resolution="512p", aspect_ratio="16:9", num_frames=20, fps=10, num_inference_steps=40,
        guidance_scale=3.0, acceleration=["unipc"], seed=2**63 - 1, fit="pad", background="#ffffff", format="webm",
        **parts,
    )  # fmt: skip
    request = resolve(given, profile, seed=1)
    made = request.model_dump(exclude={"model", "prompt", "metadata"})
    again = asked(recalled(made, model(profile)), model(profile), None)
    assert resolve(VideoParameters(prompt="pan left", **again), profile, seed=2) == request
