"""Exact ways to run a clip in less memory, fastest first. None of them changes the clip beyond float rounding.

Knows nothing of cards' names, queues or tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

from serving.scheduling.cost import CostRow, Shape

HEADROOM = 1.15
"""Memory a card must have for each byte of the peak, for the allocator's fragments and the libraries' workspaces:
on an H100, clips counted at 5.3 and 7.3 GiB did not fit caps of 6 and 8 GiB."""
DECODED_AT_ONCE = 1
"""Frames the VAE decodes at once where memory is short."""
MAX_CHUNK = 4
"""Most frames it decodes at once: even 1024p decodes within 6 GiB, and a cancelled job ends soon."""
DECODING_SHARE = 0.8
"""Of the memory that is free when decoding begins, what it plans with."""


@dataclass(frozen=True)
class MemoryPlan:
    """What of the work is not on the card, or not at once."""

    name: str
    offload: bool = False
    """The text and vision encoders and the VAE leave the card while it denoises."""
    sequential: bool = False
    """The two guidance halves run one after the other."""


PLANS = (
    MemoryPlan("resident"),
    MemoryPlan("offload", offload=True),
    MemoryPlan("offload-sequential", offload=True, sequential=True),
)


def peak_gib(plan: MemoryPlan, shape: Shape, cost: CostRow) -> float:
    """Peak GiB on the card: the larger of denoising's and decoding's."""
    halves = 1.0 if shape.guided and not plan.sequential else 0.5
    resident = cost.weights_gib - (cost.offloaded_gib if plan.offload else 0.0)
    amount = shape.megapixels * shape.num_frames
    denoising = resident + cost.activation_gib * amount * halves
    if "deepcache" in shape.accelerations:  # the features of both halves, whatever the plan
        denoising += cost.cached_gib * amount * (1.0 if shape.guided else 0.5)
    if "fp8" in shape.accelerations:
        denoising += cost.float8_gib
    decoding = cost.weights_gib + cost.decode_gib * shape.megapixels * DECODED_AT_ONCE
    return max(denoising, decoding)


def least_gib(shape: Shape, cost: CostRow) -> float:
    """The least memory a card must have for the clip, GiB, with headroom."""
    return min(needed_gib(plan, shape, cost) for plan in PLANS)


def needed_gib(plan: MemoryPlan | None, shape: Shape, cost: CostRow) -> float:
    """The memory a card must have to run the clip by `plan`, or by the smallest there is, GiB, with headroom."""
    return least_gib(shape, cost) if plan is None else peak_gib(plan, shape, cost) * HEADROOM


def decode_chunk(shape: Shape, cost: CostRow, memory_gib: float | None) -> int:
    """Frames expected to be decoded at once: a card decides by what is free at that moment, a CPU (None) takes one."""
    if memory_gib is None:
        return DECODED_AT_ONCE
    room_gib = (memory_gib - cost.weights_gib) * DECODING_SHARE
    frame_gib = cost.decode_gib * shape.megapixels
    return max(n for n in range(1, MAX_CHUNK + 1) if n == DECODED_AT_ONCE or n * frame_gib <= room_gib)


def largest_fitting(shape: Shape, cost: CostRow, memory_gib: float) -> MemoryPlan | None:
    """The fastest plan whose peak, with headroom, a card of `memory_gib` holds; None where no plan fits."""
    return next((plan for plan in PLANS if peak_gib(plan, shape, cost) * HEADROOM <= memory_gib), None)


def smaller_plans(plan: MemoryPlan, guided: bool) -> tuple[MemoryPlan, ...]:
    """The plans to try where `plan` ran out of memory; without guidance there are no halves to part."""
    rest = PLANS[PLANS.index(plan) + 1 :]
    return tuple(row for row in rest if guided or not row.sequential)
