"""The transformers of I2VGen-XL's UNet over the published modules' own weights, token-major as `blocks`.

Shapes: B halves, F frames, H x W latent cells, C channels. Knows nothing of how layers make a UNet.
"""

from __future__ import annotations

from typing import Any

import torch

from serving.engine import kernels
from serving.engine.blocks import GroupNorm, Sum, added, pieces
from serving.engine.products import Product


class Attention:
    """The projections of one attention: queries, keys and values in one product where all come from one source."""

    def __init__(self, module: Any, *, cross: bool) -> None:
        self.heads = module.heads
        sources = (module.to_k, module.to_v) if cross else (module.to_q, module.to_k, module.to_v)
        self.project = Product(_joined([source.weight for source in sources]))
        """(..., 3 C) of queries, keys and values; (..., 2 C) of keys and values in cross-attention."""
        self.query = Product(module.to_q.weight)
        self.out, self.out_bias = Product(module.to_out[0].weight), module.to_out[0].bias
        # Keys and values of the context are few, and one product a request.
        self.products = (self.query if cross else self.project, self.out)


class FeedForward:
    """Norm, linear, GEGLU, linear, by chunks of tokens: their inner width is eight times the model's."""

    def __init__(self, module: Any, norm: LayerNorm) -> None:
        self._norm = norm
        self._into, self._bias = Product(module.net[0].proj.weight), module.net[0].proj.bias
        self._out = Product(module.net[2].weight)
        self.products = (self._into, self._out)

    def add_to(self, h: torch.Tensor, few: bool = False) -> None:
        """Add all but the last bias to h, (tokens, C)."""
        tokens = CPU_TOKENS if h.device.type == "cpu" else FEW_TOKENS if few else TOKENS
        for begin in range(0, len(h), tokens):
            part = h[begin : begin + tokens]
            inner = self._into.gated(self._norm(part), self._bias)
            self._out.add_to(part, inner)
            del inner  # else it would last until the next one is there


TOKENS = 65_536
"""Tokens that a feed-forward takes at once; fewer are slower, by 1% at 16,384."""
FEW_TOKENS = 8192
"""The same where memory is short, and for attention across the frames."""
CPU_TOKENS = 8192
"""The same on a CPU, whose cache holds so many: with all at once a step of 32 frames took 1.6 times as long."""


class LayerNorm:
    def __init__(self, module: Any, shift: torch.Tensor) -> None:
        self._weight, self._bias, self._eps, self._shift = module.weight, module.bias, module.eps, shift

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Of x and what it lacks."""
        return kernels.layer_norm(x, self._weight, self._bias, eps=self._eps, shift=self._shift)


class Transformer:
    """What the spatial and the temporal transformer share: a norm, a projection, one block, a projection, a residual.

    No bias after a product is added where it stands: h lacks them, the norms add them up, and the last projection
    takes them on. So each product adds its result to h in place.
    """

    def __init__(self, module: Any, *, clip: bool) -> None:
        self._norm = GroupNorm(module.norm, clip=clip, silu=False)
        # A convolution of one pixel is a product too.
        self._into, self._out = Product(module.proj_in.weight.flatten(1)), Product(module.proj_out.weight.flatten(1))
        (block,) = module.transformer_blocks
        self._first = Attention(block.attn1, cross=False)
        self._second = Attention(block.attn2, cross=not clip)
        lacks = module.proj_in.bias.float()
        self._norms = []
        for norm, bias in (
            (block.norm1, self._first.out_bias),
            (block.norm2, self._second.out_bias),
            (block.norm3, block.ff.net[2].bias),
        ):
            self._norms.append(LayerNorm(norm, lacks.to(bias.dtype)))
            lacks = lacks + bias.float()
        self._feed_forward = FeedForward(block.ff, self._norms[2])
        out = self._out.weight
        self._shift = (module.proj_out.bias.float() + lacks @ out.t().float()).to(out.dtype)

    @property
    def products(self) -> tuple[Product, ...]:
        """Those of every step."""
        own = (self._into, self._out)
        return (*own, *self._first.products, *self._second.products, *self._feed_forward.products)

    def _finish(self, h: torch.Tensor, total: torch.Tensor, shift: torch.Tensor | None, few: bool = False) -> Sum:
        """From the second attention's result, (tokens, C), to the end; total is what came in, less its shift."""
        self._feed_forward.add_to(h, few)
        self._out.add_to(total.flatten(0, 3), h)
        return Sum(total, shift=added(self._shift, shift))


