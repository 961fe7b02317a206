"""The whole recipe, a part at a time, each resumable.

A part whose weights lie in the work folder is loaded, not trained again; one that was interrupted goes on from its
last checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from serving.training import photos
from serving.training.architecture import Parts, build
from serving.training.autoencoder import train_vae
from serving.training.checkpoint import Checkpoint
from serving.training.frames import Gallery
from serving.training.motion import LARGE_SHAPES, SHAPES, Shape, train_unet
from serving.training.pictures import Pixels, gallery
from serving.training.text import train_text_encoder
from serving.training.vision import train_image_encoder
from serving.training.vocabulary import learn_tokenizer

PARTS = ("pictures", "text", "vision", "vae", "unet")
NEEDS = {
    "pictures": ("pictures",),
    "text": ("text",),
    "vision": ("pictures", "vision"),
    "vae": ("pictures", "vae"),
    "unet": PARTS,
}
"""What has to be there for a part, itself included, in order."""


@dataclass(frozen=True)
class Pack:
    """Pictures to learn from: the drawn ones of `seeds`, `side` pixels high and wide, and photographs."""

    seeds: range
    side: int
    photo_share: float = 0.25
    photos: Path | None = None
    """Where the photographs lie, if not in their own packages."""


@dataclass(frozen=True)
class Recipe:
    """How much of everything; the defaults are what the weights in `serving/models/builtin` had, on one H100."""

    pictures: Pack = Pack(range(1600), 320)
    text_steps: int = 10_000
    vision_steps: int = 700
    vae_seconds: float = 230.0
    unet_seconds: float = 687.0
    shapes: tuple[Shape, ...] = SHAPES
    large_pictures: Pack = Pack(range(1600, 2240), 640)
    large_seconds: float = 330.0
    large_shapes: tuple[Shape, ...] = LARGE_SHAPES
    workers: int = 16
    seed: int = 0


def cook(recipe: Recipe, work: Path, part: str = "unet") -> Parts:
    """Make `part`, one of PARTS, and what it needs; their weights are left in `work`, other parts untrained."""
    work.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    parts = build(learn_tokenizer(seed=recipe.seed), seed=recipe.seed)
    needs = NEEDS[part]
    if "pictures" in needs:
        packed = _pack(recipe.pictures, work / "pictures.npy", workers=recipe.workers)
        pictures = Gallery(packed, device, seed=recipe.seed)
    if "text" in needs:
        parts.text_encoder.to(device)
        _once(work / "text.pt", parts.text_encoder, lambda checkpoint: train_text_encoder(
            parts.text_encoder, parts.tokenizer, checkpoint, steps=recipe.text_steps, seed=recipe.seed))  # fmt: skip
    if "vision" in needs:
        parts.image_encoder.to(device)
        _once(work / "vision.pt", parts.image_encoder, lambda _: train_image_encoder(
            parts.image_encoder, pictures, steps=recipe.vision_steps))  # fmt: skip
    if "vae" in needs:
        parts.vae.to(device)
        _once(work / "vae.pt", parts.vae, lambda checkpoint: train_vae(
            parts.vae, pictures, checkpoint, seconds=recipe.vae_seconds))  # fmt: skip
    if "unet" in needs:
        _once(work / "unet.pt", parts.unet, lambda checkpoint: train_unet(
            parts, pictures, checkpoint, seconds=recipe.unet_seconds, shapes=recipe.shapes,
            seed=recipe.seed))  # fmt: skip
    return parts


def enlarge(recipe: Recipe, parts: Parts, work: Path) -> None:
    """Go on with a UNet that knows 256p until it knows 512p too; the other parts stay as they are.

    The pictures are drawn anew, at twice the side: those of before would be soft at 512p, and so would its clips.
    """
    work.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    packed = _pack(recipe.large_pictures, work / "large.npy", workers=recipe.workers)
    pictures = Gallery(packed, device, seed=recipe.seed)
    _once(work / "large.pt", parts.unet, lambda checkpoint: train_unet(
        parts, pictures, checkpoint, seconds=recipe.large_seconds, shapes=recipe.large_shapes, rate=4e-4, least=0.0,
        doubt=0.25, seed=recipe.seed + 1))  # fmt: skip


def _pack(pack: Pack, path: Path, *, workers: int) -> Pixels:
    """The pictures to learn from: drawn ones and, of every so many, a photograph of `NOTICE`."""
    if not path.is_file():
        started = time.monotonic()
        files = photos.files(photos.LEARNED, pack.photos)
        drawn = gallery(pack.seeds, pack.side, workers=workers)
        found = [square for file in files for square in photos.squares(file, pack.side)]
        copies = int(pack.photo_share * len(drawn) / len(found))
        np.save(path, np.concatenate([drawn, *[np.stack(found)] * copies]))
        print(f"pictures: {len(drawn)} drawn, {len(found)} photographs, {copies} times; "
              f"{time.monotonic() - started:.0f} s", flush=True)  # fmt: skip
    pixels: Pixels = np.load(path)
    return pixels


def _once(path: Path, module: nn.Module, train: Callable[[Checkpoint], None]) -> None:
    if path.is_file():
        module.load_state_dict(torch.load(path, weights_only=True))
        module.eval()
        return
    checkpoint = Checkpoint(path.with_suffix(".part"))
    train(checkpoint)
    torch.save({name: weight.cpu() for name, weight in module.state_dict().items()}, path)
    checkpoint.remove()
