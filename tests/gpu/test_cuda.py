"""The engine on a CUDA card, in float16: exactness against the CPU, cancelling, memory.

Needs no weights: the models are random, small ones where numbers count and the full architecture where memory does.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from serving.engine import random_weights
from serving.engine.modules import Modules, default_dtype
from serving.engine.pipeline import Pipeline
from serving.engine.random_weights import Architecture
from serving.engine.weights import locate
from serving.errors import Cancelled, InsufficientGpuMemory
from serving.parameters import VideoParameters
from serving.presets import I2VGEN_XL, RANDOM
from serving.request import VideoRequest, resolve
from serving.scheduling.cost import Shape
from serving.scheduling.plans import DRIVER_GIB, decode_chunk, largest_fitting, peak_gib

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card; torch sees none"),
]

CUDA = torch.device("cuda", 0)
ENCODER = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "projection_dim": 64}
SMALL = Architecture(
    unet={
        "block_out_channels": (32, 64, 64, 64),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "cross_attention_dim": 64,
        "attention_head_dim": 16,
    },
    vae={
        "block_out_channels": (32,) * 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "norm_num_groups": 8,
    },
    text_encoder=ENCODER | {"num_hidden_layers": 3, "vocab_size": 514, "bos_token_id": 512, "eos_token_id": 513},
    image_encoder=ENCODER | {"num_hidden_layers": 2, "image_size": 56, "patch_size": 14},
    scheduler=random_weights.I2VGEN_XL.scheduler,
)


def small_pipeline(parts: dict[str, Any], device: torch.device) -> Pipeline:
    parts = copy.deepcopy(parts)
    for part in parts.values():
        if isinstance(part, torch.nn.Module):
            torch.nn.Module.to(part, device, default_dtype(device)).eval()
    return Pipeline(locate(RANDOM), Modules(**parts), device)


def request(**changes: Any) -> VideoRequest:
    parameters = VideoParameters(
        prompt="a boat drifts to the left", resolution="256p", num_frames=8, num_inference_steps=10, seed=0
    )
    return resolve(parameters, I2VGEN_XL, seed=0).model_copy(update=changes)


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    return random_weights.build(SMALL, "cpu")


@pytest.fixture(scope="module")
def small(parts: dict[str, Any]) -> Pipeline:
    return small_pipeline(parts, CUDA)


@pytest.fixture(scope="module")
def full() -> Iterator[Pipeline]:
    """The full architecture: 4.7 GiB of weights."""
    yield Pipeline.load(locate(RANDOM), device=CUDA)
    torch.cuda.empty_cache()


@pytest.fixture
def picture() -> Image.Image:
    rows = np.linspace(0, 255, 256, dtype=np.uint8)
    return Image.fromarray(np.stack(np.broadcast_arrays(rows[:, None], rows[None], 128), axis=-1).astype(np.uint8))


@pytest.mark.parametrize(
    "changes", [{}, {"width": 320, "height": 200, "num_frames": 9}, {"num_frames": 1}, {"guidance_scale": 1.0}]
)
def test_float16_on_the_card_gives_the_frames_of_float32_on_the_cpu(
    parts: dict[str, Any], small: Pipeline, picture: Image.Image, changes: dict[str, Any]
) -> None:
    """Tolerance: 1 level of 255 on average and 16 at worst; float16 keeps 11 bits and guidance 9 magnifies errors."""
    ours = small.generate(picture, request(**changes)).frames.astype(int)
    exact = small_pipeline(parts, torch.device("cpu")).generate(picture, request(**changes)).frames
    assert exact.std() > 1
    difference = np.abs(ours - exact)
    assert difference.mean() < 1
    assert difference.max() <= 16


@pytest.mark.parametrize("changes", [{}, {"num_frames": 9}])
@pytest.mark.parametrize("clears", [False, True])
def test_a_clip_that_gives_way_is_the_same_and_so_is_the_other(
    small: Pipeline, picture: Image.Image, changes: dict[str, Any], clears: bool
) -> None:
    """Where steps are replayed from graphs too, and where the other clip needs the memory of those."""
    long, short = request(num_inference_steps=12), request(seed=5, **changes)
    alone = [small.generate(picture, each).frames for each in (long, short)]
    others: list[np.ndarray] = []
    asked = iter(range(1, 12))

    def other() -> None:
        if clears:
            small.replay.clear()
        others.append(small.generate(picture, short).frames)

    clip = small.generate(picture, long, give_way=lambda: other if next(asked) == 6 else None)
    assert np.array_equal(clip.frames, alone[0])
    assert np.array_equal(others[0], alone[1])
    assert clip.preempted_s > 0


def test_the_same_request_gives_the_same_frames(small: Pipeline, picture: Image.Image) -> None:
    frames = [small.generate(picture, request()).frames for _ in range(2)]
    assert np.array_equal(*frames)


def test_cancelling_takes_effect_before_the_next_step(small: Pipeline, picture: Image.Image) -> None:
    told: list[int] = []
    with pytest.raises(Cancelled):
        small.generate(
            picture,
            request(),
            on_step=lambda step, total: told.append(step),
            should_stop=lambda: len(told) == 3,
        )
    assert told == [1, 2, 3]


def test_running_out_of_memory_ends_one_job_and_the_next_works(small: Pipeline, picture: Image.Image) -> None:
    expected = small.generate(picture, request()).frames
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(CUDA)
    total = torch.cuda.get_device_properties(CUDA).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(CUDA) + 2**26) / total, CUDA)
    try:
        with pytest.raises(InsufficientGpuMemory, match="1024x1024 with 32 frames"):
            small.generate(picture, request(width=1024, height=1024, num_frames=32))
        assert torch.cuda.memory_allocated(CUDA) <= before + 2**20
        # It decodes fewer frames at once under the cap, which may turn a last bit.
        after = small.generate(picture, request()).frames
        assert np.abs(after.astype(int) - expected).max() <= 1
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, CUDA)


def test_the_full_architecture_gives_a_short_clip(full: Pipeline, picture: Image.Image) -> None:
    full.warm_up()
    clip = full.generate(picture, request())
    assert clip.frames.shape == (8, 256, 256, 3)
    assert full.card.name == torch.cuda.get_device_name(CUDA)
    assert full.card.memory_bytes == torch.cuda.get_device_properties(CUDA).total_memory
    assert clip.peak_memory_bytes is not None
    assert 4.5 * 2**30 < clip.peak_memory_bytes < 6 * 2**30
    print(f"\n256p/8/10 steps: {clip.timings}, peak {clip.peak_memory_bytes / 2**30:.2f} GiB")


@pytest.mark.parametrize(
    ("cap_gib", "side", "frames", "plan"),
    [
        (10, 512, 16, "resident"),
        (8, 512, 16, "resident"),
        (7, 512, 16, "offload"),
        (24, 1024, 32, "resident"),
        (14, 1024, 32, "offload"),
        (12, 1024, 32, "offload-chunked"),
        (8.4, 1024, 32, "offload-sequential"),
        (8.3, 1024, 32, "offload-sequential-chunked"),
    ],
)
def test_the_full_architecture_in_little_memory(
    full: Pipeline, picture: Image.Image, cap_gib: float, side: int, frames: int, plan: str
) -> None:
    """A cap on the allocator stands for a smaller card: what placement plans for it runs by that plan."""
    shape = Shape(side, side, frames, 1, True)
    planned = largest_fitting(shape, I2VGEN_XL.cost, cap_gib)
    assert planned is not None
    assert planned.name == plan
    asked = request(width=side, height=side, num_frames=frames, num_inference_steps=3)
    with capped(cap_gib - DRIVER_GIB):
        clip = full.generate(picture, asked, plan=planned)
    assert clip.plan == plan
    assert clip.peak_memory_bytes is not None
    chunk = decode_chunk(planned, shape, I2VGEN_XL.cost, full.card.memory_bytes / 2**30)  # as if not capped
    predicted = peak_gib(planned, shape, I2VGEN_XL.cost, chunk)
    print(f"\n{side}p/{frames} in {cap_gib} GiB: {plan}, {clip.peak_memory_bytes / 2**30:.2f} of {predicted:.2f} GiB")


def test_the_full_architecture_in_too_little_memory(full: Pipeline, picture: Image.Image) -> None:
    """A card of 6 GiB: 1024p/32 fits by no plan, and 256p/8 works afterwards."""
    with capped(6):
        with pytest.raises(InsufficientGpuMemory, match="1024x1024 with 32 frames"):
            full.generate(picture, request(width=1024, height=1024, num_frames=32, num_inference_steps=1))
        assert len(full.generate(picture, request(num_inference_steps=1)).frames) == 8


@contextmanager
def capped(gib: float) -> Iterator[None]:
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(CUDA).total_memory
    torch.cuda.set_per_process_memory_fraction(gib * 2**30 / total, CUDA)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, CUDA)
