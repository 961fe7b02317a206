"""The VAE's decoder over the published module's own weights, token-major as `blocks`. Knows nothing of the UNet."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from serving.engine import kernels
from serving.engine.blocks import Conv, GroupNorm, Resnet, Sum, UpsamplingConv


class Decoder:
    """Latents of single frames to pixels."""

    def __init__(self, vae: Any) -> None:
        """
        Args:
            vae: diffusers.AutoencoderKL on its device in its dtype, evaluating. Its weights are laid out anew.
        """
        decoder = vae.decoder
        after = vae.post_quant_conv
        self._after = None if after is None else (after.weight.flatten(1), after.bias)
        self._conv_in = Conv(decoder.conv_in)
        middle = decoder.mid_block
        first, *rest = (Resnet(resnet) for resnet in middle.resnets)
        self._middle: list[Resnet | WholeFrame] = [first]
        for attention, resnet in zip(middle.attentions or [None] * len(rest), rest, strict=True):
            self._middle += [resnet] if attention is None else [WholeFrame(attention), resnet]
        self._up = [
            (
                [Resnet(resnet) for resnet in block.resnets],
                block.upsamplers and UpsamplingConv(block.upsamplers[0].conv),
            )
            for block in decoder.up_blocks
        ]
        self._norm_out = GroupNorm(decoder.conv_norm_out, clip=False, silu=True)
        self._conv_out = Conv(decoder.conv_out)

    def __call__(self, latents: torch.Tensor) -> torch.Tensor:
        """(F, H, W, 3), about -1..1, from unscaled latents (F, C, h, w)."""
        x = latents.permute(0, 2, 3, 1)
        if self._after is not None:
            x = functional.linear(x, *self._after)
        h = Sum(self._conv_in(x.unsqueeze(0).contiguous()), shift=self._conv_in.bias)
        for layer in self._middle:
            h = layer(h)
        for resnets, conv in self._up:
            for resnet in resnets:
                h = resnet(h)
            if conv is not None:
                _, _, height, width, _ = h.value.shape
                h = Sum(conv.upsampled(h.total(), 2 * height, 2 * width), shift=conv.bias)
        pixels: torch.Tensor = self._conv_out(self._norm_out(h)) + self._conv_out.bias
        return pixels[0]


class WholeFrame:
    """Self-attention with one head as wide as all channels."""

    def __init__(self, module: Any) -> None:
        self._norm = GroupNorm(module.group_norm, clip=False, silu=False)
        self._heads = module.heads
        sources = (module.to_q, module.to_k, module.to_v)
        self._weight = torch.cat([source.weight for source in sources])
        self._bias = torch.cat([source.bias for source in sources])
        self._out = (module.to_out[0].weight, module.to_out[0].bias)

    def __call__(self, x: Sum) -> Sum:
        normed = self._norm(x, whole=True)
        _, frames, height, width, channels = normed.shape
        qkv = functional.linear(normed, self._weight, self._bias).view(frames, height * width, 3, self._heads, -1)
        attended = kernels.attention(*qkv.unbind(2)).reshape(1, frames, height, width, channels)
        return Sum(functional.linear(attended, *self._out), x.value)