class SpatialTransformer(Transformer):
    """Within each frame: self-attention, attention to the context, feed-forward."""

    def __init__(self, module: Any) -> None:
        super().__init__(module, clip=False)

    def keys_and_values(self, context: torch.Tensor) -> torch.Tensor:
        """(B, n, 2, heads, C / heads) from the context (B, n, width): the same for every frame and step."""
        return self._second.project(context).view(*context.shape[:2], 2, self._second.heads, -1)

    def __call__(self, x: Sum, context: torch.Tensor) -> Sum:
        """
        Args:
            x: of no more use afterwards.
            context: `keys_and_values` of this layer; where it has more halves than x, x's halves part here.
        """
        batch, frames, height, width, _ = x.value.shape
        heads, halves = self._first.heads, context.shape[0]
        h = self._into(self._norm(x)).flatten(0, 3)
        parts = self._first.project(self._norms[0](h)).view(batch * frames, height * width, 3, heads, -1).unbind(2)
        self._first.out.add_to(h, kernels.attention(*parts).reshape(h.shape))
        del parts  # as large as three of h
        query = self._second.query(self._norms[1](h)).view(batch, frames * height * width, heads, -1)
        total = x.value
        if halves > batch:
            query = query.expand(halves, -1, -1, -1)
            h, total = h.repeat(halves, 1), total.repeat(halves, 1, 1, 1, 1)
        self._second.out.add_to(h, kernels.attention(query, *context.unbind(2)).reshape(h.shape))
        del query
        return self._finish(h, total, x.shift)

    def by_pieces(self, x: Sum, context: torch.Tensor, frames: int) -> Sum:
        """The same by so many frames of one half at a time."""
        parts = context.shape[0] > len(x.value)
        out = x.value.new_empty((context.shape[0], *x.value.shape[1:]))
        for (half, few), part in pieces(x, frames):
            result = self(part, context if parts else context[half])
            (out[:, few] if parts else out[half, few]).copy_(result.value)
            shift = result.shift
        x.became(out)
        return Sum(out, shift=shift)


class TemporalTransformer(Transformer):
    """Across the frames at each place: self-attention twice, feed-forward."""

    def __init__(self, module: Any) -> None:
        super().__init__(module, clip=True)

    def __call__(self, x: Sum, few: bool = False) -> Sum:
        """
        Args:
            x: of no more use afterwards.
            few: take few tokens at once.
        """
        batch, frames = x.value.shape[:2]
        h = self._into(self._norm(x)).flatten(0, 3)
        at_places = h.view(batch, frames, -1, h.shape[-1])
        at_once = max(1, FEW_TOKENS // (batch * frames))
        for attention, norm in ((self._first, self._norms[0]), (self._second, self._norms[1])):
            if not few:
                self._attend(attention, norm, h, batch, frames)
                continue
            for begin in range(0, at_places.shape[2], at_once):
                places = at_places[:, :, begin : begin + at_once]
                part = places.reshape(-1, h.shape[-1]).contiguous()
                self._attend(attention, norm, part, batch, frames)
                if part.data_ptr() != places.data_ptr():  # a copy
                    places.copy_(part.view(places.shape))
        return self._finish(h, x.value, x.shift, few)

    def _attend(self, attention: Attention, norm: LayerNorm, h: torch.Tensor, batch: int, frames: int) -> None:
        """Add to h, (batch * frames * places, C)."""
        qkv = attention.project(norm(h)).view(batch, frames, -1, 3 * h.shape[-1])
        attention.out.add_to(h, kernels.frame_attention(qkv, attention.heads).view(h.shape))


def _joined(weights: list[torch.Tensor]) -> torch.Tensor:
    """One tensor of all rows, of which the given ones become parts."""
    joined = torch.cat([weight.data for weight in weights])
    for weight, part in zip(weights, torch.split(joined, [len(weight) for weight in weights]), strict=True):
        weight.data = part
    return joined
