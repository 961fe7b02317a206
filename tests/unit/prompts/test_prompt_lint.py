"""What is said of a request's words and guidance, to whom, and that it comes with a way out."""

from __future__ import annotations

import re
from typing import Any

import pytest

from serving.cautions import Caution
from serving.parameters import VideoParameters
from serving.presets import BUILTIN, I2VGEN_XL, Distance, profile_for
from serving.prompts.english import is_english
from serving.prompts.lint import lint, lint_prompt
from serving.prompts.motion import actions
from serving.prompts.tokens import estimate, tokenizer_of
from serving.request import resolve

LONG = "the camera pans across a table with " + "a mug and a plate and " * 30 + "a kettle boiling over"


def found(model: str = "", **fields: Any) -> dict[str, Caution]:
    profile = profile_for(BUILTIN) if model == BUILTIN else I2VGEN_XL
    request = resolve(VideoParameters(**{"prompt": "the dress turns", **fields}), profile, seed=0)
    return {caution.code: caution for caution in lint(request, profile, tokenizer_of(model) if model else estimate)}


def test_a_good_prompt_needs_no_word() -> None:
    assert found(prompt="camera orbiting around the smartphone, showing all sides") == {}


def test_each_caution_names_its_field_and_a_way_out() -> None:
    worst = {
        **found(prompt=f"A beautiful river, {LONG}, waves crashing, birds flying, boats sailing", guidance_scale=3),
        **found(prompt="a nice mug"),
        **found(prompt="die Kamera fährt langsam um das Sofa"),
    }
    assert set(worst) == {
        "prompt_too_long",
        "abstract_words",
        "many_actions",
        "no_motion",
        "not_english",
        "backward_flow",
        "guidance_drifts",
    }
    for caution in worst.values():
        assert caution.field in VideoParameters.model_fields
        assert re.fullmatch(r".+[.\"]", caution.message)
        assert caution.suggestion is not None
        assert caution.suggestion.endswith(".")
    assert '"beautiful"' in worst["abstract_words"].message or '"nice"' in worst["abstract_words"].message


def test_of_another_language_only_that_is_said() -> None:
    assert set(found(prompt="una mujer hermosa con un vestido rojo en la playa")) == {"not_english"}


def test_what_is_lost_of_a_long_prompt_is_shown() -> None:
    exact = found(BUILTIN, prompt=LONG)["prompt_too_long"]
    about = found(prompt=LONG)["prompt_too_long"]
    for caution in (exact, about):
        assert caution.field == "prompt"
        lost = re.search(r'"(.*?)(\.\.\.)?"', caution.message)
        assert lost is not None
        assert lost[1] in LONG
    assert " about " in about.message
    assert " about " not in exact.message


def test_a_long_negative_prompt_is_told_of_where_it_is_used() -> None:
    negative = ", ".join(["blurry hands"] * 60)
    assert found(negative_prompt=negative)["prompt_too_long"].field == "negative_prompt"
    assert "prompt_too_long" not in found(negative_prompt=negative, guidance_scale=1.0)


def test_flowing_water_wants_its_negative_prompt() -> None:
    prompt = "water flowing down the waterfall"
    caution = found(prompt=prompt)["backward_flow"]
    assert caution.field == "negative_prompt"
    assert "reverse motion, backward flow" in str(caution.suggestion)
    assert found(prompt=prompt, negative_prompt="blurry, reverse motion, backward flow") == {}
    assert found(prompt=prompt, guidance_scale=1.0).keys() == {"guidance_drifts"}
    assert found(BUILTIN, prompt=prompt) == {}


@pytest.mark.parametrize(
    ("scale", "code"),
    [
        (1.0, "guidance_drifts"),
        (6.9, "guidance_drifts"),
        (7.0, None),
        (9.0, None),
        (12.0, None),
        (12.5, "guidance_stiffens"),
        (16.5, "guidance_distorts"),
    ],
)
def test_guidance(scale: float, code: str | None) -> None:
    assert list(found(guidance_scale=scale)) == ([] if code is None else [code])


def test_guidance_is_the_models_own_matter() -> None:
    assert found(BUILTIN, prompt="pan left", guidance_scale=1.0) == {}


@pytest.mark.parametrize(
    ("prompt", "english"),
    [
        ("a woman wearing a 旗袍 turns around", True),
        ("red sneaker 慢慢转", False),
        ("сamera pans left", True),  # one letter is Cyrillic
        ("sautéed jalapeños, crème brûlée", True),
        ("sautées, brûlées", False),
        ("Söderhamn, Citroën", True),
        ("La Marzocco", True),
        ("kamera", False),
    ],
)
def test_where_english_ends(prompt: str, english: bool) -> None:
    assert is_english(prompt) is english


@pytest.mark.parametrize("count", [3, 4])
def test_up_to_three_actions_are_few(count: int) -> None:
    prompt = ", ".join(["a dog running", "a bird flying", "leaves falling", "a boat sailing"][:count])
    assert len(actions(prompt)) == count
    assert [caution.code for caution in lint_prompt(prompt, estimate)] == (["many_actions"] if count > 3 else [])


def test_the_same_verb_twice_is_one_action() -> None:
    assert actions("waves rolling, the ball rolling and the drum rolling, it rolls") == ["roll"]


@pytest.mark.parametrize(
    "text", ["", " ", "123", "!?", "4k 8fps", "🙂", "\u200b", "İ", "ǅ", "\ud7ff", "a" * 2000, "ß " * 900]
)
def test_odd_texts_break_nothing(text: str) -> None:
    is_english(text)
    lint_prompt(text, estimate)
    lint_prompt(text, tokenizer_of(BUILTIN))


def test_every_inexact_clip_is_said_to_be_one() -> None:
    prompt = "the camera pans to the left"
    assert "inexact" not in found(prompt=prompt)
    told = Distance(psnr_db=31.25, latent_error=0.1, clip="512x512, 16 frames")
    profile = I2VGEN_XL.model_copy(update={"accelerations": {"deepcache": told, "unipc": Distance()}})
    request = resolve(VideoParameters(prompt=prompt, acceleration=["deepcache", "unipc"]), profile, seed=0)
    unipc, deepcache = lint(request, profile, estimate)
    assert (deepcache.code, deepcache.field) == (unipc.code, unipc.field) == ("inexact", "acceleration")
    assert "deepcache" in deepcache.message
    assert "31.2 dB from it (512x512, 16 frames)" in deepcache.message
    assert "unipc" in unipc.message
    assert "not been measured" in unipc.message
