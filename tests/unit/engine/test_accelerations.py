"""Each acceleration on small random weights: that it is what it says, how near it stays, and never on by default."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from serving.clip import read_recipe
from serving.engine import kernels, products, sampler
from serving.engine.conditioning import Conditioning, condition, generator_for
from serving.engine.pipeline import Pipeline
from serving.engine.random_weights import I2VGEN_XL
from serving.engine.replay import Replay
from serving.engine.unet import Prepared, UNet
from serving.engine.weights import locate
from serving.errors import DoesNotFit
from serving.local import generate_locally
from serving.parameters import VideoParameters
from serving.presets import I2VGEN_XL as PUBLISHED
from serving.request import VideoRequest, resolve
from serving.scheduling.accelerations import EXACT, Step, steps

MakeRequest = Callable[..., VideoRequest]
ROUNDING = 1e-5
"""Relative, of float32 in batches of other sizes."""
COUNT = 6


@pytest.fixture(scope="module")
def two_levels(builtin_folder: Path) -> Pipeline:
    return Pipeline.load(locate(str(builtin_folder)), device="cpu")


@pytest.fixture(params=["pipeline", "two_levels"])
def either(request: pytest.FixtureRequest) -> Pipeline:
    """A UNet of four levels, whose outermost one attends, and one of two."""
    found: Pipeline = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float8 for products as small as these models'."""
    monkeypatch.setattr(products, "LEAST", 16)


@pytest.fixture
def able(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, small_products: None) -> Iterator[Pipeline]:
    """As if its card could do everything; float8 is emulated."""
    monkeypatch.setattr(pipeline, "card", dataclasses.replace(pipeline.card, compute_capability=9.0))
    yield pipeline
    pipeline.replay.use_float8(False)


@torch.inference_mode()
def asked(pipeline: Pipeline, picture: Image.Image, request: VideoRequest) -> Conditioning:
    return condition(pipeline.encoders, pipeline.read(picture, request), request)


@torch.inference_mode()
def latents_of(
    pipeline: Pipeline, picture: Image.Image, request: VideoRequest, *, sequential: bool = False, **options: Any
) -> torch.Tensor:
    """By the request's accelerations, with their options changed."""
    conditioning = asked(pipeline, picture, request)
    return sampler.denoise(
        sampler.unet_predictor(pipeline.replay, conditioning, sequential=sequential),
        conditioning.noise,
        sampler.scheduler_for(pipeline.modules.scheduler, request.acceleration),
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        generator=generator_for(request.seed),
        on_step=lambda step, total: None,
        should_stop=lambda: False,
        steps=partial(steps, names=request.acceleration, **options),
    )


def distance(x: torch.Tensor, exact: torch.Tensor) -> float:
    return float((x - exact).norm() / exact.norm())


@torch.inference_mode()
def prepared(pipeline: Pipeline, picture: Image.Image, request: VideoRequest) -> tuple[Prepared, torch.Tensor]:
    conditioning = asked(pipeline, picture, request)
    return pipeline.replay.unet.prepare(conditioning), conditioning.noise


# Every one of them.


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


def test_several_together(able: Pipeline, picture: Image.Image, make_request: MakeRequest) -> None:
    together = ("unipc", "deepcache", "guidance-interval", "fp8")
    request = make_request(num_inference_steps=COUNT, acceleration=together)
    clips = [able.generate(picture, request).frames for _ in range(2)]
    assert np.array_equal(*clips)
    for name in together:
        rest = tuple(other for other in together if other != name)
        fewer = able.generate(picture, request.model_copy(update={"acceleration": rest})).frames
        assert not np.array_equal(clips[0], fewer), name


# Guidance.


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


# Cached features.


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


# Schedulers.


MEAN, SPREAD = 0.3, 0.5


