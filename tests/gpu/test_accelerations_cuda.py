"""Accelerations on a CUDA card: replayed steps of every kind, products in float8: python -m pytest tests/gpu."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from PIL import Image

from serving.engine import kernels, products, random_weights, sampler
from serving.engine.card import describe
from serving.engine.conditioning import Conditioning
from serving.engine.modules import Modules
from serving.engine.pipeline import Pipeline
from serving.engine.replay import Replay
from serving.engine.unet import UNet
from serving.engine.weights import locate
from serving.errors import DoesNotFit
from serving.parameters import VideoParameters
from serving.presets import I2VGEN_XL, RANDOM
from serving.request import resolve
from serving.scheduling.accelerations import ACCELERATIONS, steps

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card; torch sees none"),
]
CUDA = torch.device("cuda", 0)
COUNT = 10


def needs_float8() -> None:
    if describe(CUDA).compute_capability < ACCELERATIONS["fp8"].compute_capability:
        pytest.skip("this card has no float8")


@pytest.fixture(scope="module")
def unet() -> UNet:
    """The full architecture."""
    module = random_weights.build(random_weights.I2VGEN_XL, "cuda")["unet"].eval().requires_grad_(False).half()
    return UNet(module)


def conditioning(frames: int, side: int, seed: int) -> Conditioning:
    generator = torch.Generator("cuda").manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device="cuda", dtype=torch.float16, generator=generator)

    cells = (frames, side, side)
    latents = noise(1, 4, *cells).repeat(2, 1, 1, 1, 1)
    fps = torch.full((2,), 8, device="cuda")
    return Conditioning(noise(2, 77, 1024), noise(2, 1, 1024), latents, fps, noise(1, 4, *cells))


@torch.inference_mode()
def latents_of(replay: Replay, asked: Conditioning, names: tuple[str, ...]) -> torch.Tensor:
    replay.use_float8("fp8" in names)
    own = random_weights.scheduler(random_weights.I2VGEN_XL)
    return sampler.denoise(
        sampler.unet_predictor(replay, asked),
        asked.noise,
        sampler.scheduler_for(own, names),
        num_inference_steps=COUNT,
        guidance_scale=9.0,
        generator=torch.Generator(),
        on_step=lambda step, total: None,
        should_stop=lambda: False,
        steps=partial(steps, names=names),
    )


def distance(x: torch.Tensor, exact: torch.Tensor) -> float:
    return float((x - exact).float().norm() / exact.float().norm())


@pytest.mark.parametrize(
    "names",
    [
        ("deepcache",),
        ("guidance-interval",),
        ("deepcache", "guidance-interval"),
        ("fp8",),
        ("unipc", "deepcache", "fp8"),
    ],
    ids=str,
)
def test_replayed_steps_of_every_kind_are_the_plain_ones(unet: UNet, names: tuple[str, ...]) -> None:
    """Requests of both kinds in turn, so that graphs of one meet features and weights of another."""
    if "fp8" in names:
        needs_float8()
    replay, plain = Replay(unet), Replay(unet, record=False)
    asked = [conditioning(8, 32, seed) for seed in (0, 1)]
    expected = {(seed, of): latents_of(plain, asked[seed], of) for seed in (0, 1) for of in (names, ())}
    for _ in range(2):
        for (seed, of), latents in expected.items():
            assert torch.equal(latents_of(replay, asked[seed], of), latents), (seed, of)
    assert not torch.equal(expected[0, names], expected[0, ()])
    if "deepcache" in names and "fp8" not in names:
        assert {(key.keeps, key.cached) for key in replay._recordings} >= {(True, False), (False, True)}
    replay.use_float8(False)


@pytest.mark.parametrize("shape", [(777, 640, 1920), (4096, 1280, 10240), (65536, 5120, 1280), (1, 640, 640)], ids=str)
def test_products_in_float8_are_their_emulation(shape: tuple[int, int, int]) -> None:
    needs_float8()
    torch.manual_seed(0)
    count, inner, outer = shape
    x = torch.randn(count, inner, device="cuda", dtype=torch.float16)
    weight = torch.randn(outer, inner, device="cuda", dtype=torch.float16) * inner**-0.5
    rounded, scale = kernels.float8(x)
    twin, twin_scale = kernels.float8(x.cpu())
    torch.testing.assert_close(scale.cpu(), twin_scale, atol=0, rtol=1e-6)
    assert (rounded.cpu().float() != twin.float()).float().mean() < 0.01
    product = products.Product(weight)
    exact = product(x)
    product.use_float8(True)
    ours = product(x)
    emulated = (rounded.float() * scale) @ (product._rounded[0].float() * product._rounded[1]).t()  # type: ignore[index]
    assert ours.dtype is torch.float16
    # bfloat16 results, where there are no others, have 8 bits; sums of 8-bit floats are kept in few more than that.
    assert distance(ours, emulated) < 6e-3
    assert 0.01 < distance(ours, exact) < 0.06


@pytest.fixture(scope="module")
def small() -> Pipeline:
    """Wide enough at its inner level for float8."""
    parts = random_weights.build(
        random_weights.Architecture(
            unet={
                "block_out_channels": (32, 640),
                "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
                "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
                "layers_per_block": 1,
                "norm_num_groups": 8,
                "cross_attention_dim": 64,
                "attention_head_dim": 32,
            },
            vae={
                "block_out_channels": (32,) * 4,
                "down_block_types": ("DownEncoderBlock2D",) * 4,
                "up_block_types": ("UpDecoderBlock2D",) * 4,
                "norm_num_groups": 8,
            },
            text_encoder=ENCODER
            | {"num_hidden_layers": 3, "vocab_size": 514, "bos_token_id": 512, "eos_token_id": 513},
            image_encoder=ENCODER | {"num_hidden_layers": 2, "image_size": 56, "patch_size": 14},
            scheduler=random_weights.I2VGEN_XL.scheduler,
        ),
        CUDA,
    )
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            part.half().eval().requires_grad_(False)
    return Pipeline(locate(RANDOM), Modules(**parts), CUDA)


ENCODER = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "projection_dim": 64}


@pytest.mark.parametrize("name", ACCELERATIONS)
def test_each_acceleration_gives_a_clip_of_its_own(small: Pipeline, name: str) -> None:
    picture = Image.linear_gradient("L").convert("RGB")
    parameters = VideoParameters(prompt="a slow pan", resolution="256p", num_frames=8, num_inference_steps=COUNT)
    exact = resolve(parameters, I2VGEN_XL, seed=0)
    faster = resolve(parameters.model_copy(update={"acceleration": [name]}), I2VGEN_XL, seed=0)
    if small.card.compute_capability < ACCELERATIONS[name].compute_capability:
        with pytest.raises(DoesNotFit):
            small.generate(picture, faster)
        return
    plain = small.generate(picture, exact).frames
    first, again = (small.generate(picture, faster).frames for _ in range(2))
    assert (first == again).all()
    assert (first != plain).any()
    assert (small.generate(picture, exact).frames == plain).all()
