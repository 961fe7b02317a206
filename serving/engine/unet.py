"""I2VGen-XL's UNet, exact and without work that is done twice.

Over the published weights, as diffusers' I2VGenXLUNet holds them. What depends on the request alone is computed once
by `prepare`; until the first attention to the prompt both guidance halves are one. Knows nothing of samplers.

Down: every level's layers are a resnet, a temporal convolution and, on levels that attend, a spatial and a temporal
transformer; a strided convolution halves the size. Then the middle. Up: the same with what the way down left,
concatenated, and an upsampling convolution at the end of each level.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.nn import functional

from serving.engine.attention import SpatialTransformer, TemporalTransformer
from serving.engine.blocks import Conv, GroupNorm, Resnet, Sum, TemporalConv, UpsamplingConv
from serving.engine.conditioning import Conditioning
from serving.engine.levels import Layer, Level
from serving.engine.products import Product
from serving.scheduling.cost import FRAMES_AT_ONCE


@dataclass(frozen=True)
class Prepared:
    """What all steps of one request share."""

    picture: torch.Tensor
    """(1, F, H, W, C): the picture's latents as the first convolution takes them."""
    fps: torch.Tensor
    """(1, width of the time embedding)."""
    contexts: tuple[torch.Tensor, ...]
    """Keys and values of each spatial transformer in order: (B, n, 2, heads, size)."""

    @property
    def halves(self) -> int:
        return len(self.contexts[0])

    def half(self, index: int) -> Prepared:
        """That of one half alone."""
        return Prepared(self.picture, self.fps, tuple(context[index : index + 1] for context in self.contexts))

    def clone(self) -> Prepared:
        return Prepared(self.picture.clone(), self.fps.clone(), tuple(context.clone() for context in self.contexts))

    def take(self, other: Prepared) -> None:
        """Take over another's values, of the same shapes."""
        mine, others = ([each.picture, each.fps, *each.contexts] for each in (self, other))
        torch._foreach_copy_(mine, others)


