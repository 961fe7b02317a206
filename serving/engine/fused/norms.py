"""Norms over channels."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

_PROGRAMS = 1024  # enough to fill the largest card several times over
_COLUMNS = 64  # channels that a program of `_moments` takes: a line of memory in half precision
_WIDE = 256  # and of the others


@triton.jit
def _moments(x, residual, shift, beside, total, partial, tokens, channels, own, samples_beside, chunks,
             rows: tl.constexpr, columns: tl.constexpr,
             has_residual: tl.constexpr, has_shift: tl.constexpr, has_beside: tl.constexpr,
             keep: tl.constexpr):  # fmt: skip
    """Sum and sum of squares of each channel over one chunk of a sample's tokens; the sum of the inputs, if kept."""
    sample, chunk = tl.program_id(0), tl.program_id(1)
    column = tl.program_id(2) * columns + tl.arange(0, columns)
    per_chunk = tl.cdiv(tokens, chunks)
    first = chunk * per_chunk
    last = tl.minimum(first + per_chunk, tokens)
    ones = tl.zeros((rows, columns), tl.float32)
    twos = tl.zeros((rows, columns), tl.float32)
    is_own = tl.program_id(2) * columns < own
    if has_shift:
        moved = tl.load(shift + column).to(tl.float32)[None, :]
    for start in range(first, last, rows):
        row = start + tl.arange(0, rows)
        inside = (row < last)[:, None]
        token = sample.to(tl.int64) * tokens + row[:, None]
        if has_beside and not is_own:
            other = (sample % samples_beside).to(tl.int64) * tokens + row[:, None]
            place = other * (channels - own) + (column - own)[None, :]
            value = tl.load(beside + place, mask=inside, other=0.0).to(tl.float32)
        else:
            place = token * own + column[None, :]
            value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
            if has_residual:
                value += tl.load(residual + place, mask=inside, other=0.0).to(tl.float32)
        if has_shift:
            value += tl.where(inside, moved, 0.0)
        if keep:
            rounded = value.to(total.dtype.element_ty)
            tl.store(total + token * channels + column[None, :], rounded, mask=inside)
            # The statistics are of what the next kernel reads.
            value = rounded.to(tl.float32)
        ones += value
        twos += value * value
    out = partial + ((sample * chunks + chunk) * 2).to(tl.int64) * channels + column
    tl.store(out, tl.sum(ones, 0))
    tl.store(out + channels, tl.sum(twos, 0))


@triton.jit
def _factors(partial, weight, bias, shift, factor, channels, chunks, tokens, eps,
             width, lanes: tl.constexpr, deep: tl.constexpr, has_shift: tl.constexpr):  # fmt: skip
    """Each channel's factor and offset, so that the normalised value is x * factor + offset."""
    sample, group = tl.program_id(0), tl.program_id(1)
    lane = tl.arange(0, lanes)
    column = group * width + lane
    used = lane < width
    one = tl.zeros((deep, lanes), tl.float32)
    two = tl.zeros((deep, lanes), tl.float32)
    for start in range(0, chunks, deep):
        chunk = start + tl.arange(0, deep)
        inside = (chunk < chunks)[:, None] & used[None, :]
        place = partial + ((sample * chunks + chunk[:, None]) * 2).to(tl.int64) * channels + column[None, :]
        one += tl.load(place, mask=inside, other=0.0)
        two += tl.load(place + channels, mask=inside, other=0.0)
    ones, twos = tl.sum(one, 0), tl.sum(two, 0)
    if has_shift:
        moved = tl.load(shift + column, mask=used, other=0.0).to(tl.float32)
        twos += moved * (2.0 * ones + moved * tokens)
        ones += moved * tokens
    count = tokens * width
    mean = tl.sum(ones, 0) / count
    variance = tl.maximum(tl.sum(twos, 0) / count - mean * mean, 0.0)
    scale = tl.load(weight + column, mask=used, other=0.0).to(tl.float32) / tl.sqrt(variance + eps)
    offset = tl.load(bias + column, mask=used, other=0.0).to(tl.float32) - mean * scale
    if has_shift:
        offset += moved * scale
    out = factor + sample * 2 * channels + column
    tl.store(out, scale, mask=used)
    tl.store(out + channels, offset, mask=used)


