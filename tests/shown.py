"""What a clip shows of a picture: the camera move, and how near it is to the true one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from serving.training.evaluation import nearest, psnr, warped
from serving.training.moves import FULL, MOVES


@dataclass(frozen=True)
class Shown:
    """The move it is nearest to; dB of its first frame against the picture, and of its last against that move's."""

    move: str
    first: float
    last: float


def shown(frames: NDArray[np.uint8], still: Image.Image) -> Shown:
    """Of a clip (F, H, W, 3) from a picture of its aspect, at full strength."""
    height, width = frames.shape[1:3]
    pixels = np.asarray(still.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
    clip, picture = _levels(frames), _levels(pixels[None])[0]
    warps = warped(picture, FULL, len(clip))
    move = nearest(clip, warps)
    return Shown(MOVES[move].name, psnr(clip[0], picture), psnr(clip[-1], warps[move][-1]))


def _levels(frames: NDArray[np.uint8]) -> torch.Tensor:
    """(F, H, W, 3) uint8 as (F, 3, H, W) in -1..1."""
    return torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
