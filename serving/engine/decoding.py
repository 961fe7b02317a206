"""Latents to frames, a few frames at a time: the VAE is two-dimensional, so chunks change memory and nothing else.

Knows nothing of requests or the UNet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from serving.engine import card
from serving.engine.contract import ShouldStop
from serving.errors import Cancelled, GenerationFailed
from serving.scheduling.plans import DECODING_SHARE, MAX_CHUNK

Decode = Callable[[torch.Tensor], torch.Tensor]
"""Pixels (n, H, W, 3), about -1..1, from unscaled latents (n, C, h, w)."""


def chunk_for(vae: Any, width: int, height: int, held: int = 0) -> int:
    """Frames to decode at once: what the card's free memory holds; one on a CPU, where more is no faster.

    Args:
        held: bytes of the card that are neither free nor allocated.
    """
    if vae.device.type != "cuda":
        return 1
    room = int((card.free_bytes(vae.device) - held) * DECODING_SHARE / bytes_per_frame(vae, width, height))
    return max(1, min(MAX_CHUNK, room))


def bytes_per_frame(vae: Any, width: int, height: int) -> int:
    """Peak bytes to decode one frame.

    Three activations at full size as wide as the last block's input: 1.5 GiB at 1024 x 1024 for the published VAE in
    float16, as measured.
    """
    channels = vae.config.block_out_channels
    return int(3 * channels[min(1, len(channels) - 1)] * width * height * vae.dtype.itemsize)


def stock(vae: Any) -> Decode:
    """diffusers' own decoder, by the signature of `engine.decoder.Decoder`."""
    return lambda latents: vae.decode(latents).sample.permute(0, 2, 3, 1)


def decode(decoder: Decode, latents: torch.Tensor, chunk: int, should_stop: ShouldStop) -> npt.NDArray[np.uint8]:
    """(F, H, W, 3) uint8 from unscaled latents (1, C, F, h, w), `chunk` frames at once, fewer where memory runs out.

    Args:
        decoder: `engine.decoder.Decoder` or `stock`.

    Raises:
        Cancelled: `should_stop`, asked before each chunk, said so.
        GenerationFailed: a frame is not finite.
        torch.OutOfMemoryError: not even one frame fits.
    """
    by_frame = latents[0].transpose(0, 1)
    frames: torch.Tensor | None = None
    finite = torch.ones((), dtype=torch.bool, device=latents.device)
    pace = card.Pace(latents.device)
    done = 0
    while done < len(by_frame):
        if should_stop():
            raise Cancelled
        try:
            levels, whole = _levels(decoder(by_frame[done : done + chunk]))
        except RuntimeError as error:
            if chunk == 1 or not card.is_out_of_memory(error):
                raise
            smaller = True
        else:
            smaller = False
        if smaller:  # outside the handler, where the error no longer holds the activations
            card.release(latents.device)
            chunk //= 2
            continue
        if frames is None:
            # Pinned, so that frames leave a card without it being waited for.
            shape = (len(by_frame), *levels.shape[1:])
            frames = torch.empty(shape, dtype=torch.uint8, pin_memory=latents.is_cuda)
        frames[done : done + chunk].copy_(levels, non_blocking=True)
        finite &= whole
        done += len(levels)
        pace.given(done)
    pace.finish()
    assert frames is not None
    if not finite:
        raise GenerationFailed("The model gave frames that are not numbers; the weights or the card are at fault.")
    return frames.numpy()


def _levels(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 of values of about -1..1; and whether all were finite, as a tensor, which nothing waits for."""
    pixels = pixels.float()
    return (pixels * 0.5 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8), torch.isfinite(pixels).all()
