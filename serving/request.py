"""What a submission means: a `VideoRequest`, with every value decided.

Knows nothing of HTTP, pictures' bytes, jobs or cards.
"""

from __future__ import annotations

import math
from typing import Any

from pydantic import BaseModel, ConfigDict

from serving.errors import InvalidParameter, ModelNotFound
from serving.framing import EDGE, background, frame_size, preset_of
from serving.limits import out_of_range, text, whole, within
from serving.montage import Loop, Montage, check_length, check_words, montage_of
from serving.parameters import MAX_SEED, Fit, Focus, Format, Priority, VideoParameters
from serving.presets import ModelProfile, Preset, target_size
from serving.scheduling.accelerations import ACCELERATIONS
from serving.scheduling.cost import Shape
from serving.scheduling.placement import Choices


class VideoRequest(BaseModel):
    """A request with every value decided; the same request on the same model and card gives the same frames."""

    model_config = ConfigDict(frozen=True)

    model: str
    prompt: str
    negative_prompt: str | None
    preset: str | None
    width: int
    height: int
    fit: Fit
    num_frames: int
    """Of each part."""
    fps: int
    num_inference_steps: int
    guidance_scale: float
    seed: int
    format: Format
    priority: Priority
    metadata: dict[str, str]
    focus: Focus = "auto"
    background: str = EDGE
    acceleration: tuple[str, ...] = ()
    """Names of `ACCELERATIONS`, in the order of that table."""
    segments: int = 1
    angles: tuple[str, ...] = ()
    loop: Loop = "none"
    deadline_s: float | None = None
    """Seconds from acceptance within which the clip is wanted."""

    @property
    def size(self) -> str:
        return f"{self.width}x{self.height}"

    @property
    def montage(self) -> Montage:
        return Montage(self.segments, self.angles, self.loop)

    @property
    def parts(self) -> tuple[VideoRequest, ...]:
        """Each part as a request of its own: on the picture it begins with, that gives the part's frames."""
        montage = self.montage
        alone: dict[str, Any] = {"segments": 1, "angles": (), "loop": "none"}
        said = zip(montage.prompts(self.prompt), montage.seeds(self.seed), strict=True)
        return tuple(self.model_copy(update=alone | {"prompt": prompt, "seed": seed}) for prompt, seed in said)

    @property
    def all_frames(self) -> int:
        """Frames in the whole clip."""
        return self.montage.total(self.num_frames)

    @property
    def all_steps(self) -> int:
        """Denoising steps of all parts."""
        return self.montage.parts * self.num_inference_steps

    @property
    def duration_s(self) -> float:
        return self.all_frames / self.fps

    @property
    def guided(self) -> bool:
        """Whether each step runs the unconditional half too."""
        return self.guidance_scale > 1.0

    @property
    def shape(self) -> Shape:
        """What decides the cost."""
        return Shape(
            self.width,
            self.height,
            self.num_frames,
            self.num_inference_steps,
            self.guided,
            self.acceleration,
            self.montage.parts,
        )


def resolve(parameters: VideoParameters, profile: ModelProfile, *, seed: int) -> VideoRequest:
    """Decide every value; `seed` is used where none was given.

    The size is that of a square picture until `frame_size` has seen the real one.

    Raises:
        InvalidPrompt, InvalidParameter, ModelNotFound: naming the first field at fault.
    """
    if parameters.model not in (None, profile.name):
        raise ModelNotFound(f"model: {parameters.model!r} is not served here.", param="model")
    preset = preset_of(parameters, profile)
    fps = whole("fps", parameters.fps, profile.fps, preset.fps if preset else None)
    scale = profile.guidance_scale
    guidance = scale.default if parameters.guidance_scale is None else parameters.guidance_scale
    within("guidance_scale", guidance, scale)
    acceleration = _acceleration(parameters, profile, guidance)
    if parameters.seed is not None and not 0 <= parameters.seed <= MAX_SEED:
        raise out_of_range("seed", parameters.seed, "0 to 2**63 - 1")
    if parameters.deadline is not None and parameters.deadline <= 0:
        raise out_of_range("deadline", parameters.deadline, "more than 0 seconds")
    width, height = frame_size(parameters, profile, (1, 1))
    prompt = text("prompt", parameters.prompt)
    montage = montage_of(parameters.segments, parameters.angles, parameters.loop)
    check_words(montage, prompt)
    num_frames = _num_frames(parameters, profile, fps, preset.num_frames if preset else None, montage)
    check_length(montage, num_frames)
    return VideoRequest(
        model=profile.name,
        prompt=prompt,
        negative_prompt=_negative_prompt(parameters, profile),
        preset=parameters.preset,
        width=width,
        height=height,
        fit=parameters.fit or "crop",
        focus=parameters.focus or "auto",
        background=background(parameters),
        num_frames=num_frames,
        fps=fps,
        num_inference_steps=_steps(parameters, profile, preset, acceleration),
        guidance_scale=guidance,
        seed=seed if parameters.seed is None else parameters.seed,
        format=parameters.format or "mp4",
        priority=parameters.priority or "interactive",
        metadata=parameters.metadata or {},
        acceleration=acceleration,
        segments=montage.segments,
        angles=montage.angles,
        loop=montage.loop,
        deadline_s=parameters.deadline,
    )


