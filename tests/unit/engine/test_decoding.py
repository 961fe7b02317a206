"""Chunks change memory, not frames. Tolerance: one level, where a value lies on the edge between two."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from serving.engine import card, decoding
from serving.engine.pipeline import Pipeline


@pytest.fixture(scope="module")
def latents() -> torch.Tensor:
    return torch.randn((1, 4, 5, 8, 9), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("chunk", [1, 2, 3, 4])
@torch.inference_mode()
def test_chunks_decode_to_the_frames_of_the_whole(pipeline: Pipeline, latents: torch.Tensor, chunk: int) -> None:
    vae = pipeline.modules.vae
    whole = decoding.decode(vae, latents, 5, lambda: False)
    parts = decoding.decode(vae, latents, chunk, lambda: False)
    assert whole.shape == (5, 64, 72, 3)
    assert np.abs(whole.astype(int) - parts).max() <= 1


@torch.inference_mode()
def test_where_memory_runs_out_smaller_chunks_are_tried(pipeline: Pipeline, latents: torch.Tensor) -> None:
    vae, sizes = pipeline.modules.vae, []

    def decode(part: torch.Tensor) -> Any:
        sizes.append(len(part))
        if len(part) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return vae.decode(part)

    tight = types.SimpleNamespace(config=vae.config, device=vae.device, decode=decode)
    frames = decoding.decode(tight, latents, 4, lambda: False)
    assert sizes == [4, 2, 1, 1, 1, 1, 1]
    assert np.array_equal(frames, decoding.decode(vae, latents, 1, lambda: False))


@torch.inference_mode()
def test_a_frame_that_does_not_fit_ends_the_decoding(pipeline: Pipeline, latents: torch.Tensor) -> None:
    def decode(part: torch.Tensor) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    vae = pipeline.modules.vae
    tight = types.SimpleNamespace(config=vae.config, device=vae.device, decode=decode)
    with pytest.raises(torch.OutOfMemoryError):
        decoding.decode(tight, latents, 4, lambda: False)


def test_a_frame_of_the_published_vae_is_counted_as_measured() -> None:
    with torch.device("meta"):
        vae = AutoencoderKL(block_out_channels=(128, 256, 512, 512)).to(torch.float16)
    assert decoding.bytes_per_frame(vae, 1024, 1024) == 1.5 * 2**30


@pytest.mark.parametrize(("free_gib", "chunk"), [(0.1, 1), (4, 2), (40, 4)])
def test_the_chunk_is_what_free_memory_holds(monkeypatch: pytest.MonkeyPatch, free_gib: float, chunk: int) -> None:
    monkeypatch.setattr(card, "free_bytes", lambda device: int(free_gib * 2**30))
    vae = types.SimpleNamespace(
        config=types.SimpleNamespace(block_out_channels=(128, 256)),
        dtype=torch.float16,
        device=torch.device("cuda"),
    )
    assert decoding.chunk_for(vae, 1024, 1024) == chunk
