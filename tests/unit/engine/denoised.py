"""What a pipeline makes of a request before anything is decoded, and how far from it another is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from PIL import Image

from serving.engine import sampler
from serving.engine.conditioning import Conditioning, condition, generator_for
from serving.engine.pipeline import Pipeline
from serving.engine.unet import Prepared
from serving.request import VideoRequest
from serving.scheduling.accelerations import steps

MakeRequest = Callable[..., VideoRequest]
ROUNDING = 1e-5
"""Relative, of float32 in batches of other sizes."""
COUNT = 6


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
