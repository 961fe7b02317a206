"""Small models of the published architecture, with random weights, in the diffusers layout on disk."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from serving.engine import products, random_weights
from serving.engine.pipeline import Pipeline
from serving.engine.random_weights import Architecture
from serving.engine.weights import locate
from serving.request import VideoRequest

TEXT = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "projection_dim": 16,
    "vocab_size": 514,
    "bos_token_id": 512,
    "eos_token_id": 513,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "projection_dim": 16,
    "image_size": 32,
    "patch_size": 8,
}


def vae_settings(levels: int) -> dict[str, Any]:
    return {
        "block_out_channels": (8,) * levels,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "norm_num_groups": 4,
        "sample_size": 64,
        "scaling_factor": 0.18215,
    }


PUBLISHED_SHAPE = Architecture(
    unet={
        "block_out_channels": (16, 16, 32, 32),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "cross_attention_dim": 16,
        "attention_head_dim": 8,
    },
    vae=vae_settings(4),
    text_encoder=TEXT,
    image_encoder=VISION,
    scheduler=random_weights.I2VGEN_XL.scheduler,
)
"""Four levels and an 8x VAE, as the published model."""

BUILTIN_SHAPE = Architecture(
    unet={
        "block_out_channels": (16, 32),
        "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
        "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "cross_attention_dim": 16,
        "attention_head_dim": 8,
    },
    vae=vae_settings(3),
    text_encoder=TEXT,
    image_encoder=VISION,
    scheduler=random_weights.I2VGEN_XL.scheduler | {"timestep_spacing": "trailing"},
)
"""Two levels, a 4x VAE and trailing steps, as the built-in model."""

CLASSES = {
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "vae": ["diffusers", "AutoencoderKL"],
    "unet": ["diffusers", "I2VGenXLUNet"],
    "scheduler": ["diffusers", "DDIMScheduler"],
}


def save(architecture: Architecture, folder: Path, *, half: bool = False) -> Path:
    """Write a model of `architecture`, in float16 files of that variant when `half`."""
    for name, part in random_weights.build(architecture, "cpu").items():
        if isinstance(part, torch.nn.Module) and half:
            part.half().save_pretrained(folder / name, variant="fp16")
        else:
            part.save_pretrained(folder / name)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "I2VGenXLPipeline", **CLASSES}))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _imports_are_no_garbage() -> None:
    """Where memory runs out garbage is collected; to look through PyTorch's own objects takes a second each time."""
    gc.freeze()


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # small tensors gain nothing from more, and threads that share cores wait for each other
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(PUBLISHED_SHAPE, tmp_path_factory.mktemp("published-shape"))


@pytest.fixture(scope="package")
def builtin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(BUILTIN_SHAPE, tmp_path_factory.mktemp("builtin-shape"), half=True)


@pytest.fixture(scope="package")
def pipeline(model_folder: Path) -> Pipeline:
    return Pipeline.load(locate(str(model_folder)), device="cpu")


@pytest.fixture
def picture() -> Image.Image:
    """64 x 64 pixels of noise: any wrong crop or resize shows."""
    levels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return Image.fromarray(levels)


MakeRequest = Callable[..., VideoRequest]


@pytest.fixture(scope="session")
def make_request() -> MakeRequest:
    """A maker of small guided requests of two steps, with whatever is named changed."""

    def make(**changes: Any) -> VideoRequest:
        values: dict[str, Any] = {
            "model": "small",
            "prompt": "a boat drifts to the left",
            "negative_prompt": "blurry",
            "preset": None,
            "width": 64,
            "height": 64,
            "fit": "crop",
            "num_frames": 2,
            "fps": 8,
            "num_inference_steps": 2,
            "guidance_scale": 9.0,
            "seed": 0,
            "format": "mp4",
            "priority": "interactive",
            "metadata": {},
        }
        return VideoRequest(**values | changes)

    return make


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
