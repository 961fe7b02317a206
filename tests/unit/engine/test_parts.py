"""A clip of several parts on the built-in model: each is exactly the clip that its own picture, words and seed give."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from serving.engine.pipeline import Pipeline
from serving.engine.weights import locate
from serving.errors import Cancelled
from serving.joining import Joined, generate_parts, read_parts
from serving.parameters import VideoParameters
from serving.presets import BUILTIN
from serving.request import VideoRequest, resolve

PICTURE = Image.open(Path(__file__).parents[3] / "serving" / "assets" / "demo.jpg").resize((64, 48))
FIELDS = {"prompt": "the camera pans to the left", "seed": 3}
SMALL = {"width": 64, "height": 48, "num_frames": 4, "num_inference_steps": 2}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load(locate(BUILTIN), device="cpu")


def asked(pipeline: Pipeline, **fields: Any) -> VideoRequest:
    request = resolve(VideoParameters(**(FIELDS | fields)), pipeline.weights.profile, seed=0)
    return request.model_copy(update=SMALL)


def made(
    pipeline: Pipeline, picture: Image.Image = PICTURE, steps: list[tuple[int, int]] | None = None, **fields: Any
) -> Joined:
    request = asked(pipeline, **fields)
    return generate_parts(
        pipeline,
        read_parts(pipeline, picture, request),
        request,
        on_step=lambda *step: steps.append(step) if steps is not None else None,
        should_stop=lambda: False,
    )


def sent(frame: npt.NDArray[np.uint8]) -> Image.Image:
    """The frame as a picture that somebody submits."""
    png = io.BytesIO()
    Image.fromarray(frame).save(png, "PNG")
    return Image.open(png)


def test_the_next_segment_is_the_job_that_its_first_frame_as_a_picture_gives(pipeline: Pipeline) -> None:
    steps: list[tuple[int, int]] = []
    whole = made(pipeline, segments=3, loop="pingpong", steps=steps)
    first = made(pipeline).clip.frames
    second = made(pipeline, sent(first[-1]), seed=4).clip.frames
    third = made(pipeline, sent(second[-1]), seed=5).clip.frames
    forward = np.concatenate([first, second[1:], third[1:]])
    assert np.array_equal(whole.clip.frames, np.concatenate([forward, forward[-2:0:-1]]))
    # They depend on that frame: from the picture the same seed gives another clip.
    assert not np.array_equal(made(pipeline, seed=4).clip.frames[1:], second[1:])

    assert steps == [(step, 6) for step in range(1, 7)]
    begins = [
        {"source": "picture"},
        *(
            {"source": "part", "part": part, "frame": 3, "rgb_sha256": hashlib.sha256(frame.tobytes()).hexdigest()}
            for part, frame in ((1, first[-1]), (2, second[-1]))
        ),
    ]
    parts = [
        {
            "prompt": FIELDS["prompt"],
            "seed": 3 + part,
            "begins_with": begins[part],
            "dropped_frames": int(part > 0),
            "num_frames": 4 - int(part > 0),
        }
        for part in range(3)
    ]
    assert whole.recipe == {"num_frames": 18, "reversed_frames": 8, "parts": parts}
    assert set(whole.clip.timings) == {"condition", "denoise", "decode"}


def test_each_angle_is_the_job_of_its_words_and_seed(pipeline: Pipeline) -> None:
    whole = made(pipeline, prompt="A blue mug.", angles=["the camera pans to the left", "the camera zooms in"])
    assert whole.recipe is not None
    assert len(whole.clip.frames) == 8
    for number, part in enumerate(whole.recipe["parts"]):
        assert part["begins_with"] == {"source": "picture"}
        alone = made(pipeline, prompt=part["prompt"], seed=part["seed"]).clip.frames
        assert np.array_equal(whole.clip.frames[4 * number : 4 * number + 4], alone)
    assert [part["prompt"] for part in whole.recipe["parts"]] == [
        "A blue mug, the camera pans to the left",
        "A blue mug, the camera zooms in",
    ]


def test_a_plain_clip_has_no_recipe_of_parts(pipeline: Pipeline) -> None:
    assert made(pipeline).recipe is None


def test_a_cancel_between_two_parts_ends_the_clip(pipeline: Pipeline) -> None:
    request = asked(pipeline, segments=3)
    steps: list[int] = []
    with pytest.raises(Cancelled):
        generate_parts(
            pipeline,
            read_parts(pipeline, PICTURE, request),
            request,
            on_step=lambda step, _: steps.append(step),
            should_stop=lambda: len(steps) >= 2,
        )
    assert steps == [1, 2]
