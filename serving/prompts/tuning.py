"""What to try next where a finished clip disappoints. Looks at the request alone, never at the frames."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from serving.presets import ModelProfile, Range
from serving.prompts.templates import allowed
from serving.request import VideoRequest

GUIDANCE = (10.0, 12.0)
STEPS = (60, 80)
"""Of I2VGen-XL, where motion is weak or warped; for other models only as far as they allow them."""


class Hint(BaseModel):
    """One way on."""

    model_config = ConfigDict(frozen=True)

    symptom: str
    """What may be wrong with the clip."""
    message: str
    """What to do, as a sentence."""
    parameters: dict[str, Any]
    """The same as values by the API's names, to submit again with."""


def hints(request: VideoRequest, profile: ModelProfile) -> tuple[Hint, ...]:
    """What could be tried after `request`: against weak or warped motion, and where it took too much."""
    found = []
    stronger = allowed(
        {
            "guidance_scale": GUIDANCE[0] if request.guidance_scale < GUIDANCE[0] else GUIDANCE[1],
            "num_inference_steps": STEPS[0] if request.num_inference_steps < STEPS[0] else STEPS[1],
        },
        profile,
    )
    if request.num_inference_steps >= STEPS[1]:
        stronger.pop("num_inference_steps", None)
    stronger = {name: value for name, value in stronger.items() if value != getattr(request, name)}
    more = f"{_said(stronger)}, or " if stronger else ""
    message = f"Try {more}a clearer picture with a larger subject."
    found.append(Hint(symptom="weak_or_warped_motion", message=message, parameters=stronger))
    smaller = _smaller(request, profile)
    if smaller:
        message = f"Try {_said(smaller)}."
        found.append(Hint(symptom="too_large_or_slow", message=message, parameters=smaller))
    return tuple(found)


def _smaller(request: VideoRequest, profile: ModelProfile) -> dict[str, Any]:
    """Half the frames, and the next smaller area class, as far as the model has them."""
    limits: Range = profile.num_frames
    frames = max(int(limits.low), request.num_frames // 2)
    area = request.width * request.height * 0.9
    below = [(side, name) for name, side in profile.resolutions.items() if side**2 < area]
    found: dict[str, Any] = {"num_frames": frames} if frames < request.num_frames else {}
    return found | ({"resolution": max(below)[1]} if below else {})


def _said(parameters: dict[str, Any]) -> str:
    return " and ".join(
        f"{name} {value:g}" if name != "resolution" else f"{name} {value}" for name, value in parameters.items()
    )
