"""Whole tiles that a card loads by itself while it computes: what the kernels that multiply need."""

from __future__ import annotations

import torch

try:
    from triton.tools.tensor_descriptor import TensorDescriptor
except ImportError:  # Triton before 3.4
    TensorDescriptor = None

__all__ = ["DEPTH", "TensorDescriptor", "loads_tiles"]
DEPTH = 64
"""Channels of a tile."""


def loads_tiles(x: torch.Tensor) -> bool:
    """Whether x, of whole tiles of half precision, is on a card that can."""
    return (
        TensorDescriptor is not None
        and x.dtype in (torch.float16, torch.bfloat16)
        and x.shape[-1] % DEPTH == 0
        and torch.cuda.get_device_capability(x.device) >= (9, 0)
    )
