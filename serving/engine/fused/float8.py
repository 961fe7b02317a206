"""Rows rounded to 8-bit floats."""

from __future__ import annotations

import torch
import triton
import triton.language as tl


@triton.jit
def _rounded(x, out, scale, count, channels, least, largest, rows: tl.constexpr, lanes: tl.constexpr):
    row = tl.program_id(0) * rows + tl.arange(0, rows)
    lane = tl.arange(0, lanes)
    inside = (row < count)[:, None] & (lane < channels)[None, :]
    place = row[:, None].to(tl.int64) * channels + lane[None, :]
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    unit = tl.maximum(tl.max(tl.abs(value), 1), least) / largest
    tl.store(scale + row, unit, mask=row < count)
    tl.store(out + place, (value / unit[:, None]).to(out.dtype.element_ty), mask=inside)


def float8(x: torch.Tensor, dtype: torch.dtype, least: float) -> tuple[torch.Tensor, torch.Tensor]:
    count, channels = x.shape
    out = torch.empty((count, channels), dtype=dtype, device=x.device)
    scale = torch.empty((count, 1), dtype=torch.float32, device=x.device)
    lanes = triton.next_power_of_2(channels)
    rows = 2
    _rounded[(triton.cdiv(count, rows),)](
        x, out, scale, count, channels, least, torch.finfo(dtype).max, rows, lanes, num_warps=max(1, lanes // 512)
    )  # fmt: skip
    return out, scale
