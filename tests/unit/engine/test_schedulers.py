"""Other schedulers end where the model's own ends, and distilled weights bring theirs."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from denoised import distance
from PIL import Image

from serving.clip import read_recipe
from serving.engine import sampler
from serving.engine.pipeline import Pipeline
from serving.engine.random_weights import I2VGEN_XL
from serving.engine.weights import locate
from serving.local import generate_locally
from serving.parameters import VideoParameters
from serving.presets import I2VGEN_XL as PUBLISHED
from serving.request import resolve
from serving.scheduling.accelerations import EXACT, Step

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
