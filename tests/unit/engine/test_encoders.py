"""What was encoded is not encoded again, and nothing of that shows in the frames."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from serving.engine import encoders
from serving.engine.encoders import Recent
from serving.engine.pipeline import Pipeline
from serving.engine.weights import locate
from serving.errors import InsufficientGpuMemory
from serving.request import VideoRequest

MakeRequest = Callable[..., VideoRequest]


@pytest.fixture
def counted(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Pipeline, Counter[str]]:
    """A pipeline that has made nothing, and how often it used its encoders."""
    pipeline, calls = Pipeline.load(locate(str(model_folder)), device="cpu"), Counter[str]()

    def counting(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            calls[name] += 1
            return work(*args, **named)

        return call

    modules = pipeline.modules
    monkeypatch.setattr(modules.text_encoder, "forward", counting("text", modules.text_encoder.forward))
    monkeypatch.setattr(modules.image_encoder, "forward", counting("picture", modules.image_encoder.forward))
    monkeypatch.setattr(modules.vae, "encode", counting("latent", modules.vae.encode))
    return pipeline, calls


def test_a_repeated_prompt_and_picture_are_not_encoded_again(
    counted: tuple[Pipeline, Counter[str]], picture: Image.Image, make_request: MakeRequest
) -> None:
    pipeline, calls = counted

    def used(picture: Image.Image, **changes: Any) -> dict[str, int]:
        calls.clear()
        pipeline.generate(picture, make_request(num_inference_steps=1, **changes))
        return dict(calls)

    assert used(picture) == {"text": 2, "picture": 1, "latent": 1}
    assert used(picture.copy(), seed=1, guidance_scale=1.0, fps=24) == {}
    assert used(picture, prompt="a cat jumps") == {"text": 1}
    assert used(picture, prompt="blurry", negative_prompt="a cat jumps") == {}
    assert used(picture, width=72) == {"picture": 1, "latent": 1}
    other = picture.copy()
    other.putpixel((0, 0), (1, 2, 3))
    assert used(other) == {"picture": 1, "latent": 1}
    # As many bytes, in rows of another length.
    assert used(Image.frombytes("RGB", (32, 128), picture.tobytes())) == {"picture": 1, "latent": 1}


def test_what_was_kept_gives_the_frames_of_what_is_new(
    model_folder: Path, picture: Image.Image, make_request: MakeRequest
) -> None:
    """Bit by bit, whatever came before."""
    used, fresh = (Pipeline.load(locate(str(model_folder)), device="cpu") for _ in range(2))
    asked = make_request(seed=3)
    used.generate(picture, make_request(prompt=asked.negative_prompt, negative_prompt="a cat jumps"))
    used.generate(picture, make_request(guidance_scale=1.0))
    assert np.array_equal(used.generate(picture, asked).frames, fresh.generate(picture, asked).frames)


def test_what_was_read_ahead_gives_the_same_frames_each_time(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    reading = pipeline.read(picture, make_request())
    clips = [pipeline.generate(one, make_request()).frames for one in (picture, reading, reading)]
    assert np.array_equal(clips[0], clips[1])
    assert np.array_equal(clips[0], clips[2])


def test_out_of_memory_forgets_what_was_kept(
    counted: tuple[Pipeline, Counter[str]],
    picture: Image.Image,
    make_request: MakeRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pipeline, calls = counted

    def full(*args: Any, **named: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with monkeypatch.context() as short:
        short.setattr("serving.engine.sampler.denoise", full)
        with pytest.raises(InsufficientGpuMemory):
            pipeline.generate(picture, make_request())
    calls.clear()
    pipeline.generate(picture, make_request(num_inference_steps=1))
    assert calls == {"text": 2, "picture": 1, "latent": 1}


def test_only_what_must_be_encoded_wants_its_module(
    counted: tuple[Pipeline, Counter[str]], picture: Image.Image, make_request: MakeRequest
) -> None:
    pipeline, _ = counted
    first, other = (pipeline.read(picture, make_request(prompt=prompt)) for prompt in ("a cat jumps", "a dog runs"))
    assert set(pipeline.encoders.wanted(first.tokens, first.sight)) == {"text_encoder", "image_encoder", "vae"}
    pipeline.generate(first, make_request(prompt="a cat jumps"))
    assert set(pipeline.encoders.wanted(first.tokens, first.sight)) == set()
    assert set(pipeline.encoders.wanted(other.tokens, other.sight)) == {"text_encoder"}
    elsewhere = dataclasses.replace(first.sight, key="elsewhere")
    assert set(pipeline.encoders.wanted(first.tokens, elsewhere)) == {"image_encoder", "vae"}


def test_the_one_unused_for_longest_gives_way() -> None:
    made: list[str] = []
    recent: Recent[str] = Recent(2)
    for key in ("a", "b", "a", "c", "a", "b"):
        assert recent.get(key, lambda key=key: made.append(key) or key) == key
    assert made == ["a", "b", "c", "b"]
    assert "c" not in recent


def test_what_is_kept_takes_little_of_a_card() -> None:
    """The published model's embeddings and the largest pictures' latents, in float16."""
    prompt, picture = 77 * 1024 * 2, (1024 + 2 * 4 * 128 * 128) * 2
    assert encoders.PROMPTS * prompt + encoders.PICTURES * picture < 16 * 2**20
