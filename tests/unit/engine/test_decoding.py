"""Chunks change memory, not frames. Tolerance: one level, where a value lies on the edge between two."""

from __future__ import annotations

import copy
import types

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from serving.engine import card, decoding
from serving.engine.decoder import Decoder
from serving.engine.pipeline import Pipeline


@pytest.fixture(scope="module")
def latents() -> torch.Tensor:
    return torch.randn((1, 4, 5, 8, 9), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("chunk", [1, 2, 3, 4])
@torch.inference_mode()
def test_chunks_decode_to_the_frames_of_the_whole(pipeline: Pipeline, latents: torch.Tensor, chunk: int) -> None:
    decoder = Decoder(copy.deepcopy(pipeline.modules.vae))
    whole = decoding.decode(decoder, latents, 5, lambda: False)
    parts = decoding.decode(decoder, latents, chunk, lambda: False)
    assert whole.shape == (5, 64, 72, 3)
    assert np.abs(whole.astype(int) - parts).max() <= 1


@torch.inference_mode()
def test_where_memory_runs_out_smaller_chunks_are_tried(pipeline: Pipeline, latents: torch.Tensor) -> None:
    decoder, sizes = Decoder(copy.deepcopy(pipeline.modules.vae)), []

    def tight(part: torch.Tensor) -> torch.Tensor:
        sizes.append(len(part))
        if len(part) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return decoder(part)

    frames = decoding.decode(tight, latents, 4, lambda: False)
    assert sizes == [4, 2, 1, 1, 1, 1, 1]
    assert np.array_equal(frames, decoding.decode(decoder, latents, 1, lambda: False))


@torch.inference_mode()
def test_a_frame_that_does_not_fit_ends_the_decoding(latents: torch.Tensor) -> None:
    def tight(part: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        decoding.decode(tight, latents, 4, lambda: False)


@pytest.mark.parametrize("settings", [{}, {"mid_block_add_attention": False}, {"use_post_quant_conv": False}], ids=str)
@torch.inference_mode()
def test_it_decodes_as_the_module_does(settings: dict[str, bool]) -> None:
    """Tolerance: float32 rounding, 1e-4 of values of about 1."""
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    vae = AutoencoderKL(block_out_channels=(16, 32), norm_num_groups=8, **blocks, **settings).eval()
    latents = torch.randn(2, 4, 9, 7)
    expected = vae.decode(latents).sample
    assert (Decoder(vae)(latents).permute(0, 3, 1, 2) - expected).abs().max() < 1e-4


def test_a_frame_of_the_published_vae_is_counted_as_measured() -> None:
    with torch.device("meta"):
        vae = AutoencoderKL(block_out_channels=(128, 256, 512, 512)).to(torch.float16)
    assert decoding.bytes_per_frame(vae, 1024, 1024) == 1.5 * 2**30


@pytest.mark.parametrize(("free_gib", "held_gib", "chunk"), [(0.1, 0, 1), (4, 0, 2), (40, 0, 4), (40, 36, 2)])
def test_the_chunk_is_what_free_memory_holds(
    monkeypatch: pytest.MonkeyPatch, free_gib: float, held_gib: int, chunk: int
) -> None:
    monkeypatch.setattr(card, "free_bytes", lambda device: int(free_gib * 2**30))
    vae = types.SimpleNamespace(
        config=types.SimpleNamespace(block_out_channels=(128, 256)),
        dtype=torch.float16,
        device=torch.device("cuda"),
    )
    assert decoding.chunk_for(vae, 1024, 1024, held_gib * 2**30) == chunk
