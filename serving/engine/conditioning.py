"""Prompt and picture to what the UNet is conditioned on: embeddings, image latents, frame rate, initial noise.

The numbers are those of diffusers' I2VGenXLPipeline. All randomness is drawn from one generator on the CPU in
float32, whatever the device and dtype of the model, and in this order: the VAE's sample of the picture (1, C, h, w),
the initial noise (1, C, F, h, w), then whatever the scheduler's steps draw. Shapes: B halves (unconditional first),
F frames, C latent channels, h x w latent cells. Knows nothing of steps or schedulers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from serving.engine.weights import Modules
from serving.request import VideoRequest


@dataclass(frozen=True)
class Conditioning:
    """What stays the same over all steps of one request, in the model's dtype and on its device."""

    text: torch.Tensor
    """(B, tokens, dim): text embeddings; B is 2 when guided, 1 otherwise."""
    image: torch.Tensor
    """(B, 1, dim): CLIP's embedding of the picture, zeros in the unconditional half."""
    image_latents: torch.Tensor
    """(B, C, F, h, w): the picture's latent, then one constant a frame: i / (F - 1)."""
    fps: torch.Tensor
    """(B,) int64."""
    noise: torch.Tensor
    """(1, C, F, h, w): standard normal, not yet scaled for the scheduler."""


def generator_for(seed: int) -> torch.Generator:
    """The one source of randomness of a request.

    torch's CPU generator drops all but a seed's low 32 bits, so the high ones are folded into them; seeds below 2**32
    are torch's own.
    """
    return torch.Generator("cpu").manual_seed((seed ^ (seed >> 32) * 0x9E3779B1) & 0xFFFFFFFF)


def condition(
    modules: Modules, picture: Image.Image, request: VideoRequest, generator: torch.Generator
) -> Conditioning:
    """Encode one request.

    Args:
        picture: RGB, of any size; cropped to the request's.
        generator: fresh from `generator_for`; advanced by the draws above.
    """
    halves = 2 if request.guided else 1
    image = embed_picture(modules, picture, request.width)
    latent = _encode_picture(modules, center_crop(picture, request.width, request.height), generator)
    latents = _with_positions(latent, request.num_frames)
    noise = torch.randn(latents.shape, generator=generator)
    prompts = [request.negative_prompt or "", request.prompt] if request.guided else [request.prompt]
    return Conditioning(
        text=embed_text(modules, prompts),
        image=torch.cat([torch.zeros_like(image), image]) if request.guided else image,
        image_latents=latents.repeat(halves, 1, 1, 1, 1),
        fps=torch.full((halves,), request.fps, device=modules.unet.device),
        noise=noise.to(latents),
    )


def embed_text(modules: Modules, prompts: list[str]) -> torch.Tensor:
    """(len(prompts), tokens, dim): CLIP's last layer but one, then its final norm, as the UNet was trained."""
    encoder = modules.text_encoder
    length = min(modules.tokenizer.model_max_length, encoder.config.max_position_embeddings)
    tokens = modules.tokenizer(
        prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    states = encoder(tokens.to(encoder.device), output_hidden_states=True).hidden_states
    # transformers 5 puts the layers that `text_model` held directly on the encoder.
    norm = getattr(encoder, "text_model", encoder).final_layer_norm
    embeddings: torch.Tensor = norm(states[-2])
    return embeddings


def embed_picture(modules: Modules, picture: Image.Image, width: int) -> torch.Tensor:
    """(1, 1, dim): CLIP's embedding of the picture cropped to a square of `width` pixels."""
    encoder, extractor = modules.image_encoder, modules.feature_extractor
    size = (extractor.crop_size["width"], extractor.crop_size["height"])
    square = center_crop(picture, width, width).resize(size, Image.Resampling.BILINEAR)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (extractor.image_mean, extractor.image_std))
    pixels = (_pixels(square) - mean) / std
    embedding: torch.Tensor = encoder(pixels.to(encoder.device, encoder.dtype)).image_embeds
    return embedding.unsqueeze(1)


def center_crop(picture: Image.Image, width: int, height: int) -> Image.Image:
    """The middle of the picture at (width, height), after a box resize that covers it."""
    scale = min(picture.width / width, picture.height / height)
    # Floored as the model's own preprocessing does, so that rounding may leave a black line a pixel wide.
    # https://github.com/ali-vilab/i2vgen-xl/blob/main/utils/transforms.py
    covering = picture.resize(
        (int(picture.width // scale), int(picture.height // scale)), resample=Image.Resampling.BOX
    )
    left, top = (covering.width - width) // 2, (covering.height - height) // 2
    return covering.crop((left, top, left + width, top + height))


def _encode_picture(modules: Modules, picture: Image.Image, generator: torch.Generator) -> torch.Tensor:
    """(1, C, h, w): a sample of the VAE's posterior, scaled."""
    vae = modules.vae
    posterior = vae.encode((2.0 * _pixels(picture) - 1.0).to(vae.device, vae.dtype)).latent_dist
    noise = torch.randn(posterior.mean.shape, generator=generator)
    latent: torch.Tensor = (posterior.mean + posterior.std * noise.to(posterior.mean)) * vae.config.scaling_factor
    return latent


def _with_positions(latent: torch.Tensor, num_frames: int) -> torch.Tensor:
    """(1, C, F, h, w): the latent, then frames filled with their place in the clip."""
    positions = [torch.full_like(latent, frame / (num_frames - 1)) for frame in range(1, num_frames)]
    return torch.stack([latent, *positions], dim=2)


def _pixels(picture: Image.Image) -> torch.Tensor:
    """(1, 3, H, W) float32 in 0..1."""
    values = np.asarray(picture, dtype=np.float32) / 255.0
    return torch.from_numpy(values).permute(2, 0, 1).unsqueeze(0)
