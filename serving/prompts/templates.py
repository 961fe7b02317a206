"""Templates: prompts with a gap for a thing, with parameters and negative prompts that suit them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.presets import I2VGEN_XL, ModelProfile, Range

Parameters = Mapping[str, Any]
"""Values by the API's names."""


@dataclass(frozen=True)
class Template:
    """One way to move a thing of its category."""

    name: str
    text: str
    """With "{subject}" where the thing's name goes, after "the"."""
    subject: str
    """An example of the thing."""
    suits: str = ""
    """Words of titles that it is for; empty where it suits any thing of the category."""
    avoid: str = ""
    """Joins the negative prompt."""

    def about(self, subject: str) -> str:
        """The prompt for a thing."""
        return self.text.format(subject=subject)


@dataclass(frozen=True)
class Category:
    """Things that move alike."""

    name: str
    also: str
    """Other words for it."""
    parameters: Parameters
    avoid: str
    """Joins the negative prompt."""
    templates: tuple[Template, ...]

    def negative_prompt(self, template: Template, profile: ModelProfile) -> str | None:
        """The model's own with what goes wrong with these things; None where the model takes none."""
        if profile.negative_prompt is None:
            return None
        return ", ".join(term for term in (profile.negative_prompt, self.avoid, template.avoid) if term)


def allowed(parameters: Parameters, profile: ModelProfile) -> dict[str, Any]:
    """Of `parameters`, those that suit the model; its own defaults take the others' place.

    They were chosen for I2VGen-XL: a value suits where it is legal, and the model's default is I2VGen-XL's own. A model
    of four steps is not asked for fifty.
    """
    return {name: value for name, value in parameters.items() if _suits(name, value, profile)}


def _suits(name: str, value: Any, profile: ModelProfile) -> bool:
    if name == "resolution":
        return value in profile.resolutions and profile.default_resolution == I2VGEN_XL.default_resolution
    limits: Range = getattr(profile, name)
    usual: Range = getattr(I2VGEN_XL, name)
    return bool(limits.low <= value <= limits.high) and limits.default == usual.default
