"""The gate of the feed-forwards: a product's one half times the exact GELU of its other half."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from serving.engine.fused.norms import columns_of
from serving.engine.fused.tiles import DEPTH, TensorDescriptor, loads_tiles


@triton.jit
def _gated(value, gate):
    """value * GELU(gate).

    GELU(x) = max(x, 0) - |x| P(-|x|), where P is the normal distribution's; half as many instructions as `tl.erf`. The
    logarithm of P(-x) to base 2 is a polynomial fitted on 0..6: P is right to 5 millionths of itself there, and no more
    than 1e-9 beyond.
    """
    size = tl.abs(gate)
    power = size * -1.83510326e-06 + 6.16039179e-05
    power = power * size - 0.000930564944
    power = power * size + 0.00850801449
    power = power * size - 0.0539601929
    power = power * size - 0.458464503
    power = power * size - 1.15125084
    power = power * size - 0.999995291
    return value * (tl.maximum(gate, 0.0) - size * tl.exp2(power))


@triton.jit
def _geglu(x, bias, out, count, width, rows: tl.constexpr, columns: tl.constexpr):
    row = (tl.program_id(0) * rows + tl.arange(0, rows)).to(tl.int64)[:, None]
    column = tl.program_id(1) * columns + tl.arange(0, columns)
    inside = row < count
    value = tl.load(x + row * 2 * width + column[None, :], mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(x + row * 2 * width + width + column[None, :], mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + column).to(tl.float32)[None, :]
    gate += tl.load(bias + width + column).to(tl.float32)[None, :]
    tl.store(out + row * width + column[None, :], _gated(value, gate).to(out.dtype.element_ty), mask=inside)


def geglu(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    count, width = x.shape[0], x.shape[1] // 2
    out = torch.empty((count, width), dtype=x.dtype, device=x.device)
    columns = columns_of(width, width, 256)
    rows = 2048 // columns
    _geglu[(triton.cdiv(count, rows), width // columns)](x, bias, out, count, width, rows, columns, num_warps=4)
    return out


@triton.jit
def _linear_geglu(x, weight, bias, out, channels, width, tiles, across,
                  rows: tl.constexpr, columns: tl.constexpr, depth: tl.constexpr, together: tl.constexpr):  # fmt: skip
    # Programs that share weights and tokens run near each other in time.
    program = tl.program_id(0)
    first = program // (together * across) * together
    size = tl.minimum(tiles - first, together)
    row = (first + program % (together * across) % size) * rows
    column = program % (together * across) // size * columns
    product = tl.zeros((rows, 2 * columns), tl.float32)
    for place in range(0, channels, depth):
        both = weight.load([0, column, place]).reshape(2 * columns, depth)
        product = tl.dot(x.load([row, place]), both.T, product)
    # Both halves of a product are in the same thread: this moves nothing.
    value, gate = product.reshape(rows, 2, columns).permute(0, 2, 1).split()
    lane = column + tl.arange(0, columns)
    value += tl.load(bias + lane).to(tl.float32)[None, :]
    gate += tl.load(bias + width + lane).to(tl.float32)[None, :]
    out.store([row, column], _gated(value, gate).to(out.dtype))


# Small enough for two on a multiprocessor: one's gates are computed while the other multiplies.
_ROWS, _COLUMNS = 128, 64


def multiplies(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether `linear_geglu` can."""
    return len(weight) % (2 * _COLUMNS) == 0 and loads_tiles(x)


def linear_geglu(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    count, channels = x.shape
    width = len(weight) // 2
    tiles, across = triton.cdiv(count, _ROWS), width // _COLUMNS
    out = torch.empty((count, width), dtype=x.dtype, device=x.device)
    halves = weight.view(2, width, channels)
    _linear_geglu[(tiles * across,)](
        TensorDescriptor(x, x.shape, x.stride(), [_ROWS, DEPTH]),
        TensorDescriptor(halves, halves.shape, halves.stride(), [2, _COLUMNS, DEPTH]),
        bias,
        TensorDescriptor(out, out.shape, out.stride(), [_ROWS, _COLUMNS]),
        channels, width, tiles, across, _ROWS, _COLUMNS, DEPTH, 8, num_warps=4, num_stages=2,
    )  # fmt: skip
    return out
