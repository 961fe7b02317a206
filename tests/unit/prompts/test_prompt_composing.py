"""Templates, prompts from titles, a sheet's own values, and what to try next."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from serving.errors import InvalidParameter
from serving.parameters import VideoParameters
from serving.presets import BUILTIN, I2VGEN_XL, ModelProfile, profile_for
from serving.prompts.catalog import CATALOG
from serving.prompts.composing import Written, category_named, subject_of, templates_of, write
from serving.prompts.lint import lint
from serving.prompts.motion import actions
from serving.prompts.tokens import estimate
from serving.prompts.tuning import hints
from serving.request import VideoRequest, resolve

SMALL = profile_for(BUILTIN)


def resolved(written: Written, profile: ModelProfile = I2VGEN_XL, own: dict[str, Any] | None = None) -> VideoRequest:
    return resolve(VideoParameters(**written.fields(own)), profile, seed=0)


@pytest.mark.parametrize("written", list(templates_of(None, I2VGEN_XL)), ids=lambda written: written.template.name)
def test_every_template_is_a_good_prompt(written: Written) -> None:
    assert lint(resolved(written), I2VGEN_XL, estimate) == ()
    assert 1 <= len(actions(written.prompt)) <= 3
    assert written.template.text.count("{subject}") == 1


def test_every_category_has_enough_templates_and_each_can_be_reached() -> None:
    assert len(CATALOG) >= 9
    names = Counter(template.name for category in CATALOG for template in category.templates)
    assert set(names.values()) == {1}
    for category in CATALOG:
        assert len(category.templates) >= 5
        for template in category.templates:
            assert write(template.subject, category.name, I2VGEN_XL).template is template
        for word in category.also.split():
            assert category_named(word.upper()) is category


@pytest.mark.parametrize(
    ("template", "prompt", "parameters"),
    [
        ("apparel-turn", "a person slowly turning around wearing the dress", ("512p", 16, None, 60)),
        ("electronics-orbit", "camera orbiting around the smartphone, showing all sides", ("768p", 24, 12, 80)),
        ("home-pan", "gentle pan across the sofa, soft lighting", ("512p", 16, None, 50)),
        ("food-steam", "steam rising from the hot coffee, close-up view", ("512p", 16, None, 50)),
    ],
)
def test_the_best_known_templates(template: str, prompt: str, parameters: tuple[Any, ...]) -> None:
    (written,) = (one for one in templates_of(None, I2VGEN_XL) if one.template.name == template)
    assert written.prompt == prompt
    named = ("resolution", "num_frames", "fps", "num_inference_steps")
    assert tuple(written.parameters.get(name) for name in named) == parameters


def test_animals_move_with_more_guidance() -> None:
    parameters = write("cat", "animals", I2VGEN_XL).parameters
    assert (parameters["guidance_scale"], parameters["num_inference_steps"]) == (10.0, 60)


def test_a_model_of_other_defaults_keeps_them() -> None:
    """Sixty steps at 512p are minutes for a model that is made for six at 256p."""
    written = write("running dog", "animals", SMALL)
    assert (written.parameters, written.negative_prompt) == ({}, None)
    few = I2VGEN_XL.num_inference_steps.model_copy(update={"default": 4})
    distilled = I2VGEN_XL.model_copy(update={"num_inference_steps": few})
    assert write("running dog", "animals", distilled).parameters.keys() & {"num_inference_steps", "resolution"} == {
        "resolution"
    }
    for each in templates_of(None, SMALL):
        resolved(each, SMALL)


def test_negative_prompts_are_the_models_own_and_the_categorys() -> None:
    negative = str(write("waterfall", "nature", I2VGEN_XL).negative_prompt)
    assert negative.startswith(str(I2VGEN_XL.negative_prompt))
    assert "flickering sky" in negative
    assert negative.endswith("reverse motion, backward flow")
    assert "backward flow" not in str(write("mountains", "nature", I2VGEN_XL).negative_prompt)


@pytest.mark.parametrize(
    ("title", "subject"),
    [
        ("dress", "dress"),
        ("Women's Floral Maxi Dress with Pockets (Blue, Size M)", "Women's Floral Maxi Dress"),
        ("Apple iPhone 15 Pro Max 256GB - Blue Titanium | Unlocked", "Apple iPhone 15 Pro Max"),
        ("【SALE】 AMAZING LEATHER SOFA, 3-seater, free shipping!", "leather sofa"),
        ("Sony WH-1000XM5 Wireless Headphones", "Sony Wireless Headphones"),
        ("Organic Honey 500 g", "Organic Honey"),
        ("Pack of 6 Mugs", "Mugs"),
        ("3D puzzle 500 pieces", "3D puzzle"),
        ("100% Cotton T-Shirt XL", "Cotton T-Shirt"),
        ("Jeans in Blue", "Jeans"),
        ("The Old Oak Table", "Old Oak Table"),
        ("Cup of coffee", "Cup of coffee"),
        ("For Dogs", "For Dogs"),
        ("one two three four five six seven chair", "three four five six seven chair"),
        ("old\x00tin {box %d", "old tin {box %d"),
    ],
)
def test_subjects_of_titles(title: str, subject: str) -> None:
    assert subject_of(title) == subject
    assert subject in write(title, "home", I2VGEN_XL).prompt


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"title": ""}, "title"),
        ({"title": "12 pcs (new)"}, "title"),
        ({"title": "Best Seller!"}, "title"),
        ({"title": "a" * 501}, "title"),
        ({"category": "weapons"}, "category"),
        ({"category": ""}, "category"),
        ({"category": None}, "category"),
        ({"template": "home-nothing"}, "template"),
        ({"template": "food-steam"}, "template"),
    ],
)
def test_what_cannot_be_written_names_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        write(**{"title": "mug", "category": "home", "profile": I2VGEN_XL, **fields})
    assert caught.value.param == param
    assert caught.value.message.startswith(f"{param}: ")


def test_the_titles_words_choose_the_template() -> None:
    assert write("Trail Shoes", "apparel", I2VGEN_XL).template.name == "apparel-shoes"
    assert write("Air Max 90", "shoes", I2VGEN_XL).template.name == "apparel-shoes"
    assert write("Vanilla Ice Cream", "food", I2VGEN_XL).template.name == "food-melt"
    assert write("Granola", "food", I2VGEN_XL).template.name == "food-push"
    assert write("mug", None, I2VGEN_XL, "food-steam").prompt == "steam rising from the mug, close-up view"


def test_a_sheets_own_values_win() -> None:
    written = write("smartphone", "electronics", I2VGEN_XL)
    assert resolved(written).fps == 12
    assert resolved(written, own={"fps": 8, "seed": 5, "num_inference_steps": None}).num_inference_steps == 80
    own = written.fields({"prompt": "the phone spins", "negative_prompt": "blurry", "metadata": {"sku": "7"}})
    assert (own["prompt"], own["negative_prompt"], own["metadata"]) == ("the phone spins", "blurry", {"sku": "7"})


@pytest.mark.parametrize(
    ("own", "decided"),
    [
        ({}, (768, 24, 12, 80)),
        ({"preset": "preview"}, (512, 8, 8, 30)),
        ({"preset": "extreme", "num_frames": 9}, (1024, 9, 8, 100)),
        ({"size": "512x512"}, (512, 24, 12, 80)),
        ({"seconds": 1.5}, (768, 18, 12, 80)),
        ({"resolution": "256p"}, (256, 24, 12, 80)),
    ],
)
def test_what_excludes_a_templates_values_takes_their_place(own: dict[str, Any], decided: tuple[int, ...]) -> None:
    request = resolved(write("smartphone", "electronics", I2VGEN_XL), own=own)
    assert (request.width, request.num_frames, request.fps, request.num_inference_steps) == decided


def asked(**fields: Any) -> VideoRequest:
    return resolve(VideoParameters(prompt="the dress turns", **fields), I2VGEN_XL, seed=0)


@pytest.mark.parametrize(
    ("fields", "stronger"),
    [
        ({}, {"guidance_scale": 10.0, "num_inference_steps": 60}),
        ({"guidance_scale": 10, "num_inference_steps": 60}, {"guidance_scale": 12.0, "num_inference_steps": 80}),
        ({"guidance_scale": 15, "num_inference_steps": 100}, {"guidance_scale": 12.0}),
        ({"guidance_scale": 12, "num_inference_steps": 80}, {}),
    ],
)
def test_against_weak_motion_guidance_and_steps_go_where_they_help(
    fields: dict[str, Any], stronger: dict[str, Any]
) -> None:
    hint = hints(asked(**fields), I2VGEN_XL)[0]
    assert (hint.symptom, hint.parameters) == ("weak_or_warped_motion", stronger)
    assert "clearer picture" in hint.message


def test_what_was_too_large_is_made_smaller() -> None:
    hint = hints(asked(preset="extreme"), I2VGEN_XL)[1]
    assert (hint.symptom, hint.parameters) == ("too_large_or_slow", {"num_frames": 16, "resolution": "768p"})
    assert hint.message == "Try num_frames 16 and resolution 768p."
    least = hints(asked(resolution="256p", num_frames=8), I2VGEN_XL)
    assert [one.symptom for one in least] == ["weak_or_warped_motion"]


@pytest.mark.parametrize("profile", [I2VGEN_XL, SMALL], ids=lambda profile: profile.name)
def test_what_is_hinted_at_can_be_submitted(profile: ModelProfile) -> None:
    for preset in profile.presets:
        request = resolve(VideoParameters(prompt="pan left", preset=preset), profile, seed=0)
        for hint in hints(request, profile):
            resolve(VideoParameters(prompt="pan left", **hint.parameters), profile, seed=0)
