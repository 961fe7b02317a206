"""The full architecture, counted without its numbers; and random weights that hide nothing."""

from __future__ import annotations

import diffusers
import pytest
import torch
import transformers

from serving.engine.pipeline import Pipeline
from serving.engine.random_weights import I2VGEN_XL


def test_the_full_architecture_has_the_published_models_size() -> None:
    with torch.device("meta"):
        parts = {
            "unet": diffusers.I2VGenXLUNet(**I2VGEN_XL.unet),
            "vae": diffusers.AutoencoderKL(**I2VGEN_XL.vae),
            "text": transformers.CLIPTextModel(transformers.CLIPTextConfig(**I2VGEN_XL.text_encoder)),
            "vision": transformers.CLIPVisionModelWithProjection(
                transformers.CLIPVisionConfig(**I2VGEN_XL.image_encoder)
            ),
        }
    counts = {name: sum(value.numel() for value in part.parameters()) for name, part in parts.items()}
    assert counts["unet"] == pytest.approx(1.4205e9, rel=1e-4)
    half_gib = {name: round(2 * count / 2**30, 2) for name, count in counts.items()}
    assert half_gib == {"unet": 2.65, "vae": 0.16, "text": 0.66, "vision": 1.18}


def test_no_weight_is_left_at_zero(pipeline: Pipeline) -> None:
    """The temporal convolutions start at zero, and would hide every mistake before them."""
    unet = pipeline.modules.unet
    assert all(value.any() for value in unet.parameters() if value.dim() > 1)
    assert any("temp_convs.0.conv4" in name for name, _ in unet.named_parameters())
