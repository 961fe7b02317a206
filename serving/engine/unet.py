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
from typing import Any

import torch
from torch.nn import functional

from serving.engine.attention import SpatialTransformer, TemporalTransformer
from serving.engine.blocks import (
    Conv,
    GroupNorm,
    Resnet,
    Sum,
    TemporalConv,
    upsample,
)
from serving.engine.conditioning import Conditioning


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

    def __call__(self, latents: torch.Tensor, timestep: torch.Tensor, prepared: Prepared) -> torch.Tensor:
        """(B, C, F, h, w): one prediction a half.

        Args:
            latents: (1, C, F, h, w).
            timestep: one number.
        """
        times = self._times(timestep, prepared)
        contexts = iter(prepared.contexts)
        x = torch.cat([latents.permute(0, 2, 3, 4, 1), prepared.picture], dim=-1)
        h = self._transformer_in(Sum(self._conv_in(x), shift=self._conv_in.bias))
        skips = [h]
        for level in self._down:
            for layer in level.layers:
                h = layer(h, times, contexts)
                skips.append(h)
            if level.resample is not None:
                h = Sum(level.resample(h.total()), shift=level.resample.bias)
                skips.append(h)
        for layer in self._mid:
            h = layer(h, times, contexts)
        for level in self._up:
            for layer in level.layers:
                h.join(skips.pop())
                h = layer(h, times, contexts)
            if level.resample is not None:
                _, _, height, width, _ = skips[-1].value.shape
                h = Sum(level.resample(upsample(h.total(), height, width)), shift=level.resample.bias)
        out: torch.Tensor = self._conv_out(self._norm_out(h)) + self._conv_out.bias
        return out.permute(0, 4, 1, 2, 3)

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

    def _spatials(self) -> Iterator[SpatialTransformer]:
        layers = [
            *(layer for level in self._down for layer in level.layers),
            *self._mid,
            *(layer for level in self._up for layer in level.layers),
        ]
        for layer in layers:
            if layer.spatial is not None:
                yield layer.spatial


class Layer:
    """A resnet and a temporal convolution, then a spatial and a temporal transformer where the level attends."""

    def __init__(
        self,
        resnet: Resnet,
        conv: TemporalConv,
        spatial: SpatialTransformer | None,
        temporal: TemporalTransformer | None,
    ) -> None:
        self._resnet, self._conv, self.spatial, self._temporal = resnet, conv, spatial, temporal

    def __call__(self, x: Sum, times: torch.Tensor, contexts: Iterator[torch.Tensor]) -> Sum:
        x = self._conv(self._resnet(x, times))
        if self.spatial is not None and self._temporal is not None:
            x = self._temporal(self.spatial(x, next(contexts)))
        return x


class Level:
    """One size's layers, and the convolution to the next size; None on the last."""

    def __init__(self, block: Any, resnet_of: Any) -> None:
        attends = getattr(block, "has_cross_attention", False)
        nothing = [None] * len(block.resnets)
        spatials = [SpatialTransformer(module) for module in block.attentions] if attends else nothing
        temporals = [TemporalTransformer(module) for module in block.temp_attentions] if attends else nothing
        self.layers = [
            Layer(resnet_of(resnet), TemporalConv(conv), spatial, temporal)
            for resnet, conv, spatial, temporal in zip(
                block.resnets, block.temp_convs, spatials, temporals, strict=True
            )
        ]
        resamplers = getattr(block, "downsamplers", None) or getattr(block, "upsamplers", None)
        self.resample = None if resamplers is None else Conv(resamplers[0].conv)


MOST_SEQUENCES = 16_384
"""Places whose frames the picture's temporal encoder takes at once."""
