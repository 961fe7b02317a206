"""What mixes frames: attention and convolution over the frames at each place."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from serving.engine.fused.tiles import DEPTH, TensorDescriptor, loads_tiles


@triton.jit
def _frame_attention(qkv, out, places, frames, heads, scale,
                     padded: tl.constexpr, rows: tl.constexpr, size: tl.constexpr):  # fmt: skip
    """`rows // padded` places at once, as one block-diagonal product: wasted arithmetic, but no wasted memory."""
    head, batch = tl.program_id(1), tl.program_id(2)
    row = tl.arange(0, rows)
    frame = row % padded
    place = tl.program_id(0) * (rows // padded) + row // padded
    inside = (frame < frames) & (place < places)
    lane = tl.arange(0, size)
    token = (batch * frames + frame).to(tl.int64) * places + place
    inner = heads * size
    source = qkv + token[:, None] * (3 * inner) + head * size + lane[None, :]
    query = tl.load(source, mask=inside[:, None], other=0.0)
    key = tl.load(source + inner, mask=inside[:, None], other=0.0)
    value = tl.load(source + 2 * inner, mask=inside[:, None], other=0.0)
    score = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
    together = (row[:, None] // padded == row[None, :] // padded) & (frame < frames)[None, :]
    score = tl.where(together, score, float("-inf"))
    score = tl.exp(score - tl.max(score, 1)[:, None])
    share = score / tl.sum(score, 1)[:, None]
    attended = tl.dot(share.to(value.dtype), value, input_precision="ieee")
    target = out + token[:, None] * inner + head * size + lane[None, :]
    tl.store(target, attended.to(out.dtype.element_ty), mask=inside[:, None])


_ROWS = 64


def attends(frames: int, size: int) -> bool:
    """Whether `frame_attention` can take so many frames with heads of this size."""
    return frames <= _ROWS and size in (16, 32, 64, 128)


def frame_attention(qkv: torch.Tensor, heads: int) -> torch.Tensor:
    batch, frames, places, width = qkv.shape
    size = width // 3 // heads
    out = torch.empty((batch, frames, places, width // 3), dtype=qkv.dtype, device=qkv.device)
    padded = triton.next_power_of_2(frames)
    grid = (triton.cdiv(places, _ROWS // padded), heads, batch)
    _frame_attention[grid](qkv, out, places, frames, heads, size**-0.5, padded, _ROWS, size, num_warps=4)
    return out


@triton.jit
def _frame_conv(x, weight, more_weight, out, more_out, moments, frames, channels, width, tiles, across,
                rows: tl.constexpr, columns: tl.constexpr, more: tl.constexpr,
                depth: tl.constexpr, together: tl.constexpr):  # fmt: skip
    """One tile of places and channels: a product over three frames' channels. Beyond the clip's ends are zeros.

    A tile is as wide as two powers of two where `more` is not zero.
    """
    # Programs that share weights and places run near each other in time.
    program = tl.program_id(0)
    first = program // (together * across) * together
    size = tl.minimum(tl.num_programs(0) // across - first, together)
    tile = first + program % (together * across) % size
    column = program % (together * across) // size * (columns + more)
    clip, frame = tile // tiles // frames, tile // tiles % frames
    place = tile % tiles * rows
    product = tl.zeros((rows, columns), tl.float32)
    if more:
        further = tl.zeros((rows, more), tl.float32)
    parts = channels // depth
    for part in range(3 * parts):
        here = x.load([clip, frame + part // parts - 1, place, part % parts * depth]).reshape(rows, depth)
        product = tl.dot(here, weight.load([column, part * depth]).T, product)
        if more:
            further = tl.dot(here, more_weight.load([column + columns, part * depth]).T, further)
    moments += tile.to(tl.int64) * 2 * width
    _leave(product, out, moments, clip, frame, place, column, width, rows, columns)
    if more:
        _leave(further, more_out, moments, clip, frame, place, column + columns, width, rows, more)


@triton.jit
def _leave(product, out, moments, clip, frame, place, column, width, rows: tl.constexpr, columns: tl.constexpr):
    """Store a tile, and its channels' sums and sums of squares."""
    rounded = product.to(out.dtype)
    out.store([clip, frame, place, column], rounded.reshape(1, 1, rows, columns))
    value = rounded.to(tl.float32)
    target = moments + column + tl.arange(0, columns)
    tl.store(target, tl.sum(value, 0))
    tl.store(target + width, tl.sum(value * value, 0))


def convolves(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether `frame_conv` can."""
    return len(weight) % DEPTH == 0 and loads_tiles(x)


def frame_conv(x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    batch, frames, places, channels = x.shape
    width = len(weight)
    # The fastest of two dozen tilings tried on an H200 at each of the published model's four widths.
    rows = 128 if places >= 128 else 64
    columns, more = (128, 0) if width % 128 == 0 else (128, 32) if width % 160 == 0 else (64, 0)
    tiles, across = triton.cdiv(places, rows), width // (columns + more)
    out = torch.empty((batch, frames, places, width), dtype=x.dtype, device=x.device)
    moments = torch.empty((batch, frames * tiles, 2, width), dtype=torch.float32, device=x.device)
    taps = weight.permute(0, 2, 3, 1).reshape(width, 3 * channels)  # no copy: that is how it lies in memory
    boxes = (columns, more or columns)
    _frame_conv[(batch * frames * tiles * across,)](
        TensorDescriptor(x, x.shape, x.stride(), [1, 1, rows, DEPTH]),
        *(TensorDescriptor(taps, taps.shape, taps.stride(), [box, DEPTH]) for box in boxes),
        *(TensorDescriptor(out, out.shape, out.stride(), [1, 1, rows, box]) for box in boxes),
        moments, frames, channels, width, tiles, across, rows, columns, more, DEPTH, 8,
        num_warps=4, num_stages=3 if more else 4,
    )  # fmt: skip
    return out, moments
