"""Every Triton kernel gives what its plain PyTorch twin gives, by Triton's interpreter on the CPU.

Tolerance: float32 sums in another order, 2e-5 on values of a few units; products of half-precision values are rounded
to half precision, 5e-3.
"""

from __future__ import annotations

import importlib
import itertools
import os
from types import ModuleType

import pytest
import torch

from serving.engine import kernels

SUMMED = 2e-5
HALF = 5e-3


@pytest.fixture(scope="module")
def fused() -> ModuleType:
    """The kernels, interpreted."""
    pytest.importorskip("triton", reason="Triton is not installed")
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("tests/gpu runs the compiled kernels")
    return importlib.import_module("serving.engine.fused")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def assert_close(ours: torch.Tensor, reference: torch.Tensor, tolerance: float = SUMMED) -> None:
    assert ours.shape == reference.shape
    assert (ours.float() - reference.float()).abs().max() < tolerance


@pytest.mark.parametrize("shape", [(2, 50, 32, 8), (1, 300, 96, 32), (4, 17, 192, 8)], ids=str)
@pytest.mark.parametrize(
    ("residual", "shift", "beside"), list(itertools.product((False, True), repeat=3)), ids=lambda there: "+-"[not there]
)
def test_group_norm(fused: ModuleType, shape: tuple[int, ...], residual: bool, shift: bool, beside: bool) -> None:
    samples, tokens, channels, groups = shape
    wide = channels * 2 if beside else channels
    x = torch.randn(samples, tokens, channels) + 1
    weight, bias = torch.randn(2, wide)
    others = (
        torch.randn_like(x) if residual else None,
        torch.randn(wide) if shift else None,
        torch.randn(max(1, samples // 2), tokens, channels) if beside else None,
    )
    named = dict(zip(("residual", "shift", "beside"), others, strict=True))
    expected = kernels.group_norm(x, weight, bias, groups=groups, eps=1e-5, silu=True, keep_sum=True, **named)
    ours = fused.group_norm(x, weight, bias, groups, 1e-5, True, *others, None, True)
    for mine, theirs in zip(ours, expected, strict=True):
        assert_close(mine, theirs)
    if not residual and not beside:
        total, normed = fused.group_norm(x, weight, bias, groups, 1e-5, True, *others, None, False)
        assert total is x
        assert_close(normed, expected[1])


def test_layer_norm(fused: ModuleType) -> None:
    x = torch.randn(37, 96)
    weight, bias, shift = torch.randn(3, 96)
    expected = kernels.layer_norm(x, weight, bias, eps=1e-5, shift=shift)
    assert_close(fused.layer_norm(x, weight, bias, 1e-5, shift), expected)


def test_geglu(fused: ModuleType) -> None:
    x, weight, bias = torch.randn(5, 24), torch.randn(144, 24), torch.randn(144)
    assert_close(fused.geglu(x @ weight.t(), bias), kernels.geglu(x, weight, bias), 10 * SUMMED)


def test_a_gate_is_exact_for_whatever_is_let_through(fused: ModuleType) -> None:
    gates = torch.cat([torch.linspace(-6, 6, 4001), torch.tensor([-300.0, -7, -0.0, 7, 300])])
    ours = fused.geglu(torch.stack([torch.ones_like(gates), gates], 1), torch.zeros(2))[:, 0].double()
    exact = torch.nn.functional.gelu(gates.double())
    assert ((ours - exact).abs() <= 6e-6 * exact.abs() + 1e-8).all()


@pytest.mark.parametrize("shape", [(300, 64, 128), (1100, 128, 256), (5, 64, 128)], ids=str)
def test_geglu_in_one_with_its_product(fused: ModuleType, shape: tuple[int, ...]) -> None:
    count, channels, width = shape
    x, weight = torch.randn(count, channels).half(), (torch.randn(2 * width, channels) * 0.05).half()
    bias = (torch.randn(2 * width) * 0.5).half()
    ours = fused.linear_geglu(x, weight, bias)
    assert_close(ours, kernels.geglu(x.float(), weight.float(), bias.float()), HALF)


@pytest.mark.parametrize("shape", [(5, 7, 3, 16), (16, 9, 2, 16), (1, 3, 2, 16), (32, 3, 2, 32)], ids=str)
def test_frame_attention(fused: ModuleType, shape: tuple[int, ...]) -> None:
    frames, places, heads, size = shape
    assert fused.attends(frames, size)
    qkv = torch.randn(2, frames, places, 3 * heads * size)
    assert_close(fused.frame_attention(qkv, heads), kernels.frame_attention(qkv, heads))


@pytest.mark.parametrize("sides", [(8, 8), (5, 12), (3, 33), (16, 1)], ids=str)
@pytest.mark.parametrize("channels", [(64, 64), (128, 192), (64, 256)], ids=str)
def test_doubled_conv(fused: ModuleType, sides: tuple[int, int], channels: tuple[int, int]) -> None:
    inputs, outputs = channels
    x = torch.randn(3, *sides, inputs).half()
    weight = (torch.randn(outputs, inputs, 3, 3) * 0.03).half().contiguous(memory_format=torch.channels_last)
    doubled = x.float().repeat_interleave(2, 1).repeat_interleave(2, 2).permute(0, 3, 1, 2)
    expected = torch.nn.functional.conv2d(doubled, weight.float(), padding=1).permute(0, 2, 3, 1)
    assert_close(fused.doubled_conv(x, fused.folded(weight)), expected, HALF)


@pytest.mark.parametrize(
    "shape", [(2, 4, 70, 64, 64), (1, 3, 130, 64, 128), (1, 1, 9, 128, 64), (1, 2, 140, 64, 320)], ids=str
)
def test_frame_conv_and_the_moments_it_hands_to_the_next_norm(fused: ModuleType, shape: tuple[int, ...]) -> None:
    batch, frames, places, channels, width = shape
    x = torch.randn(batch, frames, places, channels).half()
    weight = (torch.randn(width, channels, 3, 1) * 0.05).half().contiguous(memory_format=torch.channels_last)
    y, moments = fused.frame_conv(x, weight)
    expected, none = kernels.frame_conv(x.float(), weight.float())
    assert none is None
    assert_close(y, expected, HALF)
    tokens = y.float().view(batch, -1, width)
    scale, bias, shift = torch.randn(3, width)
    _, normed = fused.group_norm(tokens, scale, bias, 8, 1e-5, True, None, shift, None, moments, False)
    _, reference = kernels.group_norm(tokens, scale, bias, groups=8, eps=1e-5, silu=True, shift=shift)
    assert_close(normed, reference)


def test_what_a_kernel_cannot_take_is_left_to_torch(fused: ModuleType) -> None:
    assert not fused.attends(65, 64)
    assert not fused.attends(16, 8)
    weight = torch.randn(64, 48, 3, 1)
    assert not fused.convolves(torch.randn(1, 2, 3, 48, dtype=torch.float16), weight)
    assert not fused.convolves(torch.randn(1, 2, 3, 64), weight)
    assert not fused.doubles(torch.randn(96, 64, 3, 3, dtype=torch.float16))
    assert not fused.doubles(torch.randn(64, 64, 3, 3))
    assert not fused.multiplies(torch.randn(3, 64), torch.randn(256, 64))
    assert not fused.multiplies(torch.randn(3, 64, dtype=torch.float16), torch.randn(192, 64))


@pytest.mark.parametrize("shape", [(5, 64), (3, 96), (17, 640), (1, 5120)], ids=str)
def test_float8(fused: ModuleType, shape: tuple[int, int]) -> None:
    x = torch.randn(shape) * torch.logspace(-5, 3, shape[0])[:, None]
    x[0, :7] = 0
    for rows in (x, x.half(), torch.zeros(shape)):
        expected, expected_scale = kernels.float8(rows)
        rounded, scale = fused.float8(rows, torch.float8_e4m3fn, kernels.LEAST_SCALED)
        assert rounded.dtype is expected.dtype
        torch.testing.assert_close(scale, expected_scale, atol=0, rtol=1e-6)
        # The interpreter (Triton 3.7) loses the carry of what is rounded up to a power of two, and takes ties upwards.
        sure = torch.frexp(expected.float().abs())[0] != 0.5
        apart = (rounded.float() - expected.float()).abs()[sure]
        assert (apart <= expected.float().abs()[sure] / 8 + 2**-9).all()
        assert (apart > 0).float().mean() < 0.02
