"""The denoising loop: noise to latents in the scheduler's steps, with guidance, progress and cancellation.

`predict` is all it knows of the UNet; whatever computes the same prediction can stand in for `unet_predictor`.
Knows nothing of prompts, pictures or pixels.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import diffusers
import torch

from serving.engine import card
from serving.engine.conditioning import Conditioning
from serving.engine.contract import GiveWay, OnStep, ShouldStop
from serving.engine.replay import Replay
from serving.errors import Cancelled
from serving.scheduling.accelerations import EXACT, Step

Predict = Callable[[torch.Tensor, torch.Tensor, Step], torch.Tensor]
"""(latents (1, C, F, h, w), timestep, what the step does) to one prediction for each of B halves: (B, C, F, h, w)."""

Steps = Callable[[int], Sequence[Step]]
"""What each of so many steps does."""


def unet_predictor(replay: Replay, conditioning: Conditioning, *, sequential: bool = False) -> Predict:
    """The UNet's forward for both halves at once; or, `sequential`, one after the other in half the memory."""
    prepared = replay.unet.prepare(conditioning)
    both = [prepared.half(index) for index in range(prepared.halves)] if sequential else [prepared]
    conditional = [prepared.half(prepared.halves - 1)]
    plain = Replay(replay.unet, record=False)
    seen: set[Step] = set()
    kept: list[torch.Tensor] = []  # of each part of the last whole step, the features

    def predict(latents: torch.Tensor, timestep: torch.Tensor, step: Step = EXACT) -> torch.Tensor:
        nonlocal kept
        parts = conditional if step.unguided else both
        run, first = replay if len(parts) == 1 else plain, step not in seen
        seen.add(step)
        if step.keeps:
            made = [run.keeping(latents, timestep, part, first=first) for part in parts]
            predictions, kept = [prediction for prediction, _ in made], [features for _, features in made]
        elif step.cached:
            # The conditional half is the last one, whatever the parts were.
            usable = [kept[-1][-1:]] if step.unguided else kept
            predictions = [
                run(latents, timestep, part, first=first, features=features)
                for part, features in zip(parts, usable, strict=True)
            ]
        else:
            kept = []
            predictions = [run(latents, timestep, part, first=first) for part in parts]
        return predictions[0] if len(predictions) == 1 else torch.cat(predictions)

    return predict


SOLVERS = {"dpm-solver++": diffusers.DPMSolverMultistepScheduler, "unipc": diffusers.UniPCMultistepScheduler}


def scheduler_for(scheduler: Any, accelerations: Sequence[str]) -> Any:
    """`scheduler`, or the one that an acceleration puts in its place: of the same betas and prediction."""
    solver = next((SOLVERS[name] for name in accelerations if name in SOLVERS), None)
    if solver is None:
        return scheduler
    spacing = scheduler.config.timestep_spacing
    if scheduler.config.rescale_betas_zero_snr:
        # Where diffusers' solvers space "leading", 25 steps begin at 951 of 1000, where noise is not all there is: the
        # built-in model's latents came out 3.1% from those of 50 leading DDIM steps, and 2.2% by trailing ones.
        spacing = "trailing"
    return solver.from_config(scheduler.config, timestep_spacing=spacing)


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
    steps: Steps | None = None,
    give_way: GiveWay | None = None,
) -> torch.Tensor:
    """Latents (1, C, F, h, w) from standard normal `noise` of the same shape and dtype.

    Args:
        scheduler: copied, so that nothing of one request reaches the next.
        generator: drawn from by schedulers that add noise at each step; DDIM draws nothing.
        on_step: called after each step, when the device has done it; the next one may have begun.
        should_stop: asked before each step.
        steps: what each step does; by default all do everything.
        give_way: asked before each step but the first; what it gives is done once the device has done those before.

    Raises:
        Cancelled: `should_stop` said so.
    """
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(num_inference_steps)
    draws = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    latents: torch.Tensor = noise * scheduler.init_noise_sigma
    # All at once, as each copy from the CPU would wait for the steps before it.
    on_device = scheduler.timesteps.to(latents.device)
    does = [EXACT] * len(on_device) if steps is None else steps(len(on_device))
    pace = card.Pace(latents.device, lambda step: on_step(step, len(on_device)))
    for step, timestep in enumerate(scheduler.timesteps):
        if step and give_way is not None and (other := give_way()) is not None:
            pace.finish()
            other()
        if should_stop():
            raise Cancelled
        halves = predict(scheduler.scale_model_input(latents, timestep), on_device[step], does[step])
        prediction = guide(halves, guidance_scale)
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
