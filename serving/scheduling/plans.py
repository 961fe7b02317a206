"""Exact ways to run a clip in less memory, fastest first. None of them changes the clip beyond float rounding.

Knows nothing of cards' names, queues or tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

from serving.scheduling.cost import CostRow, Shape

HEADROOM = 1.15
"""Memory the allocator must have for each byte of the peak, for what it loses between tensors: on an H100, clips
counted at 5.3 and 7.3 GiB did not fit caps of 6 and 8 GiB."""
DRIVER_GIB = 0.7
"""What the driver and the kernels' code keep of a card, outside of the allocator."""
MARGIN = 1.08
"""Predicted for each byte of a stage's tensors: their sizes are rounded up, and libraries take workspaces."""
FIXED_GIB = 0.1
"""Predicted for each stage whatever the clip: what all steps share, and what the libraries keep."""
DECODED_AT_ONCE = 1
"""Frames the VAE decodes at once where memory is short."""
MAX_CHUNK = 4
"""Most frames it decodes at once: even 1024p decodes within 7 GiB, and a cancelled job ends soon."""
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
    chunked: bool = False
    """Layers that mix no frames take a few of them at once, and feed-forwards few tokens."""


PLANS = (
    MemoryPlan("resident"),
    MemoryPlan("offload", offload=True),
    MemoryPlan("offload-chunked", offload=True, chunked=True),
    MemoryPlan("offload-sequential", offload=True, sequential=True),
    MemoryPlan("offload-sequential-chunked", offload=True, sequential=True, chunked=True),
)


def peak_gib(plan: MemoryPlan, shape: Shape, cost: CostRow, chunk: int = DECODED_AT_ONCE) -> float:
    """Peak GiB on the card of a clip of which `chunk` frames are decoded at once: the largest of its stages'."""
    return max(stages_gib(plan, shape, cost, chunk).values())


def stages_gib(plan: MemoryPlan, shape: Shape, cost: CostRow, chunk: int = DECODED_AT_ONCE) -> dict[str, float]:
    """The peak GiB of each stage, by the names of `Clip.timings`: the weights that are there, and what it makes."""
    amount, both = shape.megapixels * shape.num_frames, shape.guided and not plan.sequential
    activations, piece_gib = cost.activation_gib if both else cost.half_gib, 0.0
    if plan.chunked:
        activations, piece_gib = cost.chunked_gib if both else cost.chunked_half_gib, cost.piece_gib * shape.megapixels
    if "deepcache" in shape.accelerations:  # the features of both halves, whatever the plan
        activations += cost.cached_gib * (1.0 if shape.guided else 0.5)
    float8_gib = cost.float8_gib if "fp8" in shape.accelerations else 0.0
    resident = cost.weights_gib - (cost.offloaded_gib if plan.offload else 0.0)
    back_gib = cost.vae_gib if plan.offload else 0.0
    stages = {
        "condition": cost.weights_gib + MARGIN * cost.encode_gib * shape.megapixels,
        "denoise": resident + MARGIN * (activations * amount + piece_gib) + float8_gib,
        "decode": resident + back_gib + MARGIN * cost.decode_gib * shape.megapixels * chunk + float8_gib,
    }
    return {stage: gib + FIXED_GIB for stage, gib in stages.items()}


def least_gib(shape: Shape, cost: CostRow) -> float:
    """The least memory a card must have for the clip, GiB, with headroom."""
    return min(needed_gib(plan, shape, cost) for plan in PLANS)


def needed_gib(plan: MemoryPlan | None, shape: Shape, cost: CostRow) -> float:
    """The memory a card must have to run the clip by `plan`, or by the smallest there is, GiB, with headroom."""
    return least_gib(shape, cost) if plan is None else _on_card(peak_gib(plan, shape, cost))


def decode_chunk(plan: MemoryPlan, shape: Shape, cost: CostRow, memory_gib: float | None) -> int:
    """Frames to decode at once on a card of `memory_gib`, fewer where less is free then; one on a CPU (None)."""
    if memory_gib is None:
        return DECODED_AT_ONCE
    chunks = range(MAX_CHUNK, DECODED_AT_ONCE, -1)
    decoding = (n for n in chunks if _on_card(stages_gib(plan, shape, cost, n)["decode"]) <= memory_gib)
    return next(decoding, DECODED_AT_ONCE)


def largest_fitting(shape: Shape, cost: CostRow, memory_gib: float) -> MemoryPlan | None:
    """The fastest plan whose peak, with headroom, a card of `memory_gib` holds; None where no plan fits."""
    return next((plan for plan in PLANS if needed_gib(plan, shape, cost) <= memory_gib), None)


def _on_card(peak: float) -> float:
    """GiB of a card for so many at the peak."""
    return peak * HEADROOM + DRIVER_GIB


def smaller_plans(plan: MemoryPlan, guided: bool) -> tuple[MemoryPlan, ...]:
    """The plans to try where `plan` ran out of memory; without guidance there are no halves to part."""
    rest = PLANS[PLANS.index(plan) + 1 :]
    return tuple(row for row in rest if guided or not row.sequential)