def gaussian(scheduler: Any) -> sampler.Predict:
    """The exact velocity where data are normal, which takes noise to MEAN + SPREAD * noise."""

    def predict(latents: torch.Tensor, timestep: torch.Tensor, step: Step = EXACT) -> torch.Tensor:
        alpha = scheduler.alphas_cumprod[int(timestep)].sqrt()
        sigma = (1 - alpha**2).sqrt()
        data = MEAN + alpha * SPREAD**2 / (alpha**2 * SPREAD**2 + sigma**2) * (latents - alpha * MEAN)
        return alpha * (latents - alpha * data) / sigma - sigma * data

    return predict


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("name", ["dpm-solver++", "unipc"])
def test_in_many_steps_a_faster_scheduler_ends_where_ddim_ends(name: str, spacing: str) -> None:
    """The published model's schedule and the built-in one's: velocity, zero terminal signal."""
    ddim = diffusers.DDIMScheduler(**I2VGEN_XL.scheduler | {"timestep_spacing": spacing})
    noise = torch.randn(1, 4, 2, 8, 8, generator=torch.Generator().manual_seed(0))

    def end(scheduler: Any, count: int) -> torch.Tensor:
        return sampler.denoise(
            gaussian(ddim),
            noise,
            scheduler,
            num_inference_steps=count,
            guidance_scale=1.0,
            generator=torch.Generator(),
            on_step=lambda step, total: None,
            should_stop=lambda: False,
        )

    faster = sampler.scheduler_for(ddim, (name,))
    limit = MEAN + SPREAD * noise
    ours, exact = ({count: distance(end(s, count), limit) for count in (6, 25, 50, 250)} for s in (faster, ddim))
    assert ours[6] > ours[50] > ours[250]
    assert exact[6] > exact[50] > exact[250]
    assert ours[25] < exact[50] / 5
    assert distance(end(faster, 250), end(ddim, 250)) < 0.01


