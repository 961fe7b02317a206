"""What the engine makes of the built-in model is the move asked for, by every plan and with every acceleration.

Random weights can tell equal from unequal; only trained ones can tell a good clip from a bad one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from denoised import MakeRequest
from numpy.typing import NDArray
from PIL import Image
from shown import shown

from serving.engine.pipeline import Pipeline
from serving.engine.weights import locate
from serving.request import VideoRequest
from serving.scheduling.plans import PLANS, MemoryPlan
from serving.training.moves import MOVES

LARGE, SIDE, FRAMES = 192, 128, 8
ASKED = "the camera pans left"
EXACT = 1
"""Levels of 255 that a memory plan may change by rounding."""


@pytest.fixture(scope="module")
def builtin() -> Pipeline:
    return Pipeline.load(locate("builtin"), device="cpu")


def demo(side: int) -> Image.Image:
    path = Path(__file__).parents[3] / "serving" / "assets" / "demo.jpg"
    return Image.open(path).convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


@pytest.fixture(scope="module")
def still() -> Image.Image:
    return demo(SIDE)


@pytest.fixture(scope="module")
def request_(make_request: MakeRequest) -> VideoRequest:
    return make_request(
        model="builtin", prompt=ASKED, negative_prompt="", width=SIDE, height=SIDE, num_frames=FRAMES,
        num_inference_steps=4, guidance_scale=2.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def exact(builtin: Pipeline, still: Image.Image, request_: VideoRequest) -> NDArray[np.uint8]:
    return builtin.generate(still, request_).frames


def test_the_clip_begins_with_the_picture_and_moves_as_asked(builtin: Pipeline, request_: VideoRequest) -> None:
    still = demo(LARGE)
    found = shown(builtin.generate(still, request_.model_copy(update={"width": LARGE, "height": LARGE})).frames, still)
    assert found.move == "pan left"
    assert found.first > 24
    assert found.last > 18


@pytest.mark.parametrize("move", [move.name for move in MOVES])
def test_another_prompt_is_another_move(
    builtin: Pipeline, still: Image.Image, request_: VideoRequest, move: str
) -> None:
    cheap = {"num_inference_steps": 2, "guidance_scale": 1.0}
    asked = request_.model_copy(update={"prompt": move} | cheap)
    found = shown(builtin.generate(still, asked).frames, still)
    assert found.move == move
    assert found.first > 20


def test_guidance_and_seed_matter_and_not_to_the_meaning(
    builtin: Pipeline, still: Image.Image, request_: VideoRequest, exact: NDArray[np.uint8]
) -> None:
    for change in ({"guidance_scale": 1.0}, {"seed": 1}):
        frames = builtin.generate(still, request_.model_copy(update=change)).frames
        assert not np.array_equal(frames, exact)
        assert shown(frames, still).move == "pan left"


@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan.chunked], ids=lambda plan: plan.name)
def test_every_memory_plan_makes_the_same_clip(
    builtin: Pipeline, still: Image.Image, request_: VideoRequest, exact: NDArray[np.uint8], plan: MemoryPlan
) -> None:
    frames = builtin.generate(still, request_, plan=plan).frames
    assert int(np.abs(frames.astype(int) - exact).max()) <= EXACT


SINGLE = tuple((name,) for name in sorted(locate("builtin").profile.accelerations))
TOGETHER = ("deepcache", "guidance-interval", "unipc")


@pytest.mark.parametrize("names", [*SINGLE, TOGETHER], ids="+".join)
def test_every_acceleration_keeps_the_move_and_nearly_its_quality(
    builtin: Pipeline, still: Image.Image, request_: VideoRequest, exact: NDArray[np.uint8], names: tuple[str, ...]
) -> None:
    frames = builtin.generate(still, request_.model_copy(update={"acceleration": names})).frames
    assert not np.array_equal(frames, exact)
    found, wanted = shown(frames, still), shown(exact, still)
    assert found.move == wanted.move
    assert found.first > wanted.first - 2
    assert found.last > wanted.last - 2
