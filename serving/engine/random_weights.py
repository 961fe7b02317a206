"""A model of any I2VGen-XL architecture with random weights: speed, memory and exactness need no published ones.

Its clips are noise. Knows nothing of files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import diffusers
import torch
import transformers

Settings = dict[str, Any]

START, END = "<|startoftext|>", "<|endoftext|>"


@dataclass(frozen=True)
class Architecture:
    """The configuration of each part, in its own class's words."""

    unet: Settings
    vae: Settings
    text_encoder: Settings
    image_encoder: Settings
    scheduler: Settings


# The published model: its UNet's defaults, Stable Diffusion 2.1's VAE, and OpenCLIP ViT-H/14's two encoders, as the
# conversion script of diffusers puts them together (scripts/convert_i2vgen_to_diffusers.py).
I2VGEN_XL = Architecture(
    unet={"sample_size": 32},
    vae={
        "block_out_channels": (128, 256, 512, 512),
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "layers_per_block": 2,
        "sample_size": 768,
        "scaling_factor": 0.18215,
    },
    text_encoder={
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "hidden_act": "gelu",
        "projection_dim": 1024,
    },
    image_encoder={
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_attention_heads": 16,
        "num_hidden_layers": 32,
        "hidden_act": "gelu",
        "patch_size": 14,
        "projection_dim": 1024,
    },
    scheduler={
        "beta_schedule": "squaredcos_cap_v2",
        "clip_sample": False,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "set_alpha_to_one": True,
        "steps_offset": 1,
        "timestep_spacing": "leading",
    },
)


def build(architecture: Architecture, device: torch.device | str) -> Settings:
    """Every part by name, float32 on `device`; the same numbers each time on the same kind of device."""
    device = torch.device(device)
    text = transformers.CLIPTextConfig(**architecture.text_encoder)
    vision = transformers.CLIPVisionConfig(**architecture.image_encoder)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device:
        torch.manual_seed(0)
        parts: Settings = {
            "text_encoder": transformers.CLIPTextModel(text),
            "image_encoder": transformers.CLIPVisionModelWithProjection(vision),
            "vae": diffusers.AutoencoderKL(**architecture.vae),
            "unet": diffusers.I2VGenXLUNet(**architecture.unet),
        }
        _fill_zeros(parts["unet"])
    side = vision.image_size
    kind = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    return parts | {
        "tokenizer": _tokenizer(text.vocab_size, text.max_position_embeddings),
        "feature_extractor": kind(crop_size={"height": side, "width": side}, size={"shortest_edge": side}),
        "scheduler": scheduler(architecture),
    }


def scheduler(architecture: Architecture) -> Any:
    """Its sampler."""
    return diffusers.DDIMScheduler(**architecture.scheduler)


def _fill_zeros(module: torch.nn.Module) -> None:
    """Randomise weights that start at zero, which would hide whatever stands before them."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1 and not parameter.any():
                parameter.normal_(std=0.5 * parameter[0].numel() ** -0.5)


def _tokenizer(vocabulary: int, length: int) -> Any:
    """A CLIP tokenizer without merges: a token a byte, and the two special tokens last, where CLIP has them."""
    letters = sorted({*map(chr, range(33, 127)), *map(chr, range(161, 173)), *map(chr, range(174, 324))})
    tokens = {token: number for number, token in enumerate([*letters, *(f"{letter}</w>" for letter in letters)])}
    tokens |= {START: vocabulary - 2, END: vocabulary - 1}
    return transformers.CLIPTokenizer(vocab=tokens, merges=[], model_max_length=length)
