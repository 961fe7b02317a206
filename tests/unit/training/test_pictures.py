"""Drawn pictures are a pure function of their seed, and the quick frame mixing is the stock one."""

from __future__ import annotations

import copy

import numpy as np
import torch

from serving.training.architecture import WIDTH, build_unet
from serving.training.fast import quicken
from serving.training.frames import Gallery
from serving.training.pictures import HELD_OUT, gallery, picture


def test_a_seed_is_a_picture() -> None:
    first = picture(HELD_OUT, 48)
    assert first.shape == (48, 48, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, picture(HELD_OUT, 48))
    assert not np.array_equal(first, picture(HELD_OUT + 1, 48))


def test_cuts_have_the_size_and_range_asked_for() -> None:
    cuts = Gallery(gallery(range(3), 48), torch.device("cpu"), seed=0).cut(4, 24, 40)
    assert cuts.shape == (4, 3, 24, 40)
    assert cuts.abs().max() <= 1
    assert cuts.std() > 0.05


@torch.no_grad()
def test_quick_frame_mixing_computes_the_same() -> None:
    torch.manual_seed(0)
    stock = build_unet().eval()
    for weight in stock.parameters():
        weight.normal_(0, 0.05)
    quick = copy.deepcopy(stock)
    quicken(quick)
    latents = torch.randn(2, 4, 8, 8, 8)
    inputs = {
        "timestep": torch.tensor([999, 3]),
        "fps": torch.tensor([8, 8]),
        "image_latents": torch.randn(2, 4, 8, 8, 8),
        "image_embeddings": torch.randn(2, 1, WIDTH),
        "encoder_hidden_states": torch.randn(2, 77, WIDTH),
    }
    assert torch.allclose(stock(latents, **inputs).sample, quick(latents, **inputs).sample, atol=1e-5)
