"""The picture encoder, trained alone to describe a picture in 96 numbers, then frozen.

They are the mean and the spread of each colour in a 4 x 4 grid: a coarse thumbnail, which is all that four context
tokens need.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from transformers import CLIPVisionModelWithProjection

from serving.training.architecture import PICTURE_SIDE
from serving.training.frames import Gallery

MEAN = (0.48145466, 0.4578275, 0.40821073)
SPREAD = (0.26862954, 0.26130258, 0.27577711)


def clip_pixels(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) in -1..1 to what the picture encoder reads: (B, 3, 64, 64), in CLIP's normalisation."""
    mean, spread = (torch.tensor(row, device=pixels.device)[:, None, None] for row in (MEAN, SPREAD))
    side = min(pixels.shape[-2:])
    top, left = (pixels.shape[-2] - side) // 2, (pixels.shape[-1] - side) // 2
    square = pixels[..., top : top + side, left : left + side].float()
    small = F.interpolate(square, (PICTURE_SIDE, PICTURE_SIDE), mode="bilinear", antialias=True)
    return (small * 0.5 + 0.5 - mean) / spread


def description(pixels: Tensor) -> Tensor:
    """(B, 96): 4 x 4 x 3 means, then spreads, of what `clip_pixels` gives."""
    mean = F.avg_pool2d(pixels, PICTURE_SIDE // 4)
    square = F.avg_pool2d(pixels.square(), PICTURE_SIDE // 4)
    return torch.cat([mean.flatten(1), 2 * (square - mean.square()).clamp(min=0).sqrt().flatten(1)], 1)


def train_image_encoder(
    encoder: CLIPVisionModelWithProjection, gallery: Gallery, *, steps: int, batch: int = 64
) -> None:
    """Train in place."""
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
    encoder.train()
    for step in range(steps):
        pixels = clip_pixels(gallery.cut(batch, 128, 128))
        loss = F.mse_loss(encoder(pixels).image_embeds, description(pixels))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"vision {step}: loss {loss.item():.4f}", flush=True)
    encoder.eval()
