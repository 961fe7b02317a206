"""What a user may ask: `VideoParameters` as sent, and its values as text. Knows nothing of what they mean."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from serving.montage import Loop

MAX_SEED = 2**63 - 1
METADATA_ENTRIES = 16

Format = Literal["mp4", "webm", "gif"]
Fit = Literal["crop", "pad"]
Focus = Literal["auto", "center"]
Priority = Literal["interactive", "batch"]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
MetadataValue = Annotated[str, StringConstraints(max_length=512, pattern=r"^[^\x00-\x1f\x7f]*$")]


def _listed(value: object) -> object:
    """Names with commas between them as a list."""
    return [name for name in map(str.strip, value.split(",")) if name] if isinstance(value, str) else value


def _from_json(value: object) -> object:
    """A list as JSON text as a list: what is in it may have commas of its own."""
    try:
        return json.loads(value or "[]") if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


class VideoParameters(BaseModel):
    """One submission as sent, apart from the picture; what is left out takes the preset's or the model's default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: str = Field(description="What should move, and how, in English.")
    model: str | None = Field(None, description="A model of GET /v1/models; the first one by default.")
    preset: str | None = Field(None, description="A row of GET /v1/presets; explicit parameters override it.")
    resolution: str | None = Field(None, description='Area class, such as "512p"; the aspect is the picture\'s.')
    size: str | None = Field(None, description='"WIDTHxHEIGHT" in pixels; excludes resolution and aspect_ratio.')
    aspect_ratio: str | None = Field(None, description='"WIDTH:HEIGHT" between 9:16 and 16:9.')
    fit: Fit | None = Field(None, description="How a picture of another aspect is fitted: crop (default) or pad.")
    focus: Focus | None = Field(None, description="What a crop keeps: auto, the subject (default); or the center.")
    background: str | None = Field(
        None,
        description="What padding and transparent parts are filled with: a colour such as #ffffff; edge, the border's "
        "own (default); or blur, the picture itself, blurred. With edge and blur transparent parts are white.",
    )
    num_frames: int | None = Field(None, description="Frames in the clip, or in each of its parts.")
    seconds: float | None = Field(
        None,
        description="Length of the clip: seconds x fps frames, or as near as parts allow. Excludes num_frames.",
    )
    fps: int | None = Field(None, description="Frames a second: playback rate and motion condition.")
    num_inference_steps: int | None = Field(None, description="Denoising steps.")
    guidance_scale: float | None = Field(None, description="Classifier-free guidance; 1.0 turns it off.")
    negative_prompt: str | None = Field(None, description="What should not appear.")
    seed: int | None = Field(None, description="0 to 2**63 - 1; random where left out, and always reported.")
    acceleration: Annotated[list[str], BeforeValidator(_listed)] | None = Field(
        None, description="Ways to a clip in less time that change it, a list or with commas between; none by default."
    )
    segments: int | None = Field(
        None, description="1 (default) to 8 parts, each begun with the last frame of the one before."
    )
    angles: Annotated[list[str], BeforeValidator(_from_json)] | None = Field(
        None,
        description="2 to 6 parts, one after the other, each begun with the picture: what each adds to the prompt. "
        "A list, or one as JSON text. Excludes segments.",
    )
    loop: Loop | None = Field(None, description="none (default), or pingpong: forward, then backward.")
    format: Format | None = Field(None, description="mp4 (default), webm or gif.")
    priority: Priority | None = Field(None, description="interactive (default) goes before batch.")
    deadline: float | None = Field(None, description="Seconds from now within which the clip is wanted.")
    webhook_url: str | None = Field(None, description="Where the video's end is told, signed; http or https.")
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=METADATA_ENTRIES)] | None = Field(
        None, description="Up to 16 notes of your own, returned with the video."
    )


def as_text(name: str, value: Any) -> str:
    """A field's value as one field of a form, which `VideoParameters` reads as that value again."""
    if isinstance(value, list | tuple):
        return json.dumps(value, ensure_ascii=False) if name == "angles" else ",".join(map(str, value))
    return str(value)
