"""Prompt and picture to what the UNet is conditioned on: embeddings, image latents, frame rate, initial noise.

The numbers are those of diffusers' I2VGenXLPipeline. All randomness is drawn from one generator on the CPU in
float32, whatever the device and dtype of the model, and in this order: the VAE's sample of the picture (1, C, h, w),
the initial noise (1, C, F, h, w), then whatever the scheduler's steps draw. Shapes: B halves (unconditional first),
F frames, C latent channels, h x w latent cells. Knows nothing of steps or schedulers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from serving.engine.encoders import Encoders, Sight
from serving.engine.modules import Modules
from serving.request import VideoRequest


@dataclass(frozen=True)
class Reading:
    """One request as the encoders and the sampler take it, on the CPU: no card is needed to make it."""

    tokens: tuple[torch.Tensor, ...]
    """(1, n) int64 of each half's prompt."""
    sight: Sight
    sample: torch.Tensor
    """(1, C, h, w): standard normal, for the VAE's sample of the picture."""
    noise: torch.Tensor
    """(1, C, F, h, w): standard normal, not yet scaled for the scheduler."""
    generator: torch.Generator
    """After these draws; to be cloned by whoever draws more."""


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


def read(modules: Modules, picture: Image.Image, request: VideoRequest) -> Reading:
    """All of a request's conditioning that the CPU can do.

    Args:
        picture: RGB, of any size; cropped to the request's.
    """
    generator, factor = generator_for(request.seed), modules.latent_factor
    cells = (request.height // factor, request.width // factor)
    channels = modules.vae.config.latent_channels
    prompts = [request.negative_prompt or "", request.prompt] if request.guided else [request.prompt]
    return Reading(
        tokens=tuple(_tokens(modules, prompt) for prompt in prompts),
        sight=_see(modules, picture, request),
        sample=torch.randn((1, channels, *cells), generator=generator),
        noise=torch.randn((1, channels, request.num_frames, *cells), generator=generator),
        generator=generator,
    )


def condition(encoders: Encoders, reading: Reading, request: VideoRequest) -> Conditioning:
    """What was read of `request`, encoded."""
    seen = encoders.see(reading.sight)
    sample = reading.sample.to(seen.mean, non_blocking=True)
    latents = _with_positions((seen.mean + seen.std * sample) * encoders.latent_scale, request.num_frames)
    halves, image = len(reading.tokens), seen.embedding
    return Conditioning(
        text=torch.cat([encoders.text(tokens) for tokens in reading.tokens]),
        image=torch.cat([torch.zeros_like(image), image]) if request.guided else image,
        image_latents=latents.repeat(halves, 1, 1, 1, 1),
        fps=torch.full((halves,), request.fps, device=latents.device),
        noise=reading.noise.to(latents, non_blocking=True),
    )


def _tokens(modules: Modules, prompt: str) -> torch.Tensor:
    """(1, n) int64, padded or cut to what the text encoder takes."""
    length = min(modules.tokenizer.model_max_length, modules.text_encoder.config.max_position_embeddings)
    tokens: torch.Tensor = modules.tokenizer(
        [prompt], padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
    return tokens


def _see(modules: Modules, picture: Image.Image, request: VideoRequest) -> Sight:
    extractor, width, height = modules.feature_extractor, request.width, request.height
    size = (extractor.crop_size["width"], extractor.crop_size["height"])
    square = center_crop(picture, width, width).resize(size, Image.Resampling.BILINEAR)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (extractor.image_mean, extractor.image_std))
    content = hashlib.sha256(picture.tobytes()).digest()
    return Sight(
        key=(content, picture.size, width, height),
        clip=(_pixels(square) - mean) / std,
        vae=_pixels(center_crop(picture, width, height)).mul_(2.0).sub_(1.0),
    )


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


def _with_positions(latent: torch.Tensor, num_frames: int) -> torch.Tensor:
    """(1, C, F, h, w): the latent, then frames filled with their place in the clip."""
    positions = [torch.full_like(latent, frame / (num_frames - 1)) for frame in range(1, num_frames)]
    return torch.stack([latent, *positions], dim=2)


def _pixels(picture: Image.Image) -> torch.Tensor:
    """(1, 3, H, W) float32 in 0..1."""
    levels = torch.from_numpy(np.array(picture))
    return levels.to(torch.float32).div_(255.0).permute(2, 0, 1).unsqueeze(0)
