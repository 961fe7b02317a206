"""Each acceleration on small random weights: that it is what it says, how near it stays, and never on by default."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from denoised import COUNT, ROUNDING, MakeRequest, distance, latents_of
from PIL import Image

from loadtest.accelerations import compare
from serving.engine.pipeline import Pipeline


@pytest.mark.parametrize(
    ("name", "most"),
    [("dpm-solver++", 0.3), ("unipc", 0.3), ("deepcache", 0.2), ("guidance-interval", 1.0), ("fp8", 0.1)],
)
def test_it_changes_the_clip_by_little_and_in_the_same_way_each_time(
    able: Pipeline, picture: Image.Image, make_request: MakeRequest, name: str, most: float
) -> None:
    """Bounds, not measurements: `python -m loadtest.accelerations` measures. Guidance of 9 pulls random weights far."""
    exact = make_request(num_inference_steps=COUNT)
    faster = exact.model_copy(update={"acceleration": (name,)})
    first, again = (able.generate(picture, faster).frames for _ in range(2))
    plain = able.generate(picture, exact).frames
    assert np.array_equal(first, again)
    assert not np.array_equal(first, plain)
    assert np.array_equal(plain, able.generate(picture, exact).frames)
    other = able.generate(picture, faster.model_copy(update={"seed": 1})).frames
    assert not np.array_equal(first, other)
    able.replay.use_float8(name == "fp8")
    found = latents_of(able, picture, faster)
    able.replay.use_float8(False)
    assert 1e-4 < distance(found, latents_of(able, picture, exact)) < most


def test_they_are_measured_beside_the_exact_clip(
    able: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    exact = make_request(num_inference_steps=COUNT)
    faster = exact.model_copy(update={"acceleration": ("unipc",)})
    same, apart = (compare(able, able, picture, "unipc", exact, other, [0]) for other in (exact, faster))
    assert (same.latent_error, same.psnr_db) == (0.0, float("inf"))
    assert apart.latent_error == pytest.approx(
        distance(*(latents_of(able, picture, one.model_copy(update={"seed": 0})) for one in (faster, exact))), rel=1e-3
    )
    assert 0 < apart.psnr_db < 100


def test_several_together(able: Pipeline, picture: Image.Image, make_request: MakeRequest) -> None:
    together = ("unipc", "deepcache", "guidance-interval", "fp8")
    request = make_request(num_inference_steps=COUNT, acceleration=together)
    clips = [able.generate(picture, request).frames for _ in range(2)]
    assert np.array_equal(*clips)
    for name in together:
        rest = tuple(other for other in together if other != name)
        fewer = able.generate(picture, request.model_copy(update={"acceleration": rest})).frames
        assert not np.array_equal(clips[0], fewer), name


def test_guidance_in_all_steps_is_the_exact_clip(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    request = make_request(num_inference_steps=COUNT, acceleration=("guidance-interval",))
    exact = latents_of(pipeline, picture, make_request(num_inference_steps=COUNT))
    assert torch.equal(latents_of(pipeline, picture, request, span=(0.0, 1.0)), exact)


def test_guidance_in_no_step_is_the_clip_without(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    """What runs alone is the conditional half of the same conditioning."""
    request = make_request(num_inference_steps=COUNT, acceleration=("guidance-interval",))
    unguided = latents_of(pipeline, picture, make_request(num_inference_steps=COUNT, guidance_scale=1.0))
    for sequential in (False, True):
        found = latents_of(pipeline, picture, request, span=(0.0, 0.0), sequential=sequential)
        assert distance(found, unguided) < ROUNDING
