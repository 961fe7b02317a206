"""The advanced parameters, one row each: where ranges and defaults come from, and what goes into a submission.

Rows speak of a model as GET /v1/models has it, and of a preset as GET /v1/presets has it. Knows nothing of Gradio.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from serving.framing import EDGE
from serving.montage import MAX_SEGMENTS, Loop
from serving.parameters import Fit, Focus, Format, Priority, as_text

Model = Mapping[str, Any]
"""The `parameters` of one row of GET /v1/models."""
Kind = Literal["range", "choice", "choices", "text", "lines"]
"""Lines are a list of texts."""
AS_PICTURE = ""
ASPECTS = {AS_PICTURE: 0.0, "16:9": 16 / 9, "4:3": 4 / 3, "1:1": 1.0, "3:4": 3 / 4, "9:16": 9 / 16}


@dataclass(frozen=True)
class Field:
    """One control; `name` is the API's, and that of its words."""

    name: str
    kind: Kind
    default: Callable[[Model], Any]
    options: Callable[[Model], Sequence[str]] = lambda model: ()
    """Of a choice."""
    step: float = 1
    """Of a range."""
    most: float | None = None
    """Of a range from 1; where None, the model has its bounds under the field's name."""
    lines: int = 1
    """Shown of a text."""
    offered: Callable[[Model], bool] = lambda model: True
    """Whether the model takes it at all."""
    recall: Callable[[Mapping[str, Any], Model], Any] | None = None
    """Its value in the `parameters` of a video; by default what stands there under its name."""

    def bounds(self, model: Model) -> tuple[float, float]:
        """Of a range."""
        return (model[self.name]["low"], model[self.name]["high"]) if self.most is None else (1, self.most)

    def recalled(self, parameters: Mapping[str, Any], model: Model) -> Any:
        value = parameters.get(self.name) if self.recall is None else self.recall(parameters, model)
        return self.default(model) if value is None else value


def _range(name: str, step: float = 1) -> Field:
    whole = step == 1
    return Field(name, "range", lambda model: (int if whole else float)(model[name]["default"]), step=step)


def _choice(name: str, options: Sequence[str]) -> Field:
    return Field(name, "choice", lambda model: options[0], lambda model: options)


def _resolution_of(parameters: Mapping[str, Any], model: Model) -> str:
    side = (parameters["width"] * parameters["height"]) ** 0.5
    sides: dict[str, int] = model["resolutions"]
    return min(sides, key=lambda name: abs(sides[name] - side))


def _aspect_of(parameters: Mapping[str, Any], model: Model) -> str:
    """The listed one that it is nearly, which gives the same size as the picture's own would."""
    aspect = parameters["width"] / parameters["height"]
    return next((name for name, listed in ASPECTS.items() if abs(aspect - listed) < 0.02 * listed), AS_PICTURE)


FIELDS = (
    Field(
        "resolution",
        "choice",
        lambda model: model["default_resolution"],
        lambda model: list(model["resolutions"]),
        recall=_resolution_of,
    ),
    Field("aspect_ratio", "choice", lambda model: AS_PICTURE, lambda model: list(ASPECTS), recall=_aspect_of),
    _range("num_frames"),
    _range("fps"),
    _range("num_inference_steps"),
    _range("guidance_scale", step=0.1),
    Field("seed", "text", lambda model: "", recall=lambda parameters, model: str(parameters["seed"])),
    Field(
        "negative_prompt",
        "text",
        lambda model: model["negative_prompt"] or "",
        lines=2,
        offered=lambda model: model["negative_prompt"] is not None,
    ),
    Field("segments", "range", lambda model: 1, most=MAX_SEGMENTS),
    Field(
        "angles",
        "lines",
        lambda model: "",
        lines=2,
        recall=lambda parameters, model: "\n".join(" ".join(angle.split()) for angle in parameters.get("angles") or ()),
    ),
    _choice("loop", get_args(Loop)),
    Field(
        "acceleration",
        "choices",
        lambda model: [],
        lambda model: list(model["accelerations"]),
        offered=lambda model: bool(model["accelerations"]),
    ),
    _choice("fit", get_args(Fit)),
    _choice("focus", get_args(Focus)),
    Field("background", "text", lambda model: EDGE),
    _choice("format", get_args(Format)),
    _choice("priority", get_args(Priority)),
)


def standing(model: Model, preset: Mapping[str, Any] | None) -> dict[str, Any]:
    """Every field's value before anybody has changed it."""
    own = preset or {}
    return {field.name: own.get(field.name) or field.default(model) for field in FIELDS}


def asked(values: Mapping[str, Any], model: Model, preset: Mapping[str, Any] | None) -> dict[str, Any]:
    """What of `values` a submission has to name: those that model and preset would not give by themselves."""
    before = standing(model, preset)
    named = {}
    for field in FIELDS:
        value = values.get(field.name)
        if field.kind == "lines":
            value = [line for line in map(str.strip, (value or "").splitlines()) if line] or before[field.name]
        if field.offered(model) and value is not None and value != before[field.name]:
            named[field.name] = as_text(field.name, value) if isinstance(value, list) else value
    return named


def recalled(parameters: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """Every field's value as a finished video had it."""
    return {field.name: field.recalled(parameters, model) for field in FIELDS}
