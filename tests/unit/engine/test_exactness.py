"""Our clips are those of diffusers' I2VGenXLPipeline, on small random models in float32.

Tolerance: both run the same modules, but in other batches, and our preprocessing sums in another order, so float32
rounding (1e-7 a step) is all that may differ. Latents agree to 1e-4 of their spread, and a frame's levels by at most
one, where a value lies on the edge between two.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from diffusers import I2VGenXLPipeline
from PIL import Image

from serving.engine import attention, sampler
from serving.engine.conditioning import condition, generator_for, read
from serving.engine.encoders import Encoders
from serving.engine.modules import load
from serving.engine.pipeline import Pipeline
from serving.engine.weights import locate
from serving.presets import BUILTIN_FOLDER
from serving.request import VideoRequest

MakeRequest = Callable[..., VideoRequest]

CASES = {
    "square": {},
    "landscape": {"width": 128},
    "portrait": {"height": 128, "num_frames": 3},
    "sides off 64": {"width": 104, "height": 72, "num_frames": 3, "num_inference_steps": 3},
    "sides off 64, unguided": {"width": 72, "height": 88, "guidance_scale": 1.0},
    "one frame": {"num_frames": 1},
    "one frame, unguided": {"num_frames": 1, "guidance_scale": 1.0},
    "no negative prompt": {"negative_prompt": None, "num_frames": 4, "fps": 24},
    "prompt beyond 77 tokens": {"prompt": "the boat drifts to the left and then " * 8},
    "large seed": {"seed": 2**63 - 1, "guidance_scale": 1.5},
}


def stock_pipeline(folder: Path) -> Any:
    return usable(I2VGenXLPipeline(**vars(load(locate(str(folder)), "cpu", torch.float32))))


def usable(pipeline: Any) -> Any:
    # transformers 5 has no `text_model` any more; set past torch's registry, where it would contain itself.
    object.__setattr__(pipeline.text_encoder, "text_model", pipeline.text_encoder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def stock(model_folder: Path) -> Any:
    return stock_pipeline(model_folder)


def stock_clip(stock: Any, picture: Image.Image, request: VideoRequest, output: str) -> Any:
    factor = stock.vae_scale_factor
    shape = (request.num_frames, request.height // factor, request.width // factor)
    generator = generator_for(request.seed)
    torch.randn((1, 4, *shape[1:]), generator=generator)  # the picture's sample comes first
    noise = torch.randn((1, 4, *shape), generator=generator)
    torch.manual_seed(generator.initial_seed())  # the stock pipeline takes the picture's sample from the global state
    return stock(
        prompt=request.prompt,
        image=picture,
        height=request.height,
        width=request.width,
        target_fps=request.fps,
        num_frames=request.num_frames,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        negative_prompt=request.negative_prompt,
        latents=noise,
        output_type=output,
    ).frames


def our_latents(pipeline: Pipeline, picture: Image.Image, request: VideoRequest) -> torch.Tensor:
    reading = read(pipeline.modules, picture, request)
    conditioning = condition(pipeline.encoders, reading, request)
    return sampler.denoise(
        sampler.unet_predictor(pipeline.replay, conditioning),
        conditioning.noise,
        pipeline.modules.scheduler,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        generator=reading.generator,
        on_step=lambda step, total: None,
        should_stop=lambda: False,
    )


def assert_same_frames(ours: npt.NDArray[np.uint8], theirs: list[Image.Image]) -> None:
    levels = np.stack([np.asarray(frame) for frame in theirs])
    assert ours.shape == levels.shape
    assert ours.dtype == np.uint8
    difference = np.abs(ours.astype(int) - levels)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_frames_equal_the_stock_pipelines(
    pipeline: Pipeline, stock: Any, picture: Image.Image, make_request: MakeRequest, changes: dict[str, Any]
) -> None:
    request = make_request(**changes)
    clip = pipeline.generate(picture, request)
    assert_same_frames(clip.frames, stock_clip(stock, picture, request, "pil")[0])


@pytest.mark.parametrize("guidance_scale", [1.0, 9.0])
def test_latents_equal_the_stock_pipelines(
    pipeline: Pipeline, stock: Any, picture: Image.Image, make_request: MakeRequest, guidance_scale: float
) -> None:
    request = make_request(guidance_scale=guidance_scale, num_frames=3, num_inference_steps=10)
    with torch.inference_mode():
        ours = our_latents(pipeline, picture, request)
    theirs = stock_clip(stock, picture, request, "latent")
    assert (ours - theirs).abs().max() < 1e-4 * theirs.std()


@pytest.mark.parametrize(
    "changes",
    [
        {"num_frames": 9},
        {"num_frames": 9, "guidance_scale": 1.0},
        {"width": 104, "height": 72, "num_frames": 6},
        {"num_frames": 1},
    ],
    ids=str,
)
def test_a_few_frames_at_once_give_the_latents_of_all(
    pipeline: Pipeline,
    picture: Image.Image,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
) -> None:
    request = make_request(**changes)
    monkeypatch.setattr(attention, "FEW_TOKENS", 40)  # pieces of places and tokens too, of which some are shorter
    monkeypatch.setattr(attention, "CPU_TOKENS", 40)
    with torch.inference_mode():
        whole = our_latents(pipeline, picture, request)
        monkeypatch.setattr(pipeline.replay.unet, "chunked", True)
        pieces = our_latents(pipeline, picture, request)
    assert (pieces - whole).abs().max() < 1e-4 * whole.std()


@pytest.mark.parametrize("size", [(64, 64), (200, 150), (49, 333), (1000, 37), (65, 64)])
def test_any_picture_is_cropped_as_the_stock_pipeline_does(
    pipeline: Pipeline, stock: Any, picture: Image.Image, make_request: MakeRequest, size: tuple[int, int]
) -> None:
    request = make_request(width=72, height=104, num_inference_steps=1)
    picture = picture.resize(size)
    clip = pipeline.generate(picture, request)
    assert_same_frames(clip.frames, stock_clip(stock, picture, request, "pil")[0])


def test_a_vae_of_another_factor_and_trailing_steps_equal_the_stock_pipeline(
    builtin_folder: Path, picture: Image.Image, make_request: MakeRequest
) -> None:
    request = make_request(width=72, height=40, guidance_scale=2.0, num_inference_steps=4)
    pipeline = Pipeline.load(locate(str(builtin_folder)), device="cpu")
    clip = pipeline.generate(picture, request)
    assert clip.frames.shape == (2, 40, 72, 3)
    assert_same_frames(clip.frames, stock_clip(stock_pipeline(builtin_folder), picture, request, "pil")[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 256, "height": 256, "num_inference_steps": 1, "guidance_scale": 1.0},
        {"width": 104, "height": 72, "num_inference_steps": 4, "guidance_scale": 2.0, "num_frames": 8},
    ],
    ids=["256p", "guided"],
)
def test_the_shipped_weights_give_the_frames_of_the_stock_pipeline(
    picture: Image.Image, make_request: MakeRequest, changes: dict[str, Any]
) -> None:
    """Read by diffusers itself, so that the folder too is what it says."""
    request = make_request(prompt="slowly pan left", **changes)
    stock = usable(I2VGenXLPipeline.from_pretrained(BUILTIN_FOLDER, torch_dtype=torch.float32))
    clip = Pipeline.load(locate("builtin"), device="cpu").generate(picture, request)
    assert_same_frames(clip.frames, stock_clip(stock, picture, request, "pil")[0])


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "a cat jumps"},
        {"negative_prompt": "ugly"},
        {"fps": 24},
        {"guidance_scale": 8.0},
        {"num_inference_steps": 3},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_condition_reaches_the_latents(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest, changes: dict[str, Any]
) -> None:
    """So that equality above is not equality of constants."""
    with torch.inference_mode():
        plain = our_latents(pipeline, picture, make_request())
        changed = our_latents(pipeline, picture, make_request(**changes))
    assert (plain - changed).abs().max() > 1e-3 * plain.std()


def test_text_is_the_last_layer_but_one_under_the_final_norm(pipeline: Pipeline) -> None:
    """By hand, layer for layer: the stock pipeline reads the same list of hidden states as we do."""
    encoder, tokenizer = pipeline.modules.text_encoder, pipeline.modules.tokenizer
    prompt = "a boat drifts to the left"
    tokens = tokenizer([prompt], padding="max_length", max_length=77, return_tensors="pt").input_ids
    states = encoder.embeddings(input_ids=tokens)
    causal = torch.full((1, 1, 77, 77), float("-inf")).triu(1)
    for layer in encoder.encoder.layers[:-1]:
        output = layer(states, attention_mask=causal)
        states = output[0] if isinstance(output, tuple) else output
    expected = encoder.final_layer_norm(states)
    torch.testing.assert_close(Encoders(pipeline.modules).text(tokens), expected, atol=1e-5, rtol=1e-5)
