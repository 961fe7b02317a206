"""What the user is told of a request that is legal and yet seldom gives a good clip. A caution never refuses."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator


class Caution(BaseModel):
    """One warning of the wire's `warnings`."""

    model_config = ConfigDict(frozen=True)

    code: str
    field: str
    """The request's field that it is about."""
    message: str
    """What was seen, as a sentence."""
    suggestion: str | None = None
    """What to do about it, as a sentence."""

    @model_validator(mode="before")
    @classmethod
    def _of_a_sentence(cls, value: Any) -> Any:
        # Jobs stored before cautions had fields hold sentences.
        return {"code": "notice", "field": "", "message": value} if isinstance(value, str) else value
