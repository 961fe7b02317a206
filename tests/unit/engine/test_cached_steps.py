"""Steps on features of the step before: when they are the whole step, and what they save."""

from __future__ import annotations

from pathlib import Path

import diffusers
import pytest
import torch
from denoised import COUNT, ROUNDING, MakeRequest, asked, distance, latents_of, prepared
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from serving.engine import products, sampler
from serving.engine.conditioning import Conditioning
from serving.engine.pipeline import Pipeline
from serving.engine.random_weights import I2VGEN_XL
from serving.engine.unet import UNet
from serving.engine.weights import locate
from serving.presets import I2VGEN_XL as PUBLISHED
from serving.scheduling.accelerations import EXACT, Step


@pytest.fixture(scope="module")
def two_levels(builtin_folder: Path) -> Pipeline:
    return Pipeline.load(locate(str(builtin_folder)), device="cpu")


@pytest.fixture(params=["pipeline", "two_levels"])
def either(request: pytest.FixtureRequest) -> Pipeline:
    """A UNet of four levels, whose outermost one attends, and one of two."""
    found: Pipeline = request.getfixturevalue(request.param)
    return found


def test_whole_steps_alone_are_the_exact_clip(
    either: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    request = make_request(num_inference_steps=COUNT, acceleration=("deepcache",))
    exact = latents_of(either, picture, make_request(num_inference_steps=COUNT))
    assert torch.equal(latents_of(either, picture, request, interval=1), exact)
    assert distance(latents_of(either, picture, request, interval=2), exact) > 1e-4


@pytest.mark.parametrize("guidance_scale", [1.0, 9.0])
@pytest.mark.parametrize("size", [(64, 64), (104, 72)])
@torch.inference_mode()
def test_on_features_of_its_own_a_cached_step_is_the_whole_one(
    either: Pipeline, picture: Image.Image, make_request: MakeRequest, size: tuple[int, int], guidance_scale: float
) -> None:
    unet, (width, height) = either.replay.unet, size
    request = make_request(width=width, height=height, num_frames=3, guidance_scale=guidance_scale)
    shared, latents = prepared(either, picture, request)
    timestep = torch.tensor(501)
    whole = unet(latents, timestep, shared)
    kept, features = unet.keeping(latents, timestep, shared)
    before = features.clone()
    assert torch.equal(kept, whole)
    assert torch.equal(unet(latents, timestep, shared, features), whole)
    assert torch.equal(features, before)
    # Of another step, only what the outermost level sees is new.
    assert not torch.equal(unet(latents, torch.tensor(1), shared, features), unet(latents, torch.tensor(1), shared))
    if request.guided:
        alone = unet(latents, timestep, shared.half(1), features[-1:])
        assert distance(alone, whole[1:]) < ROUNDING


def test_a_cached_step_runs_nothing_but_the_outermost_level(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet = pipeline.replay.unet
    shared, latents = prepared(pipeline, picture, make_request())
    _, features = unet.keeping(latents, torch.tensor(501), shared)
    monkeypatch.setattr(unet, "_down", unet._down[:1])
    monkeypatch.setattr(unet, "_mid", [])
    with torch.inference_mode():
        assert unet(latents, torch.tensor(481), shared, features).shape == (2, *latents.shape[1:])


@pytest.mark.parametrize("names", [("deepcache",), ("deepcache", "guidance-interval")], ids=str)
def test_halves_in_sequence_keep_features_of_their_own(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest, names: tuple[str, ...]
) -> None:
    request = make_request(num_inference_steps=10, acceleration=names)
    together = latents_of(pipeline, picture, request)
    assert distance(latents_of(pipeline, picture, request, sequential=True), together) < ROUNDING


@torch.inference_mode()
def test_the_halves_of_cached_steps_are_not_mixed_up(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    """A guided step keeps, and the conditional half alone goes on; by hand and by the predictor."""
    conditioning = asked(pipeline, picture, make_request())
    unet, latents, timestep = pipeline.replay.unet, conditioning.noise, torch.tensor(501)
    shared = unet.prepare(conditioning)
    _, features = unet.keeping(latents, timestep, shared)
    for sequential in (False, True):
        predict = sampler.unet_predictor(pipeline.replay, conditioning, sequential=sequential)
        predict(latents, timestep, Step(keeps=True))
        alone = predict(latents, timestep, Step(unguided=True, cached=True))
        assert distance(alone, unet(latents, timestep, shared.half(1), features[1:])) < ROUNDING
        both = predict(latents, timestep, Step(cached=True))
        assert distance(both, unet(latents, timestep, shared, features)) < ROUNDING
        assert distance(predict(latents, timestep, EXACT), unet(latents, timestep, shared)) < ROUNDING


def test_what_a_cached_step_saves_is_what_the_cost_model_says() -> None:
    """Operations of the full architecture, counted without its numbers."""
    with torch.device("meta"):
        unet = UNet(diffusers.I2VGenXLUNet(**I2VGEN_XL.unet).half().eval())
    cost = PUBLISHED.cost
    weights = sum(product.weight.numel() for product in unet._products() if min(product.weight.shape) >= products.LEAST)
    assert weights / 2**30 == pytest.approx(cost.float8_gib, rel=0.01)
    shares = {}
    for frames, side in ((8, 32), (16, 64)):

        def empty(*shape: int, dtype: torch.dtype = torch.float16) -> torch.Tensor:
            return torch.empty(shape, device="meta", dtype=dtype)

        cells = (4, frames, side, side)
        fps = empty(2, dtype=torch.int64)
        shared = unet.prepare(Conditioning(empty(2, 77, 1024), empty(2, 1, 1024), empty(2, *cells), fps, empty(1)))
        inputs = empty(1, *cells), empty(1, dtype=torch.int64), shared
        with FlopCounterMode(display=False) as whole:
            _, features = unet.keeping(*inputs)
        with FlopCounterMode(display=False) as cached:
            unet(*inputs, features)
        shares[side] = cached.get_total_flops() / whole.get_total_flops()
        megapixel_frames = frames * (8 * side) ** 2 / 1e6
        assert features.numel() * 2 / 2**30 == pytest.approx(cost.cached_gib * megapixel_frames, rel=0.01)
        assert cost.cached_linear < shares[side] < cost.cached_spatial
    assert whole.get_total_flops() / 1e12 == pytest.approx(33.5, rel=0.01)
    assert 2 / (1 + shares[64]) == pytest.approx(1.47, abs=0.01)
    assert 2 / (1 + shares[32]) == pytest.approx(1.52, abs=0.01)