def reworded(request: VideoRequest, prompt: str) -> VideoRequest:
    """The same with another prompt, its seed included.

    Raises:
        InvalidPrompt: the prompt is empty, too long, or not text.
    """
    prompt = text("prompt", prompt)
    check_words(request.montage, prompt)
    return request.model_copy(update={"prompt": prompt})


def choices(request: VideoRequest, profile: ModelProfile) -> Choices:
    """What else could be asked for, in the clip's aspect."""
    aspect = request.width / request.height
    sizes = {name: target_size(side, aspect) for name, side in profile.resolutions.items()}
    return Choices(int(profile.num_frames.low), sizes)


def _num_frames(
    parameters: VideoParameters, profile: ModelProfile, fps: int, preset_default: int | None, montage: Montage
) -> int:
    """Of each part."""
    allowed = profile.num_frames
    if parameters.seconds is None:
        return whole("num_frames", parameters.num_frames, allowed, preset_default)
    if parameters.num_frames is not None:
        raise InvalidParameter("seconds: cannot be given together with num_frames.", param="seconds")
    length = parameters.seconds * fps  # infinite where seconds are near the largest number there is
    frames, each = (round(n) if math.isfinite(n) else n for n in (length, montage.each(length)))
    if not allowed.low <= each <= allowed.high:
        least, most = montage.total(int(allowed.low)), montage.total(int(allowed.high))
        raise InvalidParameter(
            f"seconds: {parameters.seconds:g} s at {fps} fps is {frames:g} frames; allowed are {least} to "
            f"{most} frames, {least / fps:g} to {most / fps:g} s at this rate.",
            param="seconds",
        )
    return int(each)


def _acceleration(parameters: VideoParameters, profile: ModelProfile, guidance_scale: float) -> tuple[str, ...]:
    asked, field = parameters.acceleration or [], "acceleration"
    for name in asked:
        if name not in profile.accelerations:
            offered = ", ".join(profile.accelerations) or f"none, {profile.name} offers none"
            raise out_of_range(field, name, offered)
        if asked.count(name) > 1:
            raise InvalidParameter(f"{field}: {name} given twice.", param=field)
        row = ACCELERATIONS[name]
        if excluded := [other for other in row.excludes if other in asked]:
            raise InvalidParameter(f"{field}: {name} and {excluded[0]} exclude each other.", param=field)
        if row.needs_guidance and guidance_scale <= 1:
            raise InvalidParameter(f"{field}: {name} needs a guidance_scale over 1.", param=field)
    return tuple(name for name in ACCELERATIONS if name in asked)


def _negative_prompt(parameters: VideoParameters, profile: ModelProfile) -> str | None:
    if parameters.negative_prompt is None:
        return profile.negative_prompt
    if profile.negative_prompt is None:
        raise InvalidParameter(
            f"negative_prompt: the model {profile.name} takes no negative prompt.", param="negative_prompt"
        )
    return text("negative_prompt", parameters.negative_prompt, may_be_empty=True)


def _steps(
    parameters: VideoParameters, profile: ModelProfile, preset: Preset | None, acceleration: tuple[str, ...]
) -> int:
    """As asked for; else the preset's or the model's, or what an acceleration makes of them."""
    allowed = profile.num_inference_steps
    usual = allowed.default if preset is None else preset.num_inference_steps
    share = min((ACCELERATIONS[name].steps_share for name in acceleration), default=1.0)
    fewer = max(int(allowed.low), math.ceil(usual * share))
    return whole("num_inference_steps", parameters.num_inference_steps, allowed, fewer)
