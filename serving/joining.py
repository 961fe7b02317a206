"""A clip of several parts on one loaded model: one part after the other, their frames joined.

Knows nothing of HTTP, Ray, jobs or MP4, and imports no PyTorch.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from serving.engine.contract import Clip, GiveWay, LoadedModel, OnStep, ShouldStop
from serving.engine.link import Meeting
from serving.montage import Montage
from serving.request import VideoRequest
from serving.scheduling.plans import PLANS, MemoryPlan

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Joined:
    """What the parts gave together."""

    clip: Clip
    """All frames in the order they are shown, the seconds of all parts, and the most memory that one took."""
    recipe: dict[str, Any] | None
    """How it was put together, for the clip's recipe; None of a clip that is one part, played forward."""


def read_parts(model: LoadedModel, picture: Image.Image, request: VideoRequest) -> tuple[Any, ...]:
    """What `model` reads of each part that begins with the picture; for any thread."""
    parts = request.parts[:1] if request.montage.chained else request.parts
    return tuple(model.read(picture, part) for part in parts)


def generate_parts(
    model: LoadedModel,
    readings: Sequence[Any],
    request: VideoRequest,
    *,
    on_step: OnStep,
    should_stop: ShouldStop,
    plan: MemoryPlan = PLANS[0],
    meeting: Meeting | None = None,
    give_way: GiveWay | None = None,
) -> Joined:
    """The clip of one request, part by part.

    Args:
        readings: by `read_parts`, of the same request.
        on_step: told (steps done, steps in all), of all parts.
        should_stop: asked before each step of each part, and while it is decoded.
        plan: the memory plan that each part begins with.
        meeting: where a second card waits to help; with a clip of several parts none does.
        give_way: asked between two steps of a part for what is to be done first.

    Raises:
        I2VError: as `generate` of a model.
    """
    parts, clips = request.parts, list[Clip]()
    for index, part in enumerate(parts):
        # A frame, not its latents: the part is what that frame, sent as a picture, gives.
        begin = readings[index] if index < len(readings) else model.read(_last_frame(clips[-1]), part)
        clips.append(
            model.generate(
                begin,
                part,
                on_step=partial(_tell, on_step, index, len(parts)),
                should_stop=should_stop,
                plan=plan,
                meeting=meeting if len(parts) == 1 else None,
                give_way=give_way,
            )
        )
    if request.montage.plain:
        return Joined(clips[0], None)
    frames = _frames(request.montage, clips)
    return Joined(_summed(clips, frames, plan), _recipe(request, clips, len(frames)))


def _tell(on_step: OnStep, part: int, parts: int, step: int, steps: int) -> None:
    on_step(part * steps + step, parts * steps)


def _last_frame(clip: Clip) -> Image.Image:
    return Image.fromarray(clip.frames[-1])


def _frames(montage: Montage, clips: list[Clip]) -> Frames:
    kept = [clip.frames[montage.dropped(index) :] for index, clip in enumerate(clips)]
    forward = np.concatenate(kept)
    return forward if montage.loop == "none" else np.concatenate([forward, forward[-2:0:-1]])


def _summed(clips: list[Clip], frames: Frames, plan: MemoryPlan) -> Clip:
    seconds: Counter[str] = Counter()
    for clip in clips:
        seconds.update(clip.timings)
    peaks = [clip.peak_memory_bytes for clip in clips if clip.peak_memory_bytes is not None]
    smaller = [clip.plan for clip in clips if clip.plan != plan.name]
    return Clip(
        frames=frames,
        timings=dict(seconds),
        peak_memory_bytes=max(peaks, default=None),
        plan=smaller[-1] if smaller else plan.name,
        shared_steps=sum(clip.shared_steps for clip in clips),
        preempted_s=sum(clip.preempted_s for clip in clips),
    )


def _recipe(request: VideoRequest, clips: list[Clip], shown: int) -> dict[str, Any]:
    montage, parts, forward = request.montage, list[dict[str, Any]](), 0
    for index, (part, clip) in enumerate(zip(request.parts, clips, strict=True)):
        dropped = montage.dropped(index)
        made = {
            "prompt": part.prompt,
            "seed": part.seed,
            "begins_with": _frame_of(index, clips[index - 1]) if dropped else {"source": "picture"},
            "dropped_frames": dropped,
            "num_frames": len(clip.frames) - dropped,
        }
        parts.append(made)
        forward += len(clip.frames) - dropped
    return {"num_frames": shown, "reversed_frames": shown - forward, "parts": parts}


def _frame_of(part: int, clip: Clip) -> dict[str, Any]:
    """The last frame of the clip of part `part`, counted from 1; frames count from 0."""
    digest = hashlib.sha256(clip.frames[-1].tobytes()).hexdigest()
    return {"source": "part", "part": part, "frame": len(clip.frames) - 1, "rgb_sha256": digest}
