"""How far apart two clips are said to be, and what of their recipes is said to differ."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from serving.clip import read_frames
from serving.comparing import FrameDifference, Verdict, compare_frames, compare_recipes, verdict
from serving.encoding import encode
from serving.errors import InvalidParameter
from serving.reproduce_commands import fields_of, recipe_of

FRAMES = np.random.default_rng(0).integers(60, 200, (3, 32, 48, 3), np.uint8)


def test_the_worst_frame_counts() -> None:
    other = FRAMES.copy()
    other[1, 0, 0, 0] += 3
    assert compare_frames(FRAMES, FRAMES) == [FrameDifference(math.inf, 0)] * 3
    assert verdict(compare_frames(FRAMES, FRAMES)) is Verdict.IDENTICAL
    found = compare_frames(other, FRAMES)
    assert [frame.levels for frame in found] == [0, 3, 0]
    assert found[1].psnr_db == pytest.approx(10 * math.log10(255**2 * 32 * 48 * 3 / 9), abs=0.01)
    assert verdict(found) is Verdict.EQUAL_WITHIN_CODEC
    assert verdict(found, tolerance_db=100) is Verdict.DIFFERENT
    assert verdict(compare_frames(FRAMES, 255 - FRAMES)) is Verdict.DIFFERENT
    # Where uint8 would wrap.
    assert compare_frames(np.zeros_like(FRAMES), np.full_like(FRAMES, 255))[0] == FrameDifference(0.0, 255)
    with pytest.raises(ValueError, match="3 frames of 48x32 before, and 2 frames of 48x32 now"):
        compare_frames(FRAMES, FRAMES[:2])


@pytest.mark.parametrize("format_name", ["mp4", "webm", "gif"])
def test_a_clip_s_frames_are_read_in_order_and_colour(tmp_path: Path, format_name: str) -> None:
    flat = np.zeros((4, 32, 48, 3), np.uint8)
    for number, colour in enumerate([(220, 30, 30), (30, 220, 30), (30, 30, 220), (120, 120, 120)]):
        flat[number] = colour
    encode(flat, 7, tmp_path / "clip", format_name)
    found = read_frames(tmp_path / "clip")
    assert found.shape == flat.shape
    assert np.abs(found.astype(int) - flat).max() <= 6


def test_what_differs_is_named_and_what_no_clip_depends_on_is_not() -> None:
    before = {"id": "a", "attempt": 1, "timings_s": {"wait": 1}, "card": "H100", "versions": {"torch": "2.11"}}
    parameters = {"seed": 1, "preset": "standard"}
    now = before | {"id": "b", "attempt": 2, "timings_s": {}, "versions": {"torch": "2.13", "diffusers": "0.42"}}
    found = compare_recipes({**before, "parameters": parameters}, {**now, "parameters": {"seed": 1, "preset": None}})
    assert [(one.name, one.before, one.now) for one in found] == [
        ("versions.torch", "2.11", "2.13"),
        ("versions.diffusers", None, "0.42"),
    ]


def test_a_recipe_is_a_submission() -> None:
    parameters = {"prompt": "pan", "width": 640, "height": 360, "preset": "high", "negative_prompt": None, "seed": 0}
    assert fields_of({"parameters": parameters}) == {"prompt": "pan", "size": "640x360", "seed": 0}
    with pytest.raises(InvalidParameter, match="warp: in the recipe"):
        fields_of({"parameters": parameters | {"warp": 9}})


@pytest.mark.parametrize("beside", [None, "nonsense", "[]", "{}", '{"parameters": 1}'])
def test_a_clip_without_a_recipe(tmp_path: Path, beside: str | None) -> None:
    encode(FRAMES, 8, tmp_path / "clip.mp4", "mp4")
    if beside is not None:
        (tmp_path / "clip.json").write_text(beside)
    with pytest.raises(InvalidParameter, match="carries no recipe"):
        recipe_of(tmp_path / "clip.mp4")
    (tmp_path / "clip.json").write_text(json.dumps({"parameters": {}}))
    assert recipe_of(tmp_path / "clip.mp4") == {"parameters": {}}
