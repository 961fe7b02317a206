"""What the kernels of `fused` allocate, and nothing of what they compute: memory counted on tensors without storage.

By the kernels' own names, for torch's meta device. Knows nothing of Triton.
"""

from __future__ import annotations

import math

import torch

_PARTIALS = 1024
"""As many parts as a group norm's statistics are summed in, over all samples: more than it takes."""


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
    source = x
    if moments is None:
        _partial = x.new_empty((max(samples, _PARTIALS), 2, channels), dtype=torch.float32)
        if keep_sum and not (residual is None and shift is None and beside is None):
            source = x.new_empty((samples, tokens, channels))
    _factor = x.new_empty((samples, 2, channels), dtype=torch.float32)
    return source, torch.empty_like(source) if source.shape[-1] == channels else x.new_empty(
        (samples, tokens, channels)
    )


def layer_norm(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float, shift: torch.Tensor
) -> torch.Tensor:
    return torch.empty_like(x)


def multiplies(x: torch.Tensor, weight: torch.Tensor) -> bool:
    return len(weight) % 128 == 0 and x.shape[-1] % 64 == 0


def linear_geglu(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return x.new_empty((len(x), len(weight) // 2))


def geglu(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return x.new_empty((len(x), x.shape[1] // 2))


def convolves(x: torch.Tensor, weight: torch.Tensor) -> bool:
    return len(weight) % 64 == 0 and x.shape[-1] % 64 == 0


def frame_conv(x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    batch, frames, places, _ = x.shape
    tiles = math.ceil(places / (128 if places >= 128 else 64))
    out = x.new_empty((batch, frames, places, len(weight)))
    return out, x.new_empty((batch, frames * tiles, 2, len(weight)), dtype=torch.float32)


def doubles(weight: torch.Tensor) -> bool:
    """False: cards before Hopper can't, and hold the doubled picture."""
    return False


def attends(frames: int, size: int) -> bool:
    return True


def frame_attention(qkv: torch.Tensor, heads: int) -> torch.Tensor:
    batch, frames, places, width = qkv.shape
    return qkv.new_empty((batch, frames, places, width // 3))


def attention(query: torch.Tensor) -> torch.Tensor:
    """(B, N, heads, D), and the logarithms of the sums that every backend keeps."""
    _sums = query.new_empty(query.shape[:3], dtype=torch.float32)
    return torch.empty(query.shape, dtype=query.dtype, device=query.device)


def float8(x: torch.Tensor, dtype: torch.dtype, least: float) -> tuple[torch.Tensor, torch.Tensor]:
    return x.new_empty(x.shape, dtype=dtype), x.new_empty((len(x), 1), dtype=torch.float32)
