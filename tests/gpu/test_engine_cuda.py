"""The fused kernels and the replayed steps on a CUDA card: python -m pytest tests/gpu."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from serving.engine import kernels, random_weights, sampler
from serving.engine.blocks import UpsamplingConv
from serving.engine.conditioning import Conditioning
from serving.engine.replay import Replay
from serving.engine.unet import UNet

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card; torch sees none"),
]
HALF = 2e-3
WHOLE = 5e-3
"""Relative, of one operation and of the whole UNet in half precision: numbers have 11 bits."""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def assert_close(ours: torch.Tensor, reference: torch.Tensor, tolerance: float = HALF) -> None:
    assert ours.shape == reference.shape
    assert ((ours.float().cpu() - reference).norm() / reference.norm()).item() < tolerance


@pytest.mark.parametrize(("channels", "other"), [(320, 0), (640, 320), (1280, 1280), (1280, 640)])
def test_group_norm(channels: int, other: int) -> None:
    x, residual = torch.randn(2, 4, 1000, channels)
    beside = torch.randn(2, 1000, other) if other else None
    weight, bias, shift = torch.randn(3, channels + other)
    tensors = {"residual": residual, "beside": beside, "shift": shift}
    rounded = {name: None if value is None else value.half() for name, value in tensors.items()}
    named = {"groups": 32, "eps": 1e-5, "silu": True, "keep_sum": True}

    def run(device: str, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        there = {name: None if value is None else value.to(device, dtype) for name, value in rounded.items()}
        first, *affine = (value.half().to(device, dtype) for value in (x, weight, bias))
        return kernels.group_norm(first, *affine, **named, **there)

    for ours, reference in zip(run("cuda", torch.float16), run("cpu", torch.float32), strict=True):
        assert_close(ours, reference)


@pytest.mark.parametrize("width", [320, 640, 1280, 512])
def test_layer_norm_and_geglu(width: int) -> None:
    x = torch.randn(777, width).half()
    weight, bias, shift = torch.randn(3, width).half()
    ours = kernels.layer_norm(x.cuda(), weight.cuda(), bias.cuda(), eps=1e-5, shift=shift.cuda())
    assert_close(ours, kernels.layer_norm(x.float(), weight.float(), bias.float(), eps=1e-5, shift=shift.float()))
    weight, bias = (torch.randn(8 * width, width) * width**-0.5).half(), torch.randn(8 * width).half()
    expected = kernels.geglu(x.float(), weight.float(), bias.float())
    assert_close(kernels.geglu(x.cuda(), weight.cuda(), bias.cuda()), expected)
    if (fused := kernels.fused()) is not None:
        assert_close(fused.geglu(x.cuda() @ weight.cuda().t(), bias.cuda()), expected)


@pytest.mark.parametrize("frames", [1, 8, 16, 24, 32])
def test_what_mixes_frames(frames: int) -> None:
    x = torch.randn(2, frames, 150, 3 * 640).half()
    assert_close(kernels.frame_attention(x.cuda(), 10), kernels.frame_attention(x.float(), 10))
    x = torch.randn(2, frames, 150, 320).half()
    weight = (torch.randn(640, 320, 3, 1) * 0.03).half().contiguous(memory_format=torch.channels_last)
    ours, _ = kernels.frame_conv(x.cuda(), weight.cuda())
    assert_close(ours, kernels.frame_conv(x.float(), weight.float())[0])


@pytest.mark.parametrize("shape", [(4, 32, 32, 640), (9, 24, 20, 1280), (2, 33, 47, 512)], ids=str)
def test_doubled_conv(shape: tuple[int, ...]) -> None:
    channels = shape[-1]
    module = torch.nn.Conv2d(channels, channels, 3, padding=1).half()
    x = torch.randn(1, *shape).half()
    size = (2 * shape[1], 2 * shape[2])
    expected = UpsamplingConv(copy.deepcopy(module).float()).upsampled(x.float(), *size)
    assert_close(UpsamplingConv(module.cuda()).upsampled(x.cuda(), *size), expected)


@pytest.fixture(scope="module")
def unet() -> UNet:
    """The full architecture."""
    module = random_weights.build(random_weights.I2VGEN_XL, "cuda")["unet"].eval().requires_grad_(False).half()
    return UNet(module)


def request(frames: int, side: int) -> tuple[Conditioning, torch.Tensor]:
    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device="cuda", dtype=torch.float16)

    cells = (frames, side, side)
    latents = noise(1, 4, *cells).repeat(2, 1, 1, 1, 1)
    fps = torch.full((2,), 8, device="cuda")
    return Conditioning(noise(2, 77, 1024), noise(2, 1, 1024), latents, fps, noise(1, 4, *cells)), noise(1, 4, *cells)


def test_replayed_steps_are_the_plain_ones_for_every_request(unet: UNet) -> None:
    """Two shapes, and two requests of one shape in turn: nothing of one is left in another."""
    replay = Replay(unet)
    asked = [request(8, 32), request(8, 32), request(9, 24)]
    plain = [sampler.unet_predictor(Replay(unet, record=False), conditioning) for conditioning, _ in asked]
    replayed = [sampler.unet_predictor(replay, conditioning) for conditioning, _ in asked]
    for step in (981, 741, 501, 1):
        timestep = torch.tensor(step)
        for (_, latents), expected, ours in zip(asked, plain, replayed, strict=True):
            assert torch.equal(ours(latents, timestep).clone(), expected(latents, timestep))
    assert len(replay._recordings) == 2
    torch.cuda.empty_cache()
    reserved = torch.cuda.memory_reserved()
    held = replay.held_bytes
    assert replay.clear()
    torch.cuda.empty_cache()
    # But for the graphs' inputs, a few MiB, and what cuBLAS may have got meanwhile and keeps, 32 MiB.
    assert abs(reserved - torch.cuda.memory_reserved() - held) < 2**26 < held
    assert torch.equal(replayed[0](asked[0][1], timestep).clone(), plain[0](asked[0][1], timestep))


def test_halves_in_sequence_are_the_halves_together(unet: UNet) -> None:
    conditioning, latents = request(8, 32)
    timestep = torch.tensor(501)
    together = sampler.unet_predictor(Replay(unet, record=False), conditioning)(latents, timestep)
    parted = sampler.unet_predictor(Replay(unet), conditioning, sequential=True)(latents, timestep)
    assert_close(parted, together.float().cpu(), WHOLE)


def test_without_guidance_there_is_one_half(unet: UNet) -> None:
    conditioning, latents = request(8, 32)
    one = replace(
        conditioning,
        text=conditioning.text[1:],
        image=conditioning.image[1:],
        image_latents=conditioning.image_latents[1:],
        fps=conditioning.fps[1:],
    )
    timestep = torch.tensor(501)
    alone = sampler.unet_predictor(Replay(unet, record=False), one)(latents, timestep)
    both = sampler.unet_predictor(Replay(unet, record=False), conditioning)(latents, timestep)
    assert alone.shape[0] == 1
    assert_close(alone, both[1:].float().cpu(), WHOLE)
