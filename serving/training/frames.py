"""Batches of training pictures, cut from the drawn ones on the device that trains."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812

from serving.training.pictures import Pixels


class Gallery:
    """Pictures (N, side, side, 3) uint8 on a device, cut, mirrored and recoloured at random; -1..1 floats out."""

    def __init__(self, pictures: Pixels, device: torch.device, *, seed: int) -> None:
        self.pictures = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().to(device)
        self.random = torch.Generator(device).manual_seed(seed)

    def _uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.empty(shape, device=self.pictures.device).uniform_(low, high, generator=self.random)

    def cut(self, count: int, height: int, width: int, *, least: float = 0.75, most: float = 1.0) -> torch.Tensor:
        """(count, 3, height, width) crops whose longer side spans `least` to `most` of a picture."""
        side = self.pictures.shape[-1]
        chosen = torch.randint(len(self.pictures), (count,), generator=self.random, device=self.pictures.device)
        span = self._uniform(least, most, count)
        aspect = torch.tensor([width, height], device=span.device) / max(width, height)
        half = span[:, None] * aspect
        centre = self._uniform(-1, 1, count, 2) * (1 - half)
        flip = torch.where(self._uniform(0, 1, count) < 0.5, -1.0, 1.0)
        matrices = torch.zeros(count, 2, 3, device=span.device)
        matrices[:, 0, 0], matrices[:, 1, 1], matrices[:, :, 2] = half[:, 0] * flip, half[:, 1], centre
        pixels = self.pictures[chosen].float() / 127.5 - 1
        shrink = int(most * side / max(width, height))
        if shrink > 1:
            pixels = F.avg_pool2d(pixels, shrink)
        grid = F.affine_grid(matrices, [count, 3, height, width], align_corners=False)
        cut = F.grid_sample(pixels, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
        gain, lift = self._uniform(0.75, 1.2, count, 3, 1, 1), self._uniform(-0.15, 0.15, count, 1, 1, 1)
        return (cut * gain + lift).clamp(-1, 1)
