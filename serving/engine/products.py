"""The transformers' matrix products: exact, or of 8-bit floats where a request asks for them.

Knows nothing of layers, nor of who asks.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from serving.engine import kernels

LEAST = 640
"""Inputs and outputs that a product must have to be done in float8. By count, not measured: what a product saves on an
H200 (765 TFLOP/s, 4.3 TB/s) pays for the passes over memory that round its inputs and take its outputs from 550 to 730
of them on."""
_MULTIPLE = 16  # of which cuBLAS wants both


class Product:
    """By one weight, (N, K)."""

    def __init__(self, weight: torch.Tensor) -> None:
        self.weight = weight
        self._rounded: tuple[torch.Tensor, torch.Tensor] | None = None

    def use_float8(self, wanted: bool) -> None:
        sides = self.weight.shape
        able = min(sides) >= LEAST and all(side % _MULTIPLE == 0 for side in sides)
        self._rounded = kernels.float8(self.weight) if wanted and able else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(..., N) from (..., K)."""
        if self._rounded is None:
            return functional.linear(x, self.weight)
        return kernels.float8_product(x.flatten(0, -2), *self._rounded).view(*x.shape[:-1], -1)

    def gated(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(n, N / 2) from (n, K): `kernels.geglu`."""
        if self._rounded is None:
            return kernels.geglu(x, self.weight, bias)
        return kernels.gate(self(x), bias)

    def add_to(self, h: torch.Tensor, x: torch.Tensor) -> None:
        """Add (n, N) from x, (n, K), to h."""
        if self._rounded is None:
            h.addmm_(x, self.weight.t())
        else:
            h.add_(kernels.float8_product(x, *self._rounded))
