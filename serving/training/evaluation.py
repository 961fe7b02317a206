"""How well the built-in model moves pictures it never saw: one clip for each picture and move, measured.

A move counts as right if, of the nine true warps of the picture, the one asked for is nearest to the clip.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from serving.training.architecture import Parts
from serving.training.autoencoder import means
from serving.training.motion import image_latents
from serving.training.moves import MOVES, render
from serving.training.phrases import Phrase
from serving.training.text import states, tokenize
from serving.training.unseen import Prompts, phrases
from serving.training.vision import clip_pixels

Make = Callable[[Tensor, str, int], Tensor]
"""A clip (F, 3, H, W) in -1..1 of a picture (3, H, W), a prompt and a seed."""


@dataclass(frozen=True)
class Judged:
    """One clip, measured in dB of PSNR against the true warp."""

    move: str
    """As asked for."""
    found: str
    """The move whose true warp is nearest."""
    picture: int
    prompt: str
    strength: float
    first: float
    last: float
    worst: float
    """Of the worst frame."""
    still: float
    """The last true frame against the unmoved picture: what doing nothing would get. 0 of static clips."""

    @property
    def right(self) -> bool:
        return self.found == self.move


@torch.no_grad()
def generate(
    parts: Parts,
    pictures: Tensor,
    prompts: Sequence[str],
    *,
    frames: int = 8,
    steps: int = 6,
    guidance: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """(B, F, 3, H, W) clips in -1..1 of pictures (B, 3, H, W): the pipeline's steps, for a batch."""
    device, kind = parts.unet.device, parts.unet.dtype
    pictures = pictures.to(device)
    first = means(parts.vae, pictures.to(parts.vae.dtype))
    text = states(parts.text_encoder, tokenize(parts.tokenizer, prompts).to(device)).to(kind)
    embedding = parts.image_encoder(clip_pixels(pictures).to(parts.image_encoder.dtype)).image_embeds[:, None].to(kind)
    condition = image_latents(first, frames).to(kind)
    fps = torch.full((len(prompts),), 8, device=device)
    if guidance > 1:
        blank = states(parts.text_encoder, tokenize(parts.tokenizer, [""] * len(prompts)).to(device)).to(kind)
        text, embedding = torch.cat([blank, text]), torch.cat([torch.zeros_like(embedding), embedding])
        condition, fps = condition.repeat(2, 1, 1, 1, 1), fps.repeat(2)
    noise = torch.randn(condition[: len(prompts)].shape, generator=torch.Generator().manual_seed(seed))
    latents = noise.to(device)
    parts.scheduler.set_timesteps(steps, device=device)
    for time in parts.scheduler.timesteps:
        inputs = torch.cat([latents] * (len(text) // len(prompts))).to(kind)
        made = parts.unet(inputs, time, fps, condition, embedding, text, return_dict=False)[0].float()
        if guidance > 1:
            blank_made, text_made = made.chunk(2)
            made = blank_made + guidance * (text_made - blank_made)
        latents = parts.scheduler.step(made, time, latents).prev_sample
    flat = latents.transpose(1, 2).flatten(0, 1).to(parts.vae.dtype)
    pixels = torch.cat([parts.vae.decode(flat[at : at + 4]).sample for at in range(0, len(flat), 4)])
    return pixels.float().clamp(-1, 1).view(len(prompts), frames, *pixels.shape[1:])


def psnr(made: Tensor, wanted: Tensor) -> float:
    """In dB, for values in -1..1."""
    return float(10 * torch.log10(4 / (made.float() - wanted.float()).square().mean().clamp(min=1e-10)))


def evaluate(
    parts: Parts,
    pictures: Tensor,
    prompts: Prompts,
    *,
    frames: int = 8,
    steps: int = 6,
    guidance: float = 1.0,
    seed: int = 1,
) -> Iterator[list[Judged]]:
    """The clips of every picture (N, 3, H, W), move after move, by `prompts` in an order drawn from `seed`."""

    def make(picture: Tensor, prompt: str, seed: int) -> Tensor:
        return generate(parts, picture[None], [prompt], frames=frames, steps=steps, guidance=guidance, seed=seed)[0]

    rng = random.Random(seed)  # noqa: S311 - prompts, not secrets
    for move in range(len(MOVES)):
        said = phrases(parts, prompts, move, len(pictures), rng)
        yield judge(make, pictures.to(parts.unet.device), said, frames=frames)


@torch.no_grad()
def judge(make: Make, pictures: Tensor, said: Sequence[Phrase], *, frames: int) -> list[Judged]:
    """A clip of each picture (N, 3, H, W) by the phrase in its place, whatever makes them."""
    clips = []
    for index, (picture, phrase) in enumerate(zip(pictures, said, strict=True)):
        clip = make(picture, phrase.text, index)
        warps = warped(picture, phrase.strength, frames)
        true = warps[phrase.move]
        each = [psnr(frame, wanted) for frame, wanted in zip(clip, true, strict=True)]
        clips.append(
            Judged(
                move=MOVES[phrase.move].name,
                found=MOVES[nearest(clip, warps)].name,
                picture=index,
                prompt=phrase.text,
                strength=phrase.strength,
                first=each[0],
                last=each[-1],
                worst=min(each),
                still=psnr(picture, true[-1]) if phrase.move else 0.0,
            )
        )
    return clips


def warped(picture: Tensor, strength: float, frames: int) -> Tensor:
    """(moves, F, 3, H, W): every move's true clip of a picture (3, H, W)."""
    count = len(MOVES)
    return render(picture[None].expand(count, -1, -1, -1), list(range(count)), [strength] * count, frames)


def nearest(clip: Tensor, warps: Tensor) -> int:
    """The move whose true clip is nearest to this one, (F, 3, H, W)."""
    return int((clip - warps).square().flatten(1).mean(1).argmin())
