"""Who is at work: the record each process of the service writes about itself every few seconds.

Knows nothing of HTTP, Ray or video; a card is whatever the worker says of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One live process. `role` is "generator", "dispatcher" or the like."""

    id: str
    role: str
    pool: str | None = None
    model: str | None = None
    card: dict[str, Any] | None = None
    """Name and memory of the card it holds, in JSON's types."""
    assists: str | None = None
    """The job of another card that its own one helps with."""