@triton.jit
def _scaled(x, factor, out, tokens, channels,
            rows: tl.constexpr, columns: tl.constexpr, silu: tl.constexpr):  # fmt: skip
    sample = tl.program_id(1)
    row = tl.program_id(0) * rows + tl.arange(0, rows)
    column = tl.program_id(2) * columns + tl.arange(0, columns)
    inside = (row < tokens)[:, None]
    place = (sample.to(tl.int64) * tokens + row[:, None]) * channels + column[None, :]
    scale = tl.load(factor + sample * 2 * channels + column)
    offset = tl.load(factor + (sample * 2 + 1) * channels + column)
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32) * scale[None, :] + offset[None, :]
    if silu:
        value = value / (1.0 + tl.exp(-value))
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)


def group_norm(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    groups: int,
    eps: float,
    silu: bool,
    residual: torch.Tensor | None,
    shift: torch.Tensor | None,
    beside: torch.Tensor | None,
    moments: torch.Tensor | None,
    keep_sum: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    samples, tokens, own = x.shape
    channels = own if beside is None else own + beside.shape[-1]
    columns = columns_of(own, channels, _COLUMNS)
    keep = keep_sum and not (residual is None and shift is None and beside is None)
    source = x
    if moments is not None:
        partial = moments.view(samples, -1, 2, channels)
        chunks = partial.shape[1]
    else:
        rows = 2048 // columns
        chunks = max(1, min(triton.cdiv(tokens, rows), triton.cdiv(_PROGRAMS * columns, samples * channels)))
        partial = torch.empty((samples, chunks, 2, channels), dtype=torch.float32, device=x.device)
        source = torch.empty((samples, tokens, channels), dtype=x.dtype, device=x.device) if keep else x
        _moments[(samples, chunks, channels // columns)](
            x, x if residual is None else residual, x if shift is None else shift, x if beside is None else beside,
            source, partial, tokens, channels, own, 1 if beside is None else len(beside), chunks,
            rows, columns, residual is not None, keep and shift is not None, beside is not None, keep, num_warps=4,
        )  # fmt: skip
    factor = torch.empty((samples, 2, channels), dtype=torch.float32, device=x.device)
    width = channels // groups
    lanes = triton.next_power_of_2(width)
    _factors[(samples, groups)](
        partial, weight, bias, x if shift is None else shift, factor, channels, chunks, tokens, eps,
        width, lanes, max(1, min(triton.next_power_of_2(chunks), 2048 // lanes)), shift is not None and not keep,
        num_warps=4,
    )  # fmt: skip
    out = torch.empty_like(source)
    columns = columns_of(channels, channels, _WIDE)
    rows = 2048 // columns
    _scaled[(triton.cdiv(tokens, rows), samples, channels // columns)](
        source, factor, out, tokens, channels, rows, columns, silu, num_warps=4
    )
    return source, out


def columns_of(own: int, channels: int, most: int) -> int:
    """The largest power of two, up to `most`, that divides both numbers of channels."""
    return min(own & -own, channels & -channels, most)


@triton.jit
def _layer_norm(x, shift, weight, bias, out, count, channels, eps, rows: tl.constexpr, lanes: tl.constexpr):
    row = tl.program_id(0) * rows + tl.arange(0, rows)
    lane = tl.arange(0, lanes)
    used = lane < channels
    inside = (row < count)[:, None] & used[None, :]
    place = row[:, None].to(tl.int64) * channels + lane[None, :]
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(shift + lane, mask=used, other=0.0).to(tl.float32)[None, :]
    mean = tl.sum(value, 1) / channels
    centred = tl.where(used[None, :], value - mean[:, None], 0.0)
    deviation = tl.sqrt(tl.sum(centred * centred, 1) / channels + eps)
    scale = tl.load(weight + lane, mask=used, other=0.0).to(tl.float32)
    offset = tl.load(bias + lane, mask=used, other=0.0).to(tl.float32)
    value = centred / deviation[:, None] * scale[None, :] + offset[None, :]
    tl.store(out + place, value.to(out.dtype.element_ty), mask=inside)


def layer_norm(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float, shift: torch.Tensor
) -> torch.Tensor:
    channels = x.shape[-1]
    count = x.numel() // channels
    out = torch.empty_like(x)
    lanes = triton.next_power_of_2(channels)
    rows = 2
    _layer_norm[(triton.cdiv(count, rows),)](
        x, shift, weight, bias, out, count, channels, eps, rows, lanes, num_warps=max(1, lanes // 512)
    )  # fmt: skip
    return out
