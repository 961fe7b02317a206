"""Products in 8 bits: how near they stay, and that nothing of them is left behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from denoised import MakeRequest, distance, prepared
from PIL import Image

from serving.engine import kernels, products
from serving.engine.pipeline import Pipeline
from serving.engine.replay import Replay
from serving.errors import DoesNotFit


def test_rows_are_rounded_to_within_their_format() -> None:
    """Three bits of mantissa: an eighth of a power of two, and half of that either way."""
    torch.manual_seed(0)
    x = torch.randn(64, 48) * torch.logspace(-6, 4, 64)[:, None]
    rounded, scale = kernels.float8(x)
    assert rounded.dtype is torch.float8_e4m3fn
    assert scale.shape == (64, 1)
    assert torch.equal(rounded.float().abs().amax(1), torch.full((64,), 448.0))
    error = (rounded.float() * scale - x).abs()
    assert (error <= x.abs() * 2**-4 + scale * 2**-10).all()
    assert error.norm() / x.norm() > 0.01
    zeros, _ = kernels.float8(torch.zeros(2, 16))
    assert torch.equal(zeros.float(), torch.zeros(2, 16))


def test_products_in_float8_are_within_their_bound(small_products: None) -> None:
    torch.manual_seed(0)
    x, weight, h = torch.randn(5, 7, 64), torch.randn(32, 64), torch.randn(35, 32)
    product = products.Product(weight)
    exact, total = product(x), h.clone()
    product.add_to(total, x.flatten(0, 1))
    product.use_float8(True)
    rough, rough_total = product(x), h.clone()
    product.add_to(rough_total, x.flatten(0, 1))
    bound = (2 * 2**-4 + 2**-7) * (x.abs() @ weight.abs().t())
    assert rough.shape == exact.shape
    assert ((rough - exact).abs() <= bound).all()
    assert 0.01 < distance(rough, exact) < 0.05
    torch.testing.assert_close(rough_total - h, rough.flatten(0, 1), atol=1e-5, rtol=1e-5)
    assert not torch.equal(rough_total, total)
    product.use_float8(False)
    assert torch.equal(product(x), exact)


def test_products_too_small_to_gain_stay_exact() -> None:
    for shape in ((639, 1280), (1280, 320), (650, 650)):
        product, x = products.Product(torch.randn(shape)), torch.randn(3, shape[1])
        exact = product(x)
        product.use_float8(True)
        assert torch.equal(product(x), exact)


def test_a_request_in_float8_leaves_nothing_behind(
    able: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    unet = able.replay.unet
    exact = able.generate(picture, make_request()).frames
    able.generate(picture, make_request(acceleration=("fp8",)))
    assert unet.float8
    assert any(product._rounded is not None for product in unet._products())
    assert np.array_equal(able.generate(picture, make_request()).frames, exact)
    assert not unet.float8
    assert all(product._rounded is None for product in unet._products())


def test_where_memory_runs_out_on_the_way_to_float8_all_stays_exact(
    able: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet, done = able.replay.unet, 0
    rounded = kernels.float8

    def limited(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal done
        done += 1
        if done > 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return rounded(x)

    monkeypatch.setattr(kernels, "float8", limited)
    with pytest.raises(torch.OutOfMemoryError):
        unet.use_float8(True)
    assert not unet.float8
    assert all(product._rounded is None for product in unet._products())


def test_a_card_that_cannot_refuses(pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest) -> None:
    with pytest.raises(DoesNotFit, match=r"fp8 needs compute capability 8\.9") as caught:
        pipeline.generate(picture, make_request(acceleration=("deepcache", "fp8")))
    assert caught.value.param == "acceleration"


def test_a_kind_of_step_is_its_own_for_replay(
    able: Pipeline, picture: Image.Image, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no graph of one kind stands for another; tests/gpu replays them."""
    keys: list[Any] = []
    replay = Replay(able.replay.unet)
    monkeypatch.setattr(replay, "_recordings", Watched(keys))
    shared, latents = prepared(able, picture, make_request())
    timestep = torch.tensor(501)
    _, features = replay.keeping(latents, timestep, shared, first=True)
    replay(latents, timestep, shared, first=True, features=features)
    replay(latents, timestep, shared, first=True)
    replay(latents, timestep, shared.half(1), first=True)
    replay.use_float8(True)
    replay(latents, timestep, shared, first=True)
    assert len(set(keys)) == len(keys) == 5


class Watched(dict[Any, Any]):
    """Notes what is looked up."""

    def __init__(self, keys: list[Any]) -> None:
        super().__init__()
        self._keys = keys

    def get(self, key: Any, default: Any = None) -> Any:
        self._keys.append(key)
        return default
