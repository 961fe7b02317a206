"""Work and seconds of a clip, from the model's counted operations and the card's speed. Knows nothing of queues.

The counts are of one denoising step with guidance (two halves): N megapixel-frames and S megapixels a frame take
`N * (linear + spatial * S)` TFLOP, the second term being attention within a frame. Decoding takes `decode * N`.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Protocol

from serving.scheduling.accelerations import steps

MEGAPIXEL = 1e6
FRAMES_AT_ONCE = 4
"""Frames of one half that a step takes at once where memory is short (`MemoryPlan.chunked`)."""
PIECEWISE = 0.52
"""Of a step's launches, those of the layers that it then calls for each piece (by count, 0.50 to 0.56)."""
STAGES = ("condition", "denoise", "decode")
"""The parts of a card's work on a clip, by the names of `Clip.timings`."""

# Of a card that was never measured: what an H200 pays for each call of the model, whatever its size, and a guess for
# the beginning and the end of a clip.
CALL_S = 0.003
FIXED_S = 0.05
ENCODER_SHARE = 0.45
"""Operations of a VAE's encoder for each of its decoder's."""
EXCHANGE_S, EXCHANGE_MEGAPIXEL_S = 0.001, 0.0003
"""What two cards of one machine pay in each step to exchange their halves: always, and for each megapixel-frame."""


class CostRow(Protocol):
    """A model's fitted counts: `presets.Cost`."""

    @property
    def tflop_linear(self) -> float: ...
    @property
    def tflop_spatial(self) -> float: ...
    @property
    def tflop_decode(self) -> float: ...
    @property
    def weights_gib(self) -> float: ...
    @property
    def activation_gib(self) -> float: ...
    @property
    def half_gib(self) -> float: ...
    @property
    def chunked_gib(self) -> float: ...
    @property
    def chunked_half_gib(self) -> float: ...
    @property
    def piece_gib(self) -> float: ...
    @property
    def offloaded_gib(self) -> float: ...
    @property
    def vae_gib(self) -> float: ...
    @property
    def encode_gib(self) -> float: ...
    @property
    def decode_gib(self) -> float: ...
    @property
    def unguided_share(self) -> float: ...
    @property
    def cached_linear(self) -> float: ...
    @property
    def cached_spatial(self) -> float: ...
    @property
    def cached_gib(self) -> float: ...
    @property
    def float8_gib(self) -> float: ...


@dataclass(frozen=True)
class Shape:
    """What of a request decides its cost: pixels, frames, steps, whether guidance runs both halves, accelerations."""

    width: int
    height: int
    num_frames: int
    num_inference_steps: int
    guided: bool
    accelerations: tuple[str, ...] = ()
    parts: int = 1
    """How many such clips are made, one after the other."""

    @property
    def megapixels(self) -> float:
        return self.width * self.height / MEGAPIXEL

    @property
    def words(self) -> str:
        """For people, such as "512x512, 16 frames, guided"."""
        further = "".join(f", {word}" for word in (*(["guided"] if self.guided else []), *self.accelerations))
        times = "" if self.parts == 1 else f"{self.parts} x "
        return f"{self.width}x{self.height}, {times}{self.num_frames} frames{further}"


@dataclass(frozen=True)
class Speed:
    """What each unit of `work` takes a card, in seconds: the coefficients of the stages' laws."""

    condition: tuple[float, ...]
    """Of any clip; of a megapixel of its picture."""
    denoise: tuple[float, ...]
    """Of a call of the model; of a TFLOP that is linear in the pixels; of one of attention within a frame."""
    decode: tuple[float, ...]
    """Of any clip; of a megapixel-frame."""


def tflop(shape: Shape, cost: CostRow) -> float:
    """TFLOP of all denoising."""
    return sum(work(shape, cost)["denoise"][1:])


def work(
    shape: Shape, cost: CostRow, *, sequential: bool = False, chunked: bool = False
) -> dict[str, tuple[float, ...]]:
    """What there is to do at each stage, in the units of `Speed`.

    Args:
        sequential: the two guidance halves run one after the other.
        chunked: a few frames at once go through the layers that mix none.
    """
    of_a_part = {
        "condition": (1.0, shape.megapixels),
        "denoise": _denoising(shape, cost, sequential=sequential, chunked=chunked),
        "decode": (1.0, shape.megapixels * shape.num_frames),
    }
    return {stage: tuple(shape.parts * units for units in of_a_part[stage]) for stage in STAGES}


def stage_seconds(
    shape: Shape, cost: CostRow, speed: Speed, *, sequential: bool = False, chunked: bool = False
) -> dict[str, float]:
    """Seconds of each stage on a card of this speed."""
    units = work(shape, cost, sequential=sequential, chunked=chunked)
    return {stage: dot(units[stage], getattr(speed, stage)) for stage in STAGES}


def shared_stage_seconds(shape: Shape, cost: CostRow, speed: Speed) -> dict[str, float]:
    """Seconds of each stage where two such cards work on the clip, with one guidance half each; it must be guided."""
    # Apart, a half does what a step without guidance does: the halves' common beginning is done twice.
    found = stage_seconds(replace(shape, guided=False), cost, speed)
    exchange_s = EXCHANGE_S + EXCHANGE_MEGAPIXEL_S * shape.megapixels * shape.num_frames
    return found | {"denoise": found["denoise"] + shape.parts * shape.num_inference_steps * exchange_s}


def speed_of(tflops: float, cost: CostRow) -> Speed:
    """The speed to expect of a card that was never measured; `tflops` as in `CardClass`."""
    decoding = cost.tflop_decode / tflops
    return Speed((FIXED_S, ENCODER_SHARE * decoding), (CALL_S, 1 / tflops, 1 / tflops), (FIXED_S, decoding))


def seconds(shape: Shape, cost: CostRow, tflops: float) -> float:
    """Seconds of a clip on a card that was never measured; `tflops` as in `CardClass`."""
    return sum(stage_seconds(shape, cost, speed_of(tflops, cost)).values())


def dot(left: tuple[float, ...], right: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def _denoising(
    shape: Shape, cost: CostRow, *, sequential: bool = False, chunked: bool = False
) -> tuple[float, float, float]:
    """Calls of the model, TFLOP that are linear in the pixels, and TFLOP of attention within a frame."""
    calls = linear = spatial = 0.0
    for step, count in Counter(steps(shape.num_inference_steps, shape.accelerations)).items():
        both = shape.guided and not step.unguided
        halves = count * (1.0 if both else cost.unguided_share)
        # A call's own cost is that of its launches, which are as many as layers.
        times = 2 if both and sequential else 1
        pieces = math.ceil(shape.num_frames / FRAMES_AT_ONCE) * (2 if both else 1) if chunked else times
        calls += count * (times + PIECEWISE * (pieces - times)) * (cost.cached_linear if step.cached else 1.0)
        linear += halves * (cost.cached_linear if step.cached else 1.0)
        spatial += halves * (cost.cached_spatial if step.cached else 1.0)
    amount = shape.megapixels * shape.num_frames
    return calls, amount * linear * cost.tflop_linear, amount * spatial * shape.megapixels * cost.tflop_spatial