@pytest.mark.parametrize("name", ["dpm-solver++", "unipc"])
def test_a_faster_scheduler_has_the_models_betas_and_prediction(
    pipeline: Pipeline, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    own = pipeline.modules.scheduler
    with caplog.at_level(logging.WARNING, "diffusers"):
        faster = sampler.scheduler_for(own, (name, "deepcache"))
    assert caplog.records == []
    assert type(faster) is sampler.SOLVERS[name]
    assert faster.config.prediction_type == "v_prediction"
    assert faster.config.rescale_betas_zero_snr
    assert torch.equal(faster.alphas_cumprod[:-1], own.alphas_cumprod[:-1])
    faster.set_timesteps(25)
    assert faster.timesteps[0] == 999
    assert sampler.scheduler_for(own, ("deepcache",)) is own
    ordinary = diffusers.DDIMScheduler(timestep_spacing="leading", prediction_type="epsilon")
    assert sampler.scheduler_for(ordinary, (name,)).config.timestep_spacing == "leading"
    assert sampler.scheduler_for(ordinary, (name,)).config.prediction_type == "epsilon"


# Float8.


def test_rows_are_rounded_to_within_their_format() -> None:
    """Three bits of mantissa: an eighth of a power of two, and half of that either way."""
    torch.manual_seed(0)
    x = torch.randn(64, 48) * torch.logspace(-6, 4, 64)[:, None]
    rounded, scale = kernels.float8(x)
    assert rounded.dtype is torch.float8_e4m3fn
    assert scale.shape == (64, 1)
    assert torch.equal(rounded.float().abs().amax(1), torch.full((64,), 448.0))
    error = (rounded.float() * scale - x).abs()
    assert (error <= x.abs() * 2**-4 + scale * 2**-10).all()
    assert error.norm() / x.norm() > 0.01
    zeros, _ = kernels.float8(torch.zeros(2, 16))
    assert torch.equal(zeros.float(), torch.zeros(2, 16))


def test_products_in_float8_are_within_their_bound(small_products: None) -> None:
    torch.manual_seed(0)
    x, weight, h = torch.randn(5, 7, 64), torch.randn(32, 64), torch.randn(35, 32)
    product = products.Product(weight)
    exact, total = product(x), h.clone()
    product.add_to(total, x.flatten(0, 1))
    product.use_float8(True)
    rough, rough_total = product(x), h.clone()
    product.add_to(rough_total, x.flatten(0, 1))
    bound = (2 * 2**-4 + 2**-7) * (x.abs() @ weight.abs().t())
    assert rough.shape == exact.shape
    assert ((rough - exact).abs() <= bound).all()
    assert 0.01 < distance(rough, exact) < 0.05
    torch.testing.assert_close(rough_total - h, rough.flatten(0, 1), atol=1e-5, rtol=1e-5)
    assert not torch.equal(rough_total, total)
    product.use_float8(False)
    assert torch.equal(product(x), exact)


def test_products_too_small_to_gain_stay_exact() -> None:
    for shape in ((639, 1280), (1280, 320), (650, 650)):
        product, x = products.Product(torch.randn(shape)), torch.randn(3, shape[1])
        exact = product(x)
        product.use_float8(True)
        assert torch.equal(product(x), exact)


def test_a_request_in_float8_leaves_nothing_behind(
    able: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    unet = able.replay.unet
    exact = able.generate(picture, make_request()).frames
    able.generate(picture, make_request(acceleration=("fp8",)))
    assert unet.float8
    assert any(product._rounded is not None for product in unet._products())
    assert np.array_equal(able.generate(picture, make_request()).frames, exact)
    assert not unet.float8
    assert all(product._rounded is None for product in unet._products())


def test_where_memory_runs_out_on_the_way_to_float8_all_stays_exact(
    able: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet, done = able.replay.unet, 0
    rounded = kernels.float8

    def limited(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal done
        done += 1
        if done > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return rounded(x)

    monkeypatch.setattr(kernels, "float8", limited)
    with pytest.raises(torch.OutOfMemoryError):
        unet.use_float8(True)
    assert not unet.float8
    assert all(product._rounded is None for product in unet._products())


def test_a_card_that_cannot_refuses(pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest) -> None:
    with pytest.raises(DoesNotFit, match=r"fp8 needs compute capability 8\.9") as caught:
        pipeline.generate(picture, make_request(acceleration=("deepcache", "fp8")))
    assert caught.value.param == "acceleration"


def test_a_kind_of_step_is_its_own_for_replay(
    able: Pipeline, picture: Image.Image, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no graph of one kind stands for another; tests/gpu replays them."""
    keys: list[Any] = []
    replay = Replay(able.replay.unet)
    monkeypatch.setattr(replay, "_recordings", Watched(keys))
    shared, latents = prepared(able, picture, make_request())
    timestep = torch.tensor(501)
    _, features = replay.keeping(latents, timestep, shared, first=True)
    replay(latents, timestep, shared, first=True, features=features)
    replay(latents, timestep, shared, first=True)
    replay(latents, timestep, shared.half(1), first=True)
    replay.use_float8(True)
    replay(latents, timestep, shared, first=True)
    assert len(set(keys)) == len(keys) == 5


class Watched(dict[Any, Any]):
    """Notes what is looked up."""

    def __init__(self, keys: list[Any]) -> None:
        super().__init__()
        self._keys = keys

    def get(self, key: Any, default: Any = None) -> Any:
        self._keys.append(key)
        return default


# Distilled weights.

DISTILLED = {
    "name": "distilled",
    "default_resolution": "64p",
    "resolutions": {"64p": 64},
    "num_frames": {"low": 2, "high": 4, "default": 2},
    "num_inference_steps": {"low": 1, "high": 8, "default": 4},
    "guidance_scale": {"low": 1, "high": 2, "default": 1},
    "negative_prompt": None,
    "presets": {},
    "accelerations": {},
}


@pytest.mark.parametrize("name", ["LCMScheduler", "TCDScheduler", "EulerDiscreteScheduler"])
def test_distilled_weights_run_by_their_own_scheduler_and_defaults(
    model_folder: Path, tmp_path: Path, picture: Image.Image, name: str
) -> None:
    folder = tmp_path / "distilled"
    shutil.copytree(model_folder, folder)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"scheduler": ["diffusers", name]}))
    own = getattr(diffusers, name).from_config(diffusers.DDIMScheduler(**I2VGEN_XL.scheduler).config)
    own.save_pretrained(folder / "scheduler")
    profile = PUBLISHED.model_dump() | DISTILLED
    (folder / "profile.json").write_text(json.dumps(profile))
    still = tmp_path / "still.png"
    picture.resize((128, 128)).save(still)

    def clip(seed: int) -> dict[str, Any]:
        path = tmp_path / f"{seed}.mp4"
        parameters = VideoParameters(prompt="a boat drifts", seed=seed)
        recipe, warnings, _ = generate_locally(
            still.read_bytes(), parameters, path, model=str(folder), on_stage=lambda *_: None
        )
        assert not any(warning.code == "inexact" for warning in warnings)
        written = read_recipe(path)
        assert written is not None
        assert written["model"] == recipe["model"]
        assert written["parameters"]["acceleration"] == []
        return recipe

    recipe = clip(1)
    assert recipe["model"]["source"] == str(folder)
    assert recipe["model"]["scheduler"] == name
    parameters = recipe["parameters"]
    assert (parameters["num_inference_steps"], parameters["guidance_scale"], parameters["fps"]) == (4, 1.0, 8)
    assert parameters["model"] == "distilled"
    pipeline = Pipeline.load(locate(str(folder)), device="cpu")
    told: list[int] = []
    request = resolve(VideoParameters(prompt="a boat drifts", seed=1), pipeline.weights.profile, seed=0)
    frames = pipeline.generate(picture, request, on_step=lambda step, total: told.append(step)).frames
    assert told == [1, 2, 3, 4]
    assert np.array_equal(frames, pipeline.generate(picture, request).frames)
    other = request.model_copy(update={"seed": 2})
    assert not np.array_equal(frames, pipeline.generate(picture, other).frames)
