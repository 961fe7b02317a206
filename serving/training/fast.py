"""Ways to run the UNet's frame mixing fast while training; the same function and the same weights.

Convolutions over frames run as 2-D ones, and attention over frames (8 to 16 tokens, for every pixel) in groups of
pixels that a mask keeps apart: attention kernels are made for longer sequences and fewer of them.
"""

from __future__ import annotations

from types import MethodType

import torch
import torch.nn.functional as F  # noqa: N812
from diffusers import I2VGenXLUNet
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import TemporalConvLayer
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from torch import Tensor

GROUP_TOKENS = 128


def quicken(unet: I2VGenXLUNet) -> None:
    """Replace, in place, how frame mixing is computed; weights and results stay."""
    unet.image_latents_temporal_encoder.attn1.set_processor(GroupedAttention())
    for module in unet.modules():
        if isinstance(module, TemporalConvLayer):
            module.forward = MethodType(_convolve_frames, module)
        elif isinstance(module, TransformerTemporalModel):
            for block in module.transformer_blocks:
                block.attn1.set_processor(GroupedAttention())
                block.attn2.set_processor(GroupedAttention())


def _convolve_frames(layer: TemporalConvLayer, hidden_states: Tensor, num_frames: int = 1) -> Tensor:
    """(B * F, C, H, W) to the same, as `TemporalConvLayer` does it without dropout."""
    rows, channels, height, width = hidden_states.shape
    clips = hidden_states.view(rows // num_frames, num_frames, channels, height * width).transpose(1, 2)
    mixed = clips
    for stage in (layer.conv1, layer.conv2, layer.conv3, layer.conv4):
        norm, conv = stage[0], stage[-1]
        mixed = F.silu(F.group_norm(mixed, norm.num_groups, norm.weight, norm.bias, norm.eps))
        mixed = F.conv2d(mixed, conv.weight.squeeze(-1), conv.bias, padding=(1, 0))
    return (clips + mixed).transpose(1, 2).reshape(rows, channels, height, width)


class GroupedAttention:
    """Self-attention over (pixels, frames, width) with several pixels in one sequence, kept apart by a mask."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        pixels, frames, _ = hidden_states.shape
        group = max(1, GROUP_TOKENS // frames)
        while pixels % group:
            group //= 2
        heads = attn.heads
        query, key, value = (
            project(hidden_states).view(pixels // group, group * frames, heads, -1).transpose(1, 2)
            for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        owner = torch.arange(group * frames, device=query.device) // frames
        apart = torch.zeros(len(owner), len(owner), device=query.device, dtype=query.dtype)
        apart = apart.masked_fill(owner[:, None] != owner[None], float("-inf"))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=apart)
        mixed = mixed.transpose(1, 2).reshape(pixels, frames, -1)
        result: Tensor = attn.to_out[0](mixed)
        return result