class UNet:
    """Predicts the noise of a clip; for one request at a time."""

    def __init__(self, module: Any) -> None:
        """
        Args:
            module: diffusers.I2VGenXLUNet on its device in its dtype, evaluating. Its weights are laid out anew.
        """
        self.module = module
        self.float8 = False
        """Whether the transformers' large products are of 8-bit floats."""
        self.chunked = False
        """Whether layers that mix no frames take few of them at once, and feed-forwards few tokens."""
        self._time_weights: list[Any] = []
        self._conv_in = Conv(module.conv_in)
        self._transformer_in = TemporalTransformer(module.transformer_in)
        self._down = [Level(block, self._resnet) for block in module.down_blocks]
        self._mid = [Layer(*parts) for parts in self._middle(module.mid_block)]
        self._up = [Level(block, self._resnet) for block in module.up_blocks]
        self._norm_out = GroupNorm(module.conv_norm_out, clip=False, silu=True)
        self._conv_out = Conv(module.conv_out)
        projections = [resnet.time_emb_proj for resnet in self._time_weights]
        self._time_weight = torch.cat([projection.weight for projection in projections])
        self._time_bias = torch.cat([projection.bias for projection in projections])

    @property
    def device(self) -> torch.device:
        return self._time_weight.device

    @torch.inference_mode()
    def use_float8(self, wanted: bool) -> None:
        """Have the transformers' large products be of 8-bit floats, which hold memory of their own, or exact."""
        if wanted == self.float8:
            return
        try:
            for product in self._products():
                product.use_float8(wanted)
            self.float8 = wanted
        finally:
            if wanted and not self.float8:  # the memory ran out on the way
                for product in self._products():
                    product.use_float8(False)

    @torch.inference_mode()
    def prepare(self, conditioning: Conditioning) -> Prepared:
        """The step-invariant part of one request."""
        module, dtype = self.module, conditioning.text.dtype
        latents = conditioning.image_latents  # (B, C, F, h, w), the same in each half
        halves, channels, frames, height, width = latents.shape
        first = module.image_latents_context_embedding(latents[:, :, 0]).flatten(2).transpose(1, 2)
        image = module.context_embedding(conditioning.image).view(halves, channels, -1)
        context = torch.cat([conditioning.text, first, image], dim=1)
        picture = module.image_latents_proj_in(latents[0].transpose(0, 1))  # (F, C, h, w)
        tokens = picture.permute(2, 3, 0, 1).reshape(height * width, frames, channels)
        tokens = torch.cat([module.image_latents_temporal_encoder(part) for part in tokens.split(MOST_SEQUENCES)])
        fps = module.time_proj(conditioning.fps[:1]).to(dtype)
        return Prepared(
            picture=tokens.view(1, height, width, frames, channels).permute(0, 3, 1, 2, 4).contiguous(),
            fps=module.fps_embedding(fps),
            contexts=tuple(spatial.keys_and_values(context) for spatial in self._spatials()),
        )

    def __call__(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        prepared: Prepared,
        features: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """(B, C, F, h, w): one prediction a half.

        Args:
            latents: (1, C, F, h, w).
            timestep: one number.
            features: what `keeping` gave at an earlier step. They stand for all but the outermost level, which makes
                the prediction another one.
        """
        times, contexts = self._times(timestep, prepared), iter(prepared.contexts)
        skips = self._enter(latents, prepared, times, contexts)
        if features is None:
            h = self._inner(skips, times, contexts)
        else:
            own = sum(layer.spatial is not None for layer in self._up[-1].layers)
            contexts = iter(prepared.contexts[len(prepared.contexts) - own :])
            h = Sum(features, shift=self._up[-2].shift)
        return self._leave(h, skips, times, contexts)

    def keeping(
        self, latents: torch.Tensor, timestep: torch.Tensor, prepared: Prepared
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The prediction, and what enters the outermost level on the way up: (B, F, H, W, C)."""
        times, contexts = self._times(timestep, prepared), iter(prepared.contexts)
        skips = self._enter(latents, prepared, times, contexts)
        h = self._inner(skips, times, contexts)
        features = h.value
        return self._leave(h, skips, times, contexts), features

    def _enter(
        self, latents: torch.Tensor, prepared: Prepared, times: torch.Tensor, contexts: Iterator[torch.Tensor]
    ) -> list[Sum]:
        """The outermost level on the way down."""
        x = torch.cat([latents.permute(0, 2, 3, 4, 1), prepared.picture], dim=-1)
        first = Sum(self._conv_in(x), shift=self._conv_in.bias)
        skips = [self._transformer_in(first, few=self.chunked)]
        for layer in self._down[0].layers:
            skips.append(layer(skips[-1], times, contexts, frames=self._frames))
        return skips

    def _inner(self, skips: list[Sum], times: torch.Tensor, contexts: Iterator[torch.Tensor]) -> Sum:
        """All other levels, and the way back to the outermost one's size."""
        h, outermost = skips[-1], len(skips)
        for level, following in pairwise(self._down):
            assert level.resample is not None
            h = Sum(level.resample(h.total()), shift=level.shift)
            skips.append(h)
            for layer in following.layers:
                h = layer(h, times, contexts, frames=self._frames)
                skips.append(h)
        for layer in self._mid:
            h = layer(h, times, contexts, frames=self._frames)
        for level in self._up[:-1]:
            for layer in level.layers:
                h.join(skips.pop())
                h = layer(h, times, contexts, frames=self._frames, last=True)
            assert isinstance(level.resample, UpsamplingConv)
            _, _, height, width, _ = skips[-1].value.shape
            h = Sum(level.resample.upsampled(h.total(), height, width, self._frames), shift=level.shift)
        assert len(skips) == outermost
        return h

    def _leave(self, h: Sum, skips: list[Sum], times: torch.Tensor, contexts: Iterator[torch.Tensor]) -> torch.Tensor:
        """The outermost level on the way up."""
        for layer in self._up[-1].layers:
            h.join(skips.pop())
            h = layer(h, times, contexts, frames=self._frames, last=True)
        out: torch.Tensor = self._conv_out(self._norm_out(h)) + self._conv_out.bias
        return out.permute(0, 4, 1, 2, 3)

    @property
    def _frames(self) -> int | None:
        """How many layers that mix no frames take at once; None where all."""
        return FRAMES_AT_ONCE if self.chunked else None

    def _times(self, timestep: torch.Tensor, prepared: Prepared) -> torch.Tensor:
        """Every resnet's time embedding, (all their channels,)."""
        module = self.module
        sinusoid = module.time_proj(timestep.to(self.device).reshape(1)).to(prepared.fps.dtype)
        embedding = functional.silu(module.time_embedding(sinusoid) + prepared.fps)
        return functional.linear(embedding, self._time_weight, self._time_bias)[0]

    def _resnet(self, module: Any) -> Resnet:
        """One resnet, whose part of the time embeddings follows those before."""
        begin = sum(resnet.time_emb_proj.out_features for resnet in self._time_weights)
        self._time_weights.append(module)
        return Resnet(module, slice(begin, begin + module.time_emb_proj.out_features))

    def _middle(self, block: Any) -> Iterator[tuple[Any, ...]]:
        """The middle's layers, whose transformers stand before all resnets but the first."""
        resnets = [self._resnet(resnet) for resnet in block.resnets]
        convs = [TemporalConv(conv) for conv in block.temp_convs]
        spatial = [SpatialTransformer(attention) for attention in block.attentions]
        temporal = [TemporalTransformer(attention) for attention in block.temp_attentions]
        yield from zip(resnets, convs, [*spatial, None], [*temporal, None], strict=True)

    def _layers(self) -> Iterator[Layer]:
        yield from (layer for level in self._down for layer in level.layers)
        yield from self._mid
        yield from (layer for level in self._up for layer in level.layers)

    def _spatials(self) -> Iterator[SpatialTransformer]:
        yield from (layer.spatial for layer in self._layers() if layer.spatial is not None)

    def _products(self) -> Iterator[Product]:
        yield from self._transformer_in.products
        for layer in self._layers():
            for transformer in (layer.spatial, layer.temporal):
                if transformer is not None:
                    yield from transformer.products


MOST_SEQUENCES = 16_384
"""Places whose frames the picture's temporal encoder takes at once."""
