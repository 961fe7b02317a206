"""Checks of one value against what is allowed, each naming its field. Knows nothing of requests or models."""

from __future__ import annotations

import unicodedata

from serving.errors import InvalidParameter, InvalidPrompt
from serving.presets import Range

MAX_PROMPT_CHARACTERS = 2000


def text(field: str, value: str, *, most: int = MAX_PROMPT_CHARACTERS, may_be_empty: bool = False) -> str:
    """`value` without the white space around it.

    Raises:
        InvalidPrompt: it is empty, has over `most` characters, or is not text.
    """
    if not value.strip() and not may_be_empty:
        raise InvalidPrompt(f"{field}: is empty; say what should move, and how.", param=field)
    if len(value) > most:
        raise InvalidPrompt(
            f"{field}: {len(value)} characters given; at most {most} are allowed.",
            param=field,
        )
    if any(unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n\r" for character in value):
        raise InvalidPrompt(f"{field}: holds control characters or broken Unicode.", param=field)
    return value.strip()


def whole(field: str, given: int | None, allowed: Range, preset_default: int | None) -> int:
    """What was given, else the preset's, else the model's default.

    Raises:
        InvalidParameter: it is out of range.
    """
    value = given if given is not None else preset_default if preset_default is not None else allowed.default
    within(field, value, allowed)
    return int(value)


def within(field: str, value: float, allowed: Range) -> None:
    """Raises InvalidParameter where `value` is not."""
    if not allowed.low <= value <= allowed.high:
        raise out_of_range(field, value, f"{allowed.low:g} to {allowed.high:g}")


def out_of_range(field: str, given: object, allowed: str) -> InvalidParameter:
    """To be raised; the words of every refusal of a value."""
    return InvalidParameter(f"{field}: {str(given)[:100]} given; allowed: {allowed}.", param=field)
