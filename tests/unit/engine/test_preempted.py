"""A clip that gives way to another between two steps, on a small random model: both are what they are alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from serving.engine.contract import Clip
from serving.engine.pipeline import Pipeline
from serving.engine.replay import Replay
from serving.errors import Cancelled
from serving.request import VideoRequest
from serving.scheduling.plans import PLANS

MakeRequest = Callable[..., VideoRequest]


def once_at(step: int, other: Callable[[], object]) -> Callable[[], Callable[[], object] | None]:
    """Gives way when it is asked for the `step`-th time."""
    asked: Iterator[Callable[[], object] | None] = iter([*[None] * (step - 1), other])
    return lambda: next(asked, None)


@pytest.mark.parametrize("shorter", [{"seed": 2}, {"seed": 2, "num_frames": 3}, {"seed": 2, "guidance_scale": 1.0}])
@pytest.mark.parametrize("accelerations", [(), ("deepcache",)])
def test_both_clips_are_what_they_are_alone(
    pipeline: Pipeline,
    picture: Image.Image,
    make_request: MakeRequest,
    shorter: dict[str, object],
    accelerations: tuple[str, ...],
) -> None:
    long = make_request(seed=1, num_inference_steps=6, acceleration=accelerations)
    short = make_request(num_inference_steps=2, **shorter)
    alone = [pipeline.generate(picture, request).frames for request in (long, short)]
    between: list[Clip] = []
    give_way = once_at(3, lambda: between.append(pipeline.generate(picture, short, plan=PLANS[-1])))
    clip = pipeline.generate(picture, long, give_way=give_way)
    assert np.array_equal(clip.frames, alone[0])
    assert np.abs(between[0].frames.astype(int) - alone[1]).max() <= 1  # by another plan, and so other roundings
    assert clip.preempted_s > 0
    assert not pipeline.replay.unet.chunked


def test_what_it_gave_way_to_is_not_in_its_timings(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    for module in ("pipeline", "pause"):
        monkeypatch.setattr(f"serving.engine.{module}.time.perf_counter", lambda: now[0])

    def hour() -> None:
        now[0] += 3600.0

    clip = pipeline.generate(picture, make_request(num_inference_steps=4), give_way=once_at(2, hour))
    assert clip.preempted_s == 3600.0
    assert clip.timings["denoise"] < 60.0


def test_it_is_asked_between_steps_with_those_before_told(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    told: list[int] = []
    seen: list[int] = []

    def give_way() -> None:
        seen.append(len(told))

    request = make_request(num_inference_steps=4)
    pipeline.generate(picture, request, on_step=lambda step, _: told.append(step), give_way=give_way)
    assert seen == [1, 2, 3]


def test_one_that_was_cancelled_meanwhile_does_no_further_step(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest
) -> None:
    told: list[int] = []
    cancelled = False

    def cancel() -> None:
        nonlocal cancelled
        cancelled = True

    with pytest.raises(Cancelled):
        pipeline.generate(
            picture,
            make_request(num_inference_steps=4),
            on_step=lambda step, _: told.append(step),
            should_stop=lambda: cancelled,
            give_way=once_at(2, cancel),
        )
    assert told == [1, 2]


def test_where_memory_is_short_after_it_the_same_plan_is_tried_again(
    pipeline: Pipeline, picture: Image.Image, make_request: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = make_request(num_inference_steps=4)
    alone = pipeline.generate(picture, request).frames
    whole, fails = Replay._step, False

    def step(self: Replay, *args: Any) -> Any:
        nonlocal fails
        if fails:
            fails = False
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(self, *args)

    def leaves_no_room() -> None:
        nonlocal fails
        fails = True

    monkeypatch.setattr(Replay, "_step", step)
    clip = pipeline.generate(picture, request, give_way=once_at(2, leaves_no_room))
    assert clip.plan == PLANS[0].name
    assert np.array_equal(clip.frames, alone)
