"""The parts of the built-in model: I2VGen-XL's own classes, small.

Knows their sizes and nothing of how they are trained or stored.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, DDIMScheduler, I2VGenXLUNet
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

WIDTH = 96
"""Width of the text states, and of the context the UNet attends to."""
VOCABULARY = 2048
PROMPT_TOKENS = 77
PICTURE_SIDE = 64
LATENT_FACTOR = 4


@dataclass
class Parts:
    """Everything in the folder, in diffusers' names."""

    unet: I2VGenXLUNet
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    image_encoder: CLIPVisionModelWithProjection
    feature_extractor: CLIPImageProcessor
    scheduler: DDIMScheduler


def build_unet() -> I2VGenXLUNet:
    """Four levels; only the third attends in space and to the words, which is where a shift is a pixel or two.

    Head dimension 8 keeps `transformer_in` (8 heads over every pixel of every frame) cheap on a CPU.
    """
    return I2VGenXLUNet(
        sample_size=64,
        down_block_types=("DownBlock3D", "DownBlock3D", "CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D", "UpBlock3D", "UpBlock3D"),
        block_out_channels=(48, 128, 112, 64),
        layers_per_block=1,
        norm_num_groups=16,
        cross_attention_dim=WIDTH,
        attention_head_dim=8,
    )


def build_vae() -> AutoencoderKL:
    """Four latent channels at a quarter of the size; no attention, so cost grows with the area alone."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(32, 64, 96),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
        sample_size=256,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=PROMPT_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_image_encoder() -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=PICTURE_SIDE,
            patch_size=8,
        )
    )


def build_scheduler() -> DDIMScheduler:
    """v-prediction from pure noise: zero terminal SNR needs trailing spacing, so that the first step is at t = 999."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=True,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


def build_feature_extractor() -> CLIPImageProcessor:
    side = {"height": PICTURE_SIDE, "width": PICTURE_SIDE}
    return CLIPImageProcessor(size={"shortest_edge": PICTURE_SIDE}, crop_size=side)


def build(tokenizer: CLIPTokenizer, *, seed: int = 0) -> Parts:
    """Untrained parts with weights drawn from `seed`; what the classes start at zero stays zero."""
    torch.manual_seed(seed)
    return Parts(
        unet=build_unet(),
        vae=build_vae(),
        text_encoder=build_text_encoder(tokenizer),
        tokenizer=tokenizer,
        image_encoder=build_image_encoder(),
        feature_extractor=build_feature_extractor(),
        scheduler=build_scheduler(),
    )
