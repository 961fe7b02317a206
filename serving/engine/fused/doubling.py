"""The convolution of a picture that is doubled before, without the doubled picture.

Of four neighbouring results each sees 2 x 2 cells of the picture, some of them by two or four of the nine weights: with
these summed beforehand there are 4/9 of the products.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from serving.engine.fused.tiles import DEPTH, TensorDescriptor, loads_tiles

_SEEN = [[[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]
"""Of the first and the second result along a side: which of three weights belong to either cell that it sees."""


def doubles(weight: torch.Tensor) -> bool:
    """Whether `folded` and `doubled_conv` can, with a weight (C', C, 3, 3)."""
    return len(weight) % DEPTH == 0 and loads_tiles(weight.permute(0, 2, 3, 1))


def folded(weight: torch.Tensor) -> torch.Tensor:
    """The weights of each of four results, (2, 2, C', 2, 2, C)."""
    seen = torch.tensor(_SEEN, device=weight.device)
    return torch.einsum("aiy,bjx,ocyx->aboijc", seen, seen, weight.float()).to(weight.dtype).contiguous()


@triton.jit
def _doubled_conv(x, weight, out, channels, high, broad, across, down, right,
                  rows: tl.constexpr, columns: tl.constexpr, width: tl.constexpr,
                  depth: tl.constexpr, together: tl.constexpr):  # fmt: skip
    """One tile of rows x columns cells and `width` channels. Beyond the picture's sides are zeros."""
    # Programs that share weights and cells run near each other in time.
    program = tl.program_id(0)
    first = program // (together * across) * together
    size = tl.minimum(tl.num_programs(0) // across - first, together)
    tile = first + program % (together * across) % size
    channel = program % (together * across) // size * width
    image, row, column = tile // (high * broad), tile // broad % high * rows, tile % broad * columns
    product = tl.zeros((rows * columns, width), tl.float32)
    parts = channels // depth
    for part in range(4 * parts):
        cell = part // parts
        here = x.load([image, row + down - 1 + cell // 2, column + right - 1 + cell % 2, part % parts * depth])
        product = tl.dot(here.reshape(rows * columns, depth), weight.load([channel, part * depth]).T, product)
    out.store([image, row, column, channel], product.to(out.dtype).reshape(1, rows, columns, width))


_CELLS = 128


def doubled_conv(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(N, 2 H, 2 W, C') from (N, H, W, C) and what `folded` gave."""
    images, height, width, channels = x.shape
    outputs = weight.shape[2]
    columns = max(8, min(32, width & -width))
    rows = min(_CELLS // columns, triton.next_power_of_2(height))
    high, broad = triton.cdiv(height, rows), triton.cdiv(width, columns)
    most = 128 if outputs % 128 == 0 else 64
    across = outputs // most
    out = torch.empty((images, height, 2, width, 2, outputs), dtype=x.dtype, device=x.device)
    source = TensorDescriptor(x, x.shape, x.stride(), [1, rows, columns, DEPTH])
    for down in (0, 1):
        for right in (0, 1):
            taps, part = weight[down, right].view(outputs, 4 * channels), out[:, :, down, :, right]
            _doubled_conv[(images * high * broad * across,)](
                source,
                TensorDescriptor(taps, taps.shape, taps.stride(), [most, DEPTH]),
                TensorDescriptor(part, part.shape, part.stride(), [1, rows, columns, most]),
                channels, high, broad, across, down, right, rows, columns, most, DEPTH, 8, num_warps=4, num_stages=4,
            )  # fmt: skip
    return out.view(images, 2 * height, 2 * width, outputs)
