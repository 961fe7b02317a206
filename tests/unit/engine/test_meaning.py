"""What the engine makes of the built-in model is the move asked for, by every plan and with every acceleration.

Random weights can tell equal from unequal; only trained ones can tell a good clip from a bad one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from denoised import MakeRequest
from numpy.typing import NDArray
from PIL import Image

from serving.engine.pipeline import Pipeline
from serving.engine.weights import locate
from serving.request import VideoRequest
from serving.scheduling.plans import PLANS, MemoryPlan
from serving.training.evaluation import nearest, psnr, warped
from serving.training.moves import BY_NAME, FULL

SIDE, FRAMES = 192, 8
ASKED = "the camera pans left"
EXACT = 1
"""Levels of 255 that a memory plan may change by rounding."""


@pytest.fixture(scope="module")
def builtin() -> Pipeline:
    return Pipeline.load(locate("builtin"), device="cpu")


@pytest.fixture(scope="module")
def still() -> Image.Image:
    demo = Path(__file__).parents[3] / "serving" / "assets" / "demo.jpg"
    return Image.open(demo).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


@pytest.fixture(scope="module")
def request_(make_request: MakeRequest) -> VideoRequest:
    return make_request(
        model="builtin", prompt=ASKED, negative_prompt="", width=SIDE, height=SIDE, num_frames=FRAMES,
        num_inference_steps=4, guidance_scale=2.0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def exact(builtin: Pipeline, still: Image.Image, request_: VideoRequest) -> NDArray[np.uint8]:
    return builtin.generate(still, request_).frames


def levels(frames: NDArray[np.uint8]) -> torch.Tensor:
    """(F, H, W, 3) uint8 as (F, 3, H, W) in -1..1."""
    return torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1


def judged(frames: NDArray[np.uint8], still: Image.Image, move: str = "pan left") -> tuple[int, float, float]:
    """The move that it is nearest to, and dB of the first frame and of the last against the true clip of `move`."""
    clip, picture = levels(frames), levels(np.asarray(still)[None])[0]
    warps = warped(picture, FULL, len(clip))
    return nearest(clip, warps), psnr(clip[0], picture), psnr(clip[-1], warps[BY_NAME[move]][-1])


def test_the_clip_begins_with_the_picture_and_moves_as_asked(exact: NDArray[np.uint8], still: Image.Image) -> None:
    move, first, last = judged(exact, still)
    assert move == BY_NAME["pan left"]
    assert first > 24
    assert last > 18


def test_another_prompt_is_another_move(builtin: Pipeline, still: Image.Image, request_: VideoRequest) -> None:
    turned = request_.model_copy(update={"prompt": "the picture rotates clockwise"})
    assert judged(builtin.generate(still, turned).frames, still)[0] == BY_NAME["rotate clockwise"]


def test_guidance_and_seed_matter_and_not_to_the_meaning(
    builtin: Pipeline, still: Image.Image, request_: VideoRequest, exact: NDArray[np.uint8]
) -> None:
    for change in ({"guidance_scale": 1.0}, {"seed": 1}):
        frames = builtin.generate(still, request_.model_copy(update=change)).frames
        assert not np.array_equal(frames, exact)
        assert judged(frames, still)[0] == BY_NAME["pan left"]


@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan.chunked], ids=lambda plan: plan.name)
def test_every_memory_plan_makes_the_same_clip(
    builtin: Pipeline, still: Image.Image, request_: VideoRequest, exact: NDArray[np.uint8], plan: MemoryPlan
) -> None:
    frames = builtin.generate(still, request_, plan=plan).frames
    assert int(np.abs(frames.astype(int) - exact).max()) <= EXACT


@pytest.mark.parametrize("name", sorted(locate("builtin").profile.accelerations))
def test_every_acceleration_keeps_the_move_and_nearly_its_quality(
    builtin: Pipeline, still: Image.Image, request_: VideoRequest, exact: NDArray[np.uint8], name: str
) -> None:
    faster = request_.model_copy(update={"acceleration": (name,)})
    found, wanted = (judged(frames, still) for frames in (builtin.generate(still, faster).frames, exact))
    assert found[0] == wanted[0]
    assert found[1] > wanted[1] - 2
    assert found[2] > wanted[2] - 2
