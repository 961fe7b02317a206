"""The operations between the UNet's matrix products, each in one pass over memory.

Where Triton and a CUDA card are there, the kernels of `fused` run; elsewhere their plain PyTorch twins in this
module, which are also the kernels' reference. Tensors are token-major: channels last and contiguous. Knows nothing of
the UNet's structure.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType

import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from serving.engine import outlines

# Fastest first: on an H200 at head dimension 64 cuDNN took two thirds of FlashAttention 2's time.
ATTENTION = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@cache
def fused() -> ModuleType | None:
    """The Triton kernels; None where Triton is missing."""
    if importlib.util.find_spec("triton") is None:
        return None
    return importlib.import_module("serving.engine.fused")


def path(device: torch.device) -> str:
    """Which implementation runs on `device`: "triton" or "torch"."""
    return "triton" if device.type == "cuda" and fused() is not None else "torch"


def _fast(x: torch.Tensor) -> ModuleType | None:
    if x.is_meta and _outlined.get():
        return outlines
    return fused() if x.is_cuda else None


_outlined = ContextVar("_outlined", default=False)


@contextmanager
def outlined() -> Iterator[None]:
    """Have what is on the meta device take the memory of the fused kernels, and count no operations."""
    token = _outlined.set(True)
    try:
        yield
    finally:
        _outlined.reset(token)


def group_norm(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    groups: int,
    eps: float,
    silu: bool,
    residual: torch.Tensor | None = None,
    shift: torch.Tensor | None = None,
    beside: torch.Tensor | None = None,
    moments: torch.Tensor | None = None,
    keep_sum: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Group normalisation of `x + residual`, joined by `beside`, plus `shift`; then SiLU where asked for.

    Args:
        x: (S, T, C); statistics are over a sample's T tokens and the channels of a group.
        residual: as x.
        beside: (S', T, C'), further channels; S' divides S, and its samples are repeated.
        shift: (C + C',).
        moments: what `frame_conv` gave with x.
        keep_sum: whether what is normalised is wanted itself.

    Returns:
        What is normalised, (S, T, C + C'), or just x where it is not wanted; and the normalised.
    """
    if kernels := _fast(x):
        fast: tuple[torch.Tensor, torch.Tensor] = kernels.group_norm(
            x, weight, bias, groups, eps, silu, residual, shift, beside, moments, keep_sum
        )
        return fast
    total = x if residual is None else x + residual
    if beside is not None:
        total = torch.cat([total, beside.repeat(len(x) // len(beside), 1, 1)], dim=-1)
    total = total if shift is None else total + shift
    # As a picture T high and 1 wide, whose channels may stay last.
    picture = total.transpose(1, 2).unsqueeze(-1)
    normed = functional.group_norm(picture, groups, weight, bias, eps).squeeze(-1).transpose(1, 2)
    return total if keep_sum else x, (functional.silu(normed) if silu else normed).contiguous()


def layer_norm(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, eps: float, shift: torch.Tensor
) -> torch.Tensor:
    """Layer normalisation of `x + shift` over the last dimension; x is (..., C), shift (C,)."""
    if kernels := _fast(x):
        fast: torch.Tensor = kernels.layer_norm(x, weight, bias, eps, shift)
        return fast
    return functional.layer_norm(x + shift, (x.shape[-1],), weight, bias, eps)


def geglu(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """(n, D) from (n, C): one half of the product with `weight`, (2 D, C), and `bias` times the other's exact GELU."""
    if kernels := _fast(x):
        fast: torch.Tensor
        if kernels.multiplies(x, weight):
            fast = kernels.linear_geglu(x, weight, bias)
        else:
            fast = kernels.geglu(functional.linear(x, weight), bias)
        return fast
    return _gated(functional.linear(x, weight, bias))


def gate(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """(n, D) from a product (n, 2 D) and a bias (2 D,): the end of `geglu`."""
    if kernels := _fast(x):
        fast: torch.Tensor = kernels.geglu(x, bias)
        return fast
    return _gated(x + bias)


def _gated(x: torch.Tensor) -> torch.Tensor:
    value, gate = x.chunk(2, dim=-1)
    return value * functional.gelu(gate)


def frame_conv(x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """A convolution over three neighbouring frames at each place, zeros beyond the ends.

    Args:
        x: (B, F, P, C).
        weight: (C', C, 3, 1), channels last.

    Returns:
        (B, F, P, C'), and its moments for `group_norm` over each clip where they cost nothing.
    """
    kernels = _fast(x)
    if kernels is not None and kernels.convolves(x, weight):
        fast: tuple[torch.Tensor, torch.Tensor] = kernels.frame_conv(x, weight)
        return fast
    y = functional.conv2d(x.permute(0, 3, 1, 2), weight, padding=(1, 0)).permute(0, 2, 3, 1)
    return y.contiguous(), None


def folded(weight: torch.Tensor) -> torch.Tensor | None:
    """What `doubled_conv` takes instead of a weight (C', C, 3, 3); None where it can't be had."""
    kernels = _fast(weight)
    if kernels is None or not kernels.doubles(weight):
        return None
    fast: torch.Tensor = kernels.folded(weight)
    return fast


def doubled_conv(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(N, 2 H, 2 W, C') from (N, H, W, C): a convolution, by what `folded` gave, of x with each cell doubled."""
    kernels = _fast(x)
    assert kernels is not None
    y: torch.Tensor = kernels.doubled_conv(x, weight)
    return y


def frame_attention(qkv: torch.Tensor, heads: int) -> torch.Tensor:
    """Attention of each place over the frames: (B, F, P, C) from (B, F, P, 3 C) of queries, keys and values."""
    batch, frames, places, width = qkv.shape
    inner = width // 3
    kernels = _fast(qkv)
    if kernels is not None and kernels.attends(frames, inner // heads):
        fast: torch.Tensor = kernels.frame_attention(qkv, heads)
        return fast
    # (3, B, P, heads, F, D)
    parts = qkv.view(batch, frames, places, 3, heads, inner // heads).permute(3, 0, 2, 4, 1, 5)
    # One batch dimension of up to 65,535: beyond, the CUDA backends refuse or corrupt.
    query, key, value = parts.reshape(3, batch * places, heads, frames, inner // heads)
    attended = torch.cat(
        [
            functional.scaled_dot_product_attention(*chunk)
            for chunk in zip(*(part.split(_MOST_BATCHES // heads) for part in (query, key, value)), strict=True)
        ]
    )
    attended = attended.view(batch, places, heads, frames, inner // heads).permute(0, 3, 1, 2, 4)
    return attended.reshape(batch, frames, places, inner)


_MOST_BATCHES = 65_535


def float8(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows (n, K) in 8-bit floats (e4m3), and the scale of each, (n, 1) float32, which makes its largest value 448."""
    x = x.contiguous()
    if kernels := _fast(x):
        fast: tuple[torch.Tensor, torch.Tensor] = kernels.float8(x, E4M3, LEAST_SCALED)
        return fast
    scale = x.float().abs().amax(1, keepdim=True).clamp(min=LEAST_SCALED) / torch.finfo(E4M3).max
    return (x.float() / scale).to(E4M3), scale


E4M3 = torch.float8_e4m3fn
LEAST_SCALED = 1e-12  # a row of zeros has a scale too


def float8_product(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """(n, N) from x, (n, K), and a weight (N, K) as `float8` gives it."""
    rounded, own = float8(x)
    if not x.is_cuda:
        # The same numbers: their products are exact in float32.
        return functional.linear(rounded.float() * own, weight.float() * scale).to(x.dtype)
    out = torch._scaled_mm(
        rounded,
        weight.t(),
        scale_a=own,
        scale_b=scale.t(),
        out_dtype=_product_dtype(x.device, x.dtype),
        use_fast_accum=True,
    )
    return out.to(x.dtype)


@cache
def _product_dtype(device: torch.device, wanted: torch.dtype) -> torch.dtype:
    """What `torch._scaled_mm` gives with a scale for each row: on some cards, and by some releases, only bfloat16."""
    x, scale = torch.zeros(16, 16, device=device).to(E4M3), torch.ones(16, 1, device=device)
    try:
        torch._scaled_mm(x, x.t(), scale_a=scale, scale_b=scale.t(), out_dtype=wanted, use_fast_accum=True)
    except (RuntimeError, ValueError):
        return torch.bfloat16
    return wanted


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """(B, N, heads, D) from queries (B, N, heads, D) and keys and values (B, M, heads, D)."""
    parts = (query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    if query.is_meta and _outlined.get():
        return outlines.attention(query)
    if not query.is_cuda:
        return functional.scaled_dot_product_attention(*parts).transpose(1, 2)
    with sdpa_kernel(ATTENTION, set_priority=True):
        return functional.scaled_dot_product_attention(*parts).transpose(1, 2)
