"""Triton kernels behind `kernels`, for tensors that are contiguous with channels last; all arithmetic is float32.

What counts is how often a value is read and written, and in those that multiply that the tensor cores are kept at work.
"""

from serving.engine.fused.doubling import doubled_conv, doubles, folded
from serving.engine.fused.float8 import float8
from serving.engine.fused.frames import attends, convolves, frame_attention, frame_conv
from serving.engine.fused.gates import geglu, linear_geglu, multiplies
from serving.engine.fused.norms import group_norm, layer_norm

__all__ = [
    "attends",
    "convolves",
    "doubled_conv",
    "doubles",
    "float8",
    "folded",
    "frame_attention",
    "frame_conv",
    "geglu",
    "group_norm",
    "layer_norm",
    "linear_geglu",
    "multiplies",
]
