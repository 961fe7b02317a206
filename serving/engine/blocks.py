"""The convolutional layers of I2VGen-XL's UNet over the published modules' own weights, token-major: (B, F, H, W, C).

Channels last and contiguous, so that convolutions, matrix products and norms follow each other without a permutation.
A layer's last addition is left to the kernel that reads the result first: that is what `Sum` is for. Weights are laid
out anew in place: the modules that they come from stay usable and nothing is held twice.

Shapes: B halves, F frames, H x W latent cells, C channels. Knows nothing of how layers make a UNet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from serving.engine import kernels


@dataclass
class Sum:
    """`value + residual`, joined by `beside`, plus `shift`: computed at the first reading."""

    value: torch.Tensor
    """(B, F, H, W, C)."""
    residual: torch.Tensor | None = None
    shift: torch.Tensor | None = None
    """(C + C',)."""
    beside: torch.Tensor | None = None
    """(B or 1, F, H, W, C'): further channels."""
    moments: torch.Tensor | None = None
    """What `kernels.frame_conv` knows of the value."""

    def total(self) -> torch.Tensor:
        assert self.beside is None
        if self.residual is not None:
            self.became(self.value + self.residual if self.shift is None else self.value + self.shift + self.residual)
        elif self.shift is not None:
            self.became(self.value + self.shift)
        return self.value

    def join(self, skip: Sum) -> None:
        """Put another's channels beside its own."""
        if skip.residual is not None:
            skip.total()
        if self.shift is not None or skip.shift is not None:
            self.shift = torch.cat(
                [x.value.new_zeros(x.value.shape[-1]) if x.shift is None else x.shift for x in (self, skip)]
            )
        self.beside = skip.value

    def forget(self) -> None:
        """Give up its memory, whoever still refers to it: nobody reads it again."""
        self.became(self.value.new_empty(0))

    def became(self, total: torch.Tensor) -> None:
        """Its value is known."""
        self.value, self.residual, self.shift, self.beside, self.moments = total, None, None, None, None


def pieces(x: Sum, frames: int) -> Iterator[tuple[tuple[slice, slice], Sum]]:
    """x by `frames` of one half at a time, for layers that mix no frames; and where each lies in it."""
    assert x.moments is None
    for half in range(len(x.value)):
        for begin in range(0, x.value.shape[1], frames):
            at = slice(half, half + 1), slice(begin, begin + frames)
            residual = None if x.residual is None else x.residual[at]
            beside = None if x.beside is None else x.beside[at if len(x.beside) > 1 else (slice(None), at[1])]
            yield at, Sum(x.value[at], residual, x.shift, beside)


def added(*shifts: torch.Tensor | None) -> torch.Tensor | None:
    """The sum of those that are there."""
    there = [shift for shift in shifts if shift is not None]
    return sum(there[1:], there[0]) if there else None


class GroupNorm:
    """Statistics over each frame, or over the whole clip."""

    def __init__(self, module: Any, *, clip: bool, silu: bool) -> None:
        self._weight, self._bias = module.weight, module.bias
        self._groups, self._eps = module.num_groups, module.eps
        self._clip, self._silu = clip, silu

    def __call__(self, x: Sum, *, whole: bool = False) -> torch.Tensor:
        """The normalised x.

        Args:
            whole: add a shift to x's value at the same time; a residual is added and channels are joined in any case.
        """
        shape = x.value.shape
        tokens = (shape[0] if self._clip else shape[0] * shape[1], -1, shape[-1])
        keep = whole or x.residual is not None or x.beside is not None
        total, normed = kernels.group_norm(
            x.value.view(tokens),
            self._weight,
            self._bias,
            groups=self._groups,
            eps=self._eps,
            silu=self._silu,
            residual=None if x.residual is None else x.residual.view(tokens),
            shift=x.shift,
            beside=None if x.beside is None else x.beside.flatten(0, 1).flatten(1, 2),
            moments=x.moments,
            keep_sum=keep,
        )
        cells = shape[:-1]
        if keep:
            x.became(total.view(*cells, -1))
        return normed.view(*cells, -1)


class Conv:
    """A 2-D convolution of every frame; its bias is left to whoever reads the result."""

    def __init__(self, module: Any) -> None:
        module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
        self.weight, self.bias = module.weight, module.bias
        self._stride, self._padding = module.stride, module.padding

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(0, 1).permute(0, 3, 1, 2)
        y = functional.conv2d(flat, self.weight, stride=self._stride, padding=self._padding).permute(0, 2, 3, 1)
        return y.contiguous().view(*x.shape[:2], *y.shape[1:])


class UpsamplingConv(Conv):
    """The same of what is upsampled before."""

    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self._folded = kernels.folded(self.weight)

    def upsampled(self, x: torch.Tensor, height: int, width: int, frames: int | None = None) -> torch.Tensor:
        """(B, F, height, width, C'); by so many frames of one half at a time where x is upsampled whole."""
        if self._folded is not None and _doubles(x, height, width):
            return kernels.doubled_conv(x.flatten(0, 1), self._folded).view(*x.shape[:2], height, width, -1)
        if frames is None:
            return self(upsample(x, height, width))
        out = x.new_empty((*x.shape[:2], height, width, len(self.weight)))
        for at, part in pieces(Sum(x), frames):
            out[at] = self(upsample(part.value, height, width))
        return out


class FrameConv:
    """A convolution over three frames at each place: the module's Conv3d as a Conv2d on (F, H W)."""

    def __init__(self, module: Any) -> None:
        self._weight = module.weight.data.squeeze(-1).contiguous(memory_format=torch.channels_last)
        module.weight.data = self._weight.unsqueeze(-1)
        self._bias = module.bias

    def __call__(self, x: torch.Tensor) -> Sum:
        y, moments = kernels.frame_conv(x.flatten(2, 3), self._weight)
        return Sum(y.view(*x.shape[:-1], -1), shift=self._bias, moments=moments)


class Resnet:
    """Two convolutions, in the UNet with the time embedding between them, beside a shortcut."""

    def __init__(self, module: Any, time_bias: slice | None = None) -> None:
        self._norms = [GroupNorm(norm, clip=False, silu=True) for norm in (module.norm1, module.norm2)]
        self._convs = [Conv(conv) for conv in (module.conv1, module.conv2)]
        self._time_bias = time_bias
        shortcut = module.conv_shortcut
        self._shortcut = None if shortcut is None else shortcut.weight.flatten(1).t()
        self._shift = added(self._convs[1].bias, None if shortcut is None else shortcut.bias)

    def __call__(self, x: Sum, times: torch.Tensor | None = None) -> Sum:
        """
        Args:
            times: every resnet's time embedding, (all channels,).
        """
        first, second = self._convs
        h = first(self._norms[0](x, whole=self._shortcut is not None))
        time = None if times is None or self._time_bias is None else times[self._time_bias]
        h = second(self._norms[1](Sum(h, shift=added(first.bias, time))))
        if self._shortcut is None:
            return Sum(h, x.value, added(self._shift, x.shift))
        h.flatten(0, 3).addmm_(x.value.flatten(0, 3), self._shortcut)
        return Sum(h, shift=self._shift)

    def by_pieces(self, x: Sum, times: torch.Tensor, frames: int) -> Sum:
        """The same by so many frames of one half at a time: what is as wide as all input is never there whole."""
        out = x.value.new_empty((*x.value.shape[:-1], len(self._convs[1].weight)))
        keep = self._shortcut is None and x.residual is not None
        total, shift = torch.empty_like(x.value) if keep else x.value, None
        for at, part in pieces(x, frames):
            result = self(part, times)
            out[at], shift = result.value, result.shift
            if keep:
                total[at] = part.value
        if keep:
            x.became(total)
        return Sum(out, None if self._shortcut is not None else x.value, shift)


class TemporalConv:
    """Four convolutions over neighbouring frames, added to what came in."""

    def __init__(self, module: Any) -> None:
        self._steps = [
            (GroupNorm(step[0], clip=True, silu=True), FrameConv(step[-1]))
            for step in (module.conv1, module.conv2, module.conv3, module.conv4)
        ]

    def __call__(self, x: Sum) -> Sum:
        h = x
        for norm, conv in self._steps:
            h = conv(norm(h))
        return Sum(h.value, x.value, added(h.shift, x.shift))


def upsample(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(B, F, height, width, C): each cell the nearest of x, as `torch.nn.functional.interpolate` picks it."""
    if _doubles(x, height, width):
        doubled = x[:, :, :, None, :, None].expand(-1, -1, -1, 2, -1, 2, -1)
        return doubled.reshape(*x.shape[:2], height, width, x.shape[-1])
    rows, columns = (
        torch.arange(new, device=x.device) * old // new for new, old in ((height, x.shape[2]), (width, x.shape[3]))
    )
    return x[:, :, rows][:, :, :, columns].contiguous()


def _doubles(x: torch.Tensor, height: int, width: int) -> bool:
    return (height, width) == (2 * x.shape[2], 2 * x.shape[3])
