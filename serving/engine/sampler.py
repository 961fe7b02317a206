"""The denoising loop: noise to latents in the scheduler's steps, with guidance, progress and cancellation.

`predict` is all it knows of the UNet; whatever computes the same prediction can stand in for `unet_predictor`.
Knows nothing of prompts, pictures or pixels.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch

from serving.engine import card
from serving.engine.conditioning import Conditioning
from serving.engine.contract import OnStep, ShouldStop
from serving.engine.replay import Replay
from serving.errors import Cancelled

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(latents (1, C, F, h, w), timestep) to one prediction for each of B halves: (B, C, F, h, w)."""


def unet_predictor(replay: Replay, conditioning: Conditioning, *, sequential: bool = False) -> Predict:
    """The UNet's forward for both halves at once; or, `sequential`, one after the other in half the memory."""
    prepared = replay.unet.prepare(conditioning)
    halves = [prepared.half(index) for index in range(prepared.halves)] if sequential else [prepared]
    first = True

    def predict(latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        nonlocal first
        was, first = first, False
        if len(halves) == 1:
            return replay(latents, timestep, halves[0], first=was)
        return torch.cat([replay.unet(latents, timestep, half) for half in halves])

    return predict


def denoise(
    predict: Predict,
    noise: torch.Tensor,
    scheduler: Any,
    *,
    num_inference_steps: int,
    guidance_scale: float,
    generator: torch.Generator,
    on_step: OnStep,
    should_stop: ShouldStop,
) -> torch.Tensor:
    """Latents (1, C, F, h, w) from standard normal `noise` of the same shape and dtype.

    Args:
        scheduler: copied, so that nothing of one request reaches the next.
        generator: drawn from by schedulers that add noise at each step; DDIM draws nothing.
        on_step: called after each step, when the device has done it; the next one may have begun.
        should_stop: asked before each step.

    Raises:
        Cancelled: `should_stop` said so.
    """
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(num_inference_steps)
    draws = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    latents: torch.Tensor = noise * scheduler.init_noise_sigma
    # All at once, as each copy from the CPU would wait for the steps before it.
    on_device = scheduler.timesteps.to(latents.device)
    pace = card.Pace(latents.device, lambda step: on_step(step, len(on_device)))
    for step, timestep in enumerate(scheduler.timesteps):
        if should_stop():
            raise Cancelled
        prediction = guide(predict(scheduler.scale_model_input(latents, timestep), on_device[step]), guidance_scale)
        frames = scheduler.step(_by_frame(prediction), timestep, _by_frame(latents), **draws).prev_sample
        latents = frames.transpose(0, 1).unsqueeze(0)
        pace.given(step + 1)
    pace.finish()
    return latents


def guide(prediction: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """(1, ...) from (B, ...): past the unconditional half, towards the prompt."""
    if prediction.shape[0] == 1:
        return prediction
    unconditional, conditional = prediction.chunk(2)
    return unconditional + guidance_scale * (conditional - unconditional)


def _by_frame(latents: torch.Tensor) -> torch.Tensor:
    """(F, C, h, w) from (1, C, F, h, w): schedulers that clip do so for each picture."""
    return latents[0].transpose(0, 1)
