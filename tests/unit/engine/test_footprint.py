"""The memory rows of the published model are what its own layers hold, counted on tensors without storage."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, I2VGenXLUNet

from serving.engine import kernels, random_weights
from serving.engine.conditioning import Conditioning
from serving.engine.decoder import Decoder
from serving.engine.footprint import PeakMemory
from serving.engine.unet import UNet
from serving.presets import I2VGEN_XL
from serving.scheduling.cost import Shape
from serving.scheduling.plans import FIXED_GIB, MARGIN, PLANS, MemoryPlan, stages_gib

GIB = 2**30
COST = I2VGEN_XL.cost
BY_NAME = {plan.name: plan for plan in PLANS}
MOST = 1.2
"""Predicted for each byte of a step's tensors, at most; at least it is one."""


@pytest.fixture(scope="module")
def unet() -> UNet:
    with torch.device("meta"):
        return UNet(I2VGenXLUNet(**random_weights.I2VGEN_XL.unet).half().eval().requires_grad_(False))


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    with torch.device("meta"):
        return AutoencoderKL(**random_weights.I2VGEN_XL.vae).half().eval().requires_grad_(False)


def empty(*shape: int, dtype: torch.dtype = torch.float16) -> torch.Tensor:
    return torch.empty(shape, device="meta", dtype=dtype)


def step_gib(unet: UNet, plan: MemoryPlan, shape: Shape) -> float:
    """Of one call by `plan`, with what the request's steps share."""
    halves = 2 if shape.guided and not plan.sequential else 1
    cells = shape.num_frames, shape.height // 8, shape.width // 8
    conditioning = Conditioning(
        text=empty(halves, 77, 1024),
        image=empty(halves, 1, 1024),
        image_latents=empty(halves, 4, *cells),
        fps=empty(halves, dtype=torch.int64),
        noise=empty(1, 4, *cells),
    )
    unet.chunked = plan.chunked
    with torch.no_grad(), kernels.outlined(), PeakMemory() as memory:
        prepared = unet.prepare(conditioning)
        unet(conditioning.noise, empty(dtype=torch.int64), prepared)
    return memory.peak / GIB


SHAPES = [
    (256, 256, 8, True),
    (512, 512, 16, True),
    (512, 512, 16, False),
    (768, 768, 24, True),
    (768, 1368, 12, True),
    (1024, 1024, 32, True),
    (1024, 1024, 31, False),
]


@pytest.mark.parametrize("name", ["resident", "offload-chunked", "offload-sequential", "offload-sequential-chunked"])
def test_a_step_holds_what_is_predicted(unet: UNet, name: str) -> None:
    plan = BY_NAME[name]
    # In chunks it takes many times as long: the least, the longest side, and the most. Halves in sequence are one half.
    wanted = (SHAPES[0], SHAPES[4], SHAPES[5]) if plan.chunked else SHAPES
    for width, height, frames, guided in (row for row in wanted if row[3] or not plan.sequential):
        shape = Shape(width, height, frames, 1, guided)
        weights = COST.weights_gib - (COST.offloaded_gib if plan.offload else 0)
        predicted = stages_gib(plan, shape, COST)["denoise"] - weights
        counted = step_gib(unet, plan, shape)
        assert counted <= predicted <= MOST * counted + FIXED_GIB, (shape, predicted, counted)


def test_frames_that_are_decoded_at_once_hold_what_is_predicted(vae: AutoencoderKL) -> None:
    decoder = Decoder(vae)
    for side, chunk in ((512, 1), (1024, 1), (1024, 4)):
        with torch.no_grad(), kernels.outlined(), PeakMemory() as memory:
            decoder(empty(chunk, 4, side // 8, side // 8))
        predicted = stages_gib(PLANS[0], Shape(side, side, 8, 1, True), COST, chunk)["decode"] - COST.weights_gib
        assert predicted == pytest.approx(memory.peak / GIB * MARGIN + FIXED_GIB, rel=0.02)


def test_the_weights_are_counted(unet: UNet, vae: AutoencoderKL) -> None:
    def gib(module: torch.nn.Module) -> float:
        return sum(weight.nbytes for weight in module.parameters()) / GIB

    own = sum(tensor.nbytes for tensor in (unet._time_weight, unet._time_bias)) / GIB
    # 4 x 4 weights beside 3 x 3, which `kernels.folded` makes.
    own += 16 / 9 * sum(gib(block.upsamplers[0].conv) for block in unet.module.up_blocks[:-1])
    assert gib(unet.module) + own == pytest.approx(COST.weights_gib - COST.offloaded_gib, rel=0.01)
    assert gib(vae) == pytest.approx(COST.vae_gib, rel=0.05)


def test_tensors_are_counted_while_they_live_and_views_of_them_not_again() -> None:
    with PeakMemory() as memory:
        first = torch.zeros(1000)
        view = first[:500].add_(1)
        second = first + 1
        del first, view
        third = second + 1
        del second
        torch.zeros(1500)
    assert memory.peak == 4 * 2500
    assert memory.alive == 4 * 1000
    del third
    assert memory.alive == 0
