"""The levels of I2VGen-XL's UNet, and the layers that they and its middle are made of.

Knows nothing of how levels make a UNet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from serving.engine.attention import SpatialTransformer, TemporalTransformer
from serving.engine.blocks import Conv, Resnet, Sum, TemporalConv, UpsamplingConv


class Layer:
    """A resnet and a temporal convolution, then a spatial and a temporal transformer where the level attends."""

    def __init__(
        self,
        resnet: Resnet,
        conv: TemporalConv,
        spatial: SpatialTransformer | None,
        temporal: TemporalTransformer | None,
    ) -> None:
        self._resnet, self._conv, self.spatial, self.temporal = resnet, conv, spatial, temporal

    def __call__(
        self,
        x: Sum,
        times: torch.Tensor,
        contexts: Iterator[torch.Tensor],
        *,
        frames: int | None = None,
        last: bool = False,
    ) -> Sum:
        """
        Args:
            frames: how many to take at once of those that are not mixed; None for all.
            last: x is of no more use afterwards.
        """
        h = self._resnet(x, times) if frames is None else self._resnet.by_pieces(x, times, frames)
        if last:
            x.forget()
        h = self._conv(h)
        if self.spatial is not None and self.temporal is not None:
            context = next(contexts)
            h = self.spatial(h, context) if frames is None else self.spatial.by_pieces(h, context, frames)
            h = self.temporal(h, few=frames is not None)
        return h


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
        down, up = getattr(block, "downsamplers", None), getattr(block, "upsamplers", None)
        self.resample = Conv(down[0].conv) if down else UpsamplingConv(up[0].conv) if up else None
        self.shift = None if self.resample is None else self.resample.bias
