"""The camera moves the built-in model knows, and the exact clips they make of a picture.

A move is a named affine warp that grows evenly from the first frame to the last. Names say what the camera does:
in "pan left" the content moves right; in "rotate clockwise" the content turns clockwise on the screen. Knows nothing
of words (`phrases`) or of latents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812

GENTLE, FULL = 0.6, 1.0


@dataclass(frozen=True)
class Move:
    """Where the content is at the last frame of a full-strength clip, against the first.

    `right` and `down` are shifts as fractions of the side, `scale` a magnification, `clockwise` degrees.
    """

    name: str
    right: float = 0.0
    down: float = 0.0
    scale: float = 1.0
    clockwise: float = 0.0

    def at(self, progress: float) -> tuple[float, float, float, float]:
        """(right, down, scale, radians clockwise) when `progress` of the move is done; 1 is a full-strength end."""
        return (
            self.right * progress,
            self.down * progress,
            self.scale**progress,
            math.radians(self.clockwise) * progress,
        )


MOVES: tuple[Move, ...] = (
    Move("static"),
    Move("pan left", right=0.08),
    Move("pan right", right=-0.08),
    Move("pan up", down=0.08),
    Move("pan down", down=-0.08),
    Move("zoom in", scale=1.18),
    Move("zoom out", scale=1 / 1.18),
    Move("rotate clockwise", clockwise=8.0),
    Move("rotate counter-clockwise", clockwise=-8.0),
)
BY_NAME = {move.name: index for index, move in enumerate(MOVES)}


def sampling_matrices(moves: list[int], strengths: list[float], num_frames: int, aspect: float) -> torch.Tensor:
    """(clips, frames, 2, 3) matrices that take a frame's [-1, 1] coordinates to where they lie in the picture.

    `aspect` is width / height; rotations turn about the centre without shear at any aspect.
    """
    rows = []
    for move, strength in zip(moves, strengths, strict=True):
        for frame in range(num_frames):
            progress = strength * frame / max(num_frames - 1, 1)
            right, down, scale, angle = MOVES[move].at(progress)
            cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
            # Screen y points down, so looking up the source turns the other way. 2: [-1, 1] spans a whole side.
            row_x = [cos, sin / aspect, 0.0]
            row_y = [-sin * aspect, cos, 0.0]
            row_x[2] = -(row_x[0] * 2 * right + row_x[1] * 2 * down)
            row_y[2] = -(row_y[0] * 2 * right + row_y[1] * 2 * down)
            rows.append([row_x, row_y])
    return torch.tensor(rows).view(len(moves), num_frames, 2, 3)


def render(pictures: torch.Tensor, moves: list[int], strengths: list[float], num_frames: int) -> torch.Tensor:
    """Exact clips (clips, frames, 3, H, W) of pictures (clips, 3, H, W); what enters at an edge is its mirror image."""
    clips, channels, height, width = pictures.shape
    matrices = sampling_matrices(moves, strengths, num_frames, width / height).to(pictures.device)
    grid = F.affine_grid(matrices.flatten(0, 1), [clips * num_frames, channels, height, width], align_corners=False).to(
        pictures.dtype
    )
    frames = pictures[:, None].expand(-1, num_frames, -1, -1, -1).flatten(0, 1)
    warped = F.grid_sample(frames, grid, mode="bicubic", padding_mode="reflection", align_corners=False)
    warped = warped.clamp(float(pictures.min()), float(pictures.max()))
    return warped.view(clips, num_frames, channels, height, width)
