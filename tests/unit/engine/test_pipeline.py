"""Seeds, progress, cancellation and running out of memory, on a small random model."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from PIL import Image

from serving.engine import card, decoding
from serving.engine.decoder import Decoder
from serving.engine.pipeline import Pipeline
from serving.engine.replay import Replay
from serving.engine.weights import locate
from serving.errors import Cancelled, GenerationFailed, InsufficientGpuMemory
from serving.request import VideoRequest
from serving.scheduling.plans import PLANS

MakeRequest = Callable[..., VideoRequest]


class Failing:
    """A UNet or a decoder that raises on chosen calls, counted from 1."""

    def __init__(self, inner: Any, error: Exception, calls: set[int]) -> None:
        self.inner, self.error, self.calls, self.count = inner, error, calls, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def __call__(self, *args: Any) -> Any:
        self.count += 1
        if self.count in self.calls:
            raise self.error
        return self.inner(*args)


def with_parts(
    pipeline: Pipeline, *, decode_chunk: int | None = None, unet: Failing | None = None, **parts: Any
) -> Pipeline:
    modules = dataclasses.replace(pipeline.modules, **parts)
    other = Pipeline(pipeline.weights, modules, pipeline.device, decode_chunk=decode_chunk)
    if unet is not None:
        other.replay = Replay(unet)
    return other


def test_the_same_request_gives_the_same_frames(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    first = pipeline.generate(picture, make_request(seed=7)).frames
    torch.manual_seed(99)  # the global state is not what decides
    assert np.array_equal(first, pipeline.generate(picture, make_request(seed=7)).frames)


def test_seeds_have_their_own_frames_and_zero_is_a_seed(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    """torch alone would take 2**32 for 0."""
    clips = [pipeline.generate(picture, make_request(seed=seed)).frames for seed in (0, 1, 2**32, 2**63 - 1, 0)]
    assert np.array_equal(clips[0], clips[-1])
    assert all(not np.array_equal(clips[0], clip) for clip in clips[1:-1])


def test_a_scheduler_that_draws_noise_at_each_step_draws_it_from_the_seed(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    scheduler = DDPMScheduler.from_config(pipeline.modules.scheduler.config)
    drawing = with_parts(pipeline, scheduler=scheduler)
    first = drawing.generate(picture, make_request()).frames
    assert np.array_equal(first, drawing.generate(picture, make_request()).frames)


def test_nothing_of_a_request_stays_in_the_scheduler(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    before = copy.deepcopy(vars(pipeline.modules.scheduler))
    pipeline.generate(picture, make_request())
    after = vars(pipeline.modules.scheduler)
    assert before.keys() == after.keys()
    assert torch.equal(before["timesteps"], after["timesteps"])
    assert before["num_inference_steps"] is after["num_inference_steps"] is None


def test_a_clip_says_its_shape_and_its_timings(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    clip = pipeline.generate(picture, make_request(width=72, height=104, num_frames=3))
    assert clip.frames.shape == (3, 104, 72, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.frames.flags.c_contiguous
    assert list(clip.timings) == ["condition", "denoise", "decode"]
    assert all(seconds > 0 for seconds in clip.timings.values())
    assert clip.peak_memory_bytes is None
    assert pipeline.card.memory_bytes > 2**30
    assert pipeline.card.name


def test_progress_is_told_after_each_step(pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest) -> None:
    told: list[tuple[int, int]] = []
    pipeline.generate(
        picture, make_request(num_inference_steps=5), on_step=lambda step, total: told.append((step, total))
    )
    assert told == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


@pytest.mark.parametrize("steps_done", [0, 1, 3, 4])
def test_cancelling_takes_effect_before_the_next_step_or_the_decoding(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest, steps_done: int
) -> None:
    vae = Failing(pipeline.modules.vae, AssertionError("decoded after a cancel"), {1})
    told: list[int] = []
    with pytest.raises(Cancelled):
        with_parts(pipeline, vae=vae).generate(
            picture,
            make_request(num_inference_steps=4),
            on_step=lambda step, total: told.append(step),
            should_stop=lambda: len(told) == steps_done,
        )
    assert told == list(range(1, steps_done + 1))


def test_cancelling_takes_effect_between_decoded_chunks(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Failing(Decoder(copy.deepcopy(pipeline.modules.vae)), AssertionError("decoded after a cancel"), {3})
    monkeypatch.setattr("serving.engine.decoding.stock", lambda vae: decoder)
    with pytest.raises(Cancelled):
        with_parts(pipeline, decode_chunk=1).generate(
            picture, make_request(num_frames=4), should_stop=lambda: decoder.count == 2
        )


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
    ids=["torch", "cudnn"],
)
def test_out_of_memory_ends_one_job_and_the_next_works(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest, error: Exception
) -> None:
    unet = Failing(pipeline.replay.unet, error, set(range(1, 1 + len(PLANS))))  # once by each plan
    fragile = with_parts(pipeline, unet=unet)
    with pytest.raises(InsufficientGpuMemory, match="64x64 with 2 frames") as caught:
        fragile.generate(picture, make_request())
    # What keeps the failed job's error, keeps none of its tensors.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    clip = fragile.generate(picture, make_request())
    assert np.array_equal(clip.frames, pipeline.generate(picture, make_request()).frames)


def test_out_of_memory_is_tried_again_by_a_smaller_plan_and_the_clip_is_the_same(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory.")
    expected = pipeline.generate(picture, make_request())
    assert expected.plan == "resident"
    for place, plan in enumerate(PLANS[1:], start=1):
        failures = set(range(2, 2 + place))  # of the first plan the second step, of the others the first
        fragile = with_parts(pipeline, unet=Failing(pipeline.replay.unet, error, failures))
        clip = fragile.generate(picture, make_request())
        assert clip.plan == plan.name
        assert np.abs(clip.frames.astype(int) - expected.frames).max() <= 1  # another batch size rounds otherwise


OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory.")


def test_where_graphs_hold_memory_the_same_plan_is_tried_again_without_them(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    fragile = with_parts(pipeline, unet=Failing(pipeline.replay.unet, OUT_OF_MEMORY, {2}))
    fragile.replay.held_bytes = 1
    clip = fragile.generate(picture, make_request())
    assert (clip.plan, fragile.replay.held_bytes) == ("resident", 0)
    assert np.array_equal(clip.frames, pipeline.generate(picture, make_request()).frames)


@pytest.mark.parametrize(("card_gib", "kept"), [(100, True), (1, False)])
def test_graphs_keep_only_what_the_plan_leaves_over(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest, card_gib: float, kept: bool
) -> None:
    other = with_parts(pipeline)
    other.card = dataclasses.replace(other.card, memory_bytes=int(card_gib * 2**30))
    other.replay.held_bytes = 2**30
    other.generate(picture, make_request())
    assert (other.replay.held_bytes > 0) is kept


@pytest.mark.parametrize("held", [0, 1])
def test_what_is_denoised_outlives_a_decoder_out_of_memory(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """The graphs make room for a frame; without any there is none to make here, and nothing is denoised again."""
    decoder = Failing(decoding.stock(pipeline.modules.vae), OUT_OF_MEMORY, {1})
    monkeypatch.setattr("serving.engine.decoding.stock", lambda vae: decoder)
    unet = Failing(pipeline.replay.unet, OUT_OF_MEMORY, set())
    fragile = with_parts(pipeline, decode_chunk=1, unet=unet)
    fragile.replay.held_bytes = held
    if held:
        clip = fragile.generate(picture, make_request())
        assert clip.plan == "resident"
        assert np.array_equal(clip.frames, pipeline.generate(picture, make_request()).frames)
    else:
        with pytest.raises(InsufficientGpuMemory) as caught:
            fragile.generate(picture, make_request())
        assert caught.value.__context__ is None
    assert unet.count == make_request().num_inference_steps


@pytest.mark.parametrize(
    ("message", "poisoned", "exhausted"),
    [
        ("CUDA error: device-side assert triggered", True, False),
        ("Triton Error [CUDA]: an illegal memory access was encountered", True, False),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", True, False),
        ("Triton Error [CUDA]: out of memory", False, True),
        ("CUDA error: out of memory", False, True),
        ("mat1 and mat2 shapes cannot be multiplied", False, False),
    ],
)
def test_what_an_error_says_of_the_card(message: str, poisoned: bool, exhausted: bool) -> None:
    error = RuntimeError(message)
    assert (card.is_poisoned(error), card.is_out_of_memory(error)) == (poisoned, exhausted)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}),
        ({"PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}, {"PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}),
        ({"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}, {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:64"}),
    ],
)
def test_what_the_allocator_was_told_by_either_name_stays(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, str], after: dict[str, str]
) -> None:
    environment = dict(before)
    monkeypatch.setattr(card.os, "environ", environment)
    card.grow_in_place()
    assert environment == after


def test_without_guidance_there_are_no_halves_to_part(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    unet = Failing(pipeline.replay.unet, torch.OutOfMemoryError("CUDA out of memory."), {1, 2, 3})
    with pytest.raises(InsufficientGpuMemory):
        with_parts(pipeline, unet=unet).generate(picture, make_request(guidance_scale=1.0))
    assert unet.count == 3


def test_other_errors_are_not_taken_for_lack_of_memory(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    unet = Failing(pipeline.replay.unet, RuntimeError("mat1 and mat2 shapes cannot be multiplied"), {1})
    with pytest.raises(RuntimeError, match="mat1"):
        with_parts(pipeline, unet=unet).generate(picture, make_request())


def test_a_card_that_cannot_hold_the_weights(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(InsufficientGpuMemory, match="weights"):
        Pipeline.load(locate(str(model_folder)), device="cpu")


def test_frames_that_are_not_numbers_fail_the_job(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    vae = copy.deepcopy(pipeline.modules.vae)
    vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(GenerationFailed, match="not numbers"):
        with_parts(pipeline, vae=vae).generate(picture, make_request())


def test_warm_up_runs_one_step_of_the_smallest_clip(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[VideoRequest] = []
    generate = pipeline.generate

    def shrunk(picture: Image.Image, request: VideoRequest) -> Any:
        seen.append(request)
        assert picture.size == (request.width, request.height)
        return generate(picture, request.model_copy(update={"width": 64, "height": 64}))

    monkeypatch.setattr(pipeline, "generate", shrunk)
    pipeline.warm_up()
    assert [(request.size, request.num_frames, request.num_inference_steps) for request in seen] == [("256x256", 8, 1)]
