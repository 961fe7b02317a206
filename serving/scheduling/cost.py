"""Work, seconds and memory of a clip, from the model's counted operations. Knows nothing of queues or jobs.

The counts are of one denoising step with guidance (two halves): N megapixel-frames and S megapixels a frame take
`N * (linear + spatial * S)` TFLOP, the second term being attention within a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

MEGAPIXEL = 1e6


class CostRow(Protocol):
    """A model's fitted counts: `presets.Cost`."""

    @property
    def tflop_linear(self) -> float: ...
    @property
    def tflop_spatial(self) -> float: ...
    @property
    def weights_gib(self) -> float: ...
    @property
    def activation_gib(self) -> float: ...
    @property
    def offloaded_gib(self) -> float: ...
    @property
    def decode_gib(self) -> float: ...


@dataclass(frozen=True)
class Shape:
    """What of a request decides its cost: pixels, frames, steps, and whether guidance runs both halves."""

    width: int
    height: int
    num_frames: int
    num_inference_steps: int
    guided: bool

    @property
    def megapixels(self) -> float:
        return self.width * self.height / MEGAPIXEL


def tflop(shape: Shape, cost: CostRow) -> float:
    """TFLOP of the whole denoising loop."""
    work = shape.megapixels * shape.num_frames
    step = work * (cost.tflop_linear + cost.tflop_spatial * shape.megapixels)
    return step * shape.num_inference_steps * (1.0 if shape.guided else 0.5)


def seconds(shape: Shape, cost: CostRow, tflops: float) -> float:
    """Seconds of a card that sustains `tflops` TFLOP/s."""
    return tflop(shape, cost) / tflops
