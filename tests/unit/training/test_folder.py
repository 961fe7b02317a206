"""The shipped folder loads with the stock classes, is trained, small, and its numbers are those of its own UNet."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from serving.presets import read_profile
from serving.training.architecture import Parts, build_unet, build_vae
from serving.training.autoencoder import decoded, means
from serving.training.evaluation import generate, psnr
from serving.training.folder import BUILTIN, CLASSES, read, size
from serving.training.moves import BY_NAME, FULL, MOVES, render
from serving.training.sizing import decoding, guided_step

DEMO = BUILTIN.parents[1] / "assets" / "demo.jpg"


@pytest.fixture(scope="module")
def parts() -> Parts:
    return read(BUILTIN)


def demo(side: int) -> torch.Tensor:
    """(1, 3, side, side) of the demo picture in -1..1."""
    pixels = np.array(Image.open(DEMO).resize((side, side), Image.Resampling.LANCZOS))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_it_is_small() -> None:
    assert size(BUILTIN) <= 20_000_000
    assert DEMO.stat().st_size < 200_000


def test_the_index_names_every_part() -> None:
    index = json.loads((BUILTIN / "model_index.json").read_text())
    assert {name: tuple(index[name]) for name in CLASSES} == CLASSES


def test_every_part_is_of_its_published_class(parts: Parts) -> None:
    for name, (_, class_name) in CLASSES.items():
        assert type(getattr(parts, name)).__name__.removesuffix("Fast").removesuffix("Pil") == class_name


def test_weights_are_finite_and_not_the_untrained_ones(parts: Parts) -> None:
    for trained, fresh in ((parts.unet, build_unet()), (parts.vae, build_vae())):
        assert all(torch.isfinite(weight).all() for weight in trained.parameters())
        zeros = [name for name, weight in fresh.named_parameters() if "conv4.3.weight" in name and not weight.any()]
        assert all(trained.get_parameter(name).any() for name in zeros)
    assert torch.equal(parts.vae.quant_conv.weight[4:], torch.zeros(4, 8, 1, 1))


def test_the_profile_is_valid_and_its_cost_is_the_unets(parts: Parts) -> None:
    profile = read_profile(BUILTIN)
    assert profile.name == "builtin"
    for preset in profile.presets.values():
        assert preset.resolution in profile.resolutions
        for field in ("num_frames", "num_inference_steps", "fps"):
            allowed = getattr(profile, field)
            assert allowed.low <= getattr(preset, field) <= allowed.high
    unet = type(parts.unet).from_config(parts.unet.config).to("meta", torch.float16).eval()
    megapixels = 256 * 256 / 1e6
    tflop, _ = guided_step(unet, 8, 256)
    said = 8 * megapixels * (profile.cost.tflop_linear + profile.cost.tflop_spatial * megapixels)
    assert said == pytest.approx(tflop, rel=0.03)
    assert profile.cost.tflop_decode == pytest.approx(decoding(parts.vae)[0], rel=0.03)


@torch.no_grad()
def test_the_vae_keeps_the_picture(parts: Parts) -> None:
    picture = demo(256)
    assert psnr(decoded(parts.vae, means(parts.vae, picture)), picture) > 25


def test_a_clip_starts_at_the_picture_and_moves_as_asked(parts: Parts) -> None:
    picture = demo(128)  # a quarter of the work; moves are fractions of the side at any size
    clip = generate(parts, picture, ["pan left"], steps=1)[0]
    assert psnr(clip[0], picture[0]) > 20
    warps = render(picture.expand(len(MOVES), -1, -1, -1), list(range(len(MOVES))), [FULL] * len(MOVES), 8)
    errors = [(clip - warp).square().mean().item() for warp in warps]
    assert errors.index(min(errors)) == BY_NAME["pan left"]
