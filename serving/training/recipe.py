"""The whole recipe in order, resumable: a part whose weights lie in the work folder is loaded, not trained again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from serving.training.architecture import Parts, build
from serving.training.autoencoder import train_vae
from serving.training.frames import Gallery
from serving.training.motion import train_unet
from serving.training.pictures import Pixels, gallery, photographs
from serving.training.text import train_text_encoder
from serving.training.vision import train_image_encoder
from serving.training.vocabulary import learn_tokenizer


@dataclass(frozen=True)
class Recipe:
    """How much of everything; the defaults are what the weights in `serving/models/builtin` had, on one H100."""

    pictures: int = 1600
    side: int = 320
    photo_share: float = 0.25
    text_steps: int = 2500
    vision_steps: int = 700
    vae_seconds: float = 230.0
    unet_seconds: float = 687.0
    """Of the whole schedule; `span` says which part of it to run now."""
    span: tuple[float, float] = (0.0, 1.0)
    workers: int = 16
    seed: int = 0


def cook(recipe: Recipe, work: Path, photos: Path | None = None) -> Parts:
    """Train, or load from `work`, every part; leaves their weights, and the UNet's state, in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    parts = build(learn_tokenizer(seed=recipe.seed), seed=recipe.seed)
    started = time.monotonic()
    drawn = _drawn(recipe, work / "pictures.npy")
    if photos is not None:
        found = photographs(photos, recipe.side)
        copies = int(recipe.photo_share * len(drawn) / max(1, len(found)))
        drawn = np.concatenate([drawn, *[np.stack(found)] * copies])
    pictures = Gallery(drawn, device, seed=recipe.seed)
    print(f"pictures: {len(drawn)} in {time.monotonic() - started:.0f} s", flush=True)
    _once(work / "text.pt", parts.text_encoder,
          lambda: train_text_encoder(parts.text_encoder, parts.tokenizer, steps=recipe.text_steps))  # fmt: skip
    parts.image_encoder.to(device)
    _once(work / "vision.pt", parts.image_encoder,
          lambda: train_image_encoder(parts.image_encoder, pictures, steps=recipe.vision_steps))  # fmt: skip
    parts.vae.to(device)
    _once(work / "vae.pt", parts.vae, lambda: train_vae(parts.vae, pictures, seconds=recipe.vae_seconds))
    saved = work / "unet.pt"
    state = torch.load(saved) if saved.is_file() else None
    seconds = recipe.unet_seconds * (recipe.span[1] - recipe.span[0])
    if seconds > 0:
        seed = recipe.seed + int(1000 * recipe.span[0])
        torch.save(train_unet(parts, pictures, seconds=seconds, span=recipe.span, state=state, seed=seed), saved)
    return parts


def _drawn(recipe: Recipe, path: Path) -> Pixels:
    if not path.is_file():
        np.save(path, gallery(range(recipe.pictures), recipe.side, workers=recipe.workers))
    pixels: Pixels = np.load(path)
    return pixels


def _once(path: Path, module: nn.Module, train: Callable[[], None]) -> None:
    if path.is_file():
        module.load_state_dict(torch.load(path))
        module.eval()
        return
    train()
    torch.save({name: weight.cpu() for name, weight in module.state_dict().items()}, path)
