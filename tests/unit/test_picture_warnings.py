"""What is said of a picture: on labelled cases, and what reaches the user."""

from __future__ import annotations

import io
from typing import Any

import labelled_pictures as drawn
import numpy as np
import pytest
from PIL import Image

from serving.parameters import VideoParameters
from serving.picture_warnings import has_small_subject, has_text, is_low_resolution, picture_warnings
from serving.preprocessing import Prepared, prepare
from serving.presets import I2VGEN_XL


def cases(named: drawn.Named) -> list[Any]:
    return [pytest.param(image, id=name) for name, image in named]


def prepared(image: Image.Image, **parameters: Any) -> Prepared:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return prepare(file.getvalue(), VideoParameters(prompt="the cat walks", **parameters), I2VGEN_XL)


def codes(image: Image.Image, **parameters: Any) -> list[str]:
    return [caution.code for caution in prepared(image, **parameters).warnings]


@pytest.mark.parametrize("image", cases(drawn.small_subjects()))
def test_small_subjects_are_found(image: Image.Image) -> None:
    assert has_small_subject(image)


@pytest.mark.parametrize("image", cases(drawn.no_small_subjects()))
def test_no_small_subject_is_found_where_there_is_none(image: Image.Image) -> None:
    assert not has_small_subject(image)


@pytest.mark.parametrize("image", cases(drawn.texts()))
def test_text_is_found(image: Image.Image) -> None:
    assert has_text(image)


@pytest.mark.parametrize("image", cases(drawn.no_texts()))
def test_no_text_is_found_where_there_is_none(image: Image.Image) -> None:
    assert not has_text(image)


def test_low_resolution_counts_the_shorter_side() -> None:
    assert is_low_resolution((511, 4000))
    assert not is_low_resolution((512, 512))


def test_warnings_reach_the_result() -> None:
    image = drawn.lettered("A long line of text here", (10, 10), 14, "black", drawn.ground(size=(400, 300))[0])
    low, text = prepared(image).warnings
    assert (low.code, low.field) == ("low_resolution", "input_reference")
    assert "400x300" in low.message
    assert text.code == "text_in_picture"
    for caution in (low, text):
        assert caution.message[0].isupper()
        assert caution.message.endswith(".")
        assert caution.suggestion is not None
        assert caution.suggestion.endswith(".")
    image, draw = drawn.ground(size=(900, 900))
    draw.ellipse((400, 400, 500, 500), fill="navy")
    assert codes(image) == ["small_subject"]


def test_warnings_are_about_what_the_frame_shows() -> None:
    image = drawn.lettered("Cropped away at the top", (20, 20), 40, "black", drawn.ground(size=(640, 1280))[0])
    assert "text_in_picture" not in codes(image, aspect_ratio="1:1", focus="center")
    assert codes(image, aspect_ratio="1:1", fit="pad") == ["text_in_picture"]


def test_a_subject_that_does_not_fit_the_clip_is_said_to_be_cropped() -> None:
    image, draw = drawn.ground("white", (1200, 600))
    draw.rectangle((100, 200, 1100, 400), fill="navy")
    assert codes(image, aspect_ratio="1:1") == ["subject_cropped"]
    assert codes(image, aspect_ratio="1:1", fit="pad") == []
    assert codes(image) == []
    image, draw = drawn.ground("white", (1200, 600))
    draw.rectangle((20, 100, 380, 500), fill="navy")
    assert codes(image, aspect_ratio="1:1") == []
    assert codes(image, aspect_ratio="1:1", focus="center") == ["subject_cropped"]


def test_warnings_on_the_busiest_pictures_stay_cheap() -> None:
    spiral, draw = drawn.ground("black", (768, 768))
    for inset in range(0, 380, 4):
        draw.rectangle((inset, inset, 767 - inset, 767 - inset), outline="white")
        draw.line((inset, inset + 1, inset, inset + 3), fill="black")
    dots = Image.fromarray(np.tile(np.kron(np.eye(2), np.ones((8, 8))), (48, 48)).astype(np.uint8) * 255).convert("RGB")
    for image in (spiral, dots):
        picture_warnings(image, image.size)


def test_one_pixel_is_no_picture_but_no_crash() -> None:
    assert picture_warnings(Image.new("RGB", (1, 1), "red"), (600, 600)) == ()
    assert picture_warnings(Image.new("RGB", (768, 3), "red"), (600, 600)) == ()
