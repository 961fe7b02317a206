"""A pool as deployed. Knows nothing of jobs, HTTP or Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from serving.presets import ModelProfile
from serving.scheduling.cards import CARDS, CardClass, recognise
from serving.settings import AUTO, PoolSettings

Card = Mapping[str, object]
"""A card as a worker reports it: its name, its memory in bytes, None where that is no limit, its compute capability."""


@dataclass(frozen=True)
class ServedPool:
    """A pool as deployed: its settings with the model and the bounds decided."""

    settings: PoolSettings
    model: str
    """Hub name, folder, or "builtin"."""
    profile: ModelProfile
    least: int = 1
    most: int = 1
    """Bounds of its replicas."""

    @property
    def name(self) -> str:
        return self.settings.name

    def card_class(self, card: Card | None) -> CardClass:
        """The class of its cards: as set, or for "auto" what `card` belongs to."""
        if self.settings.card != AUTO:
            return CARDS[self.settings.card]
        if card is None:
            return CARDS["cpu"]
        return recognise(str(card["name"]), memory_gib(card))


def memory_gib(card: Card) -> float:
    """0 where memory is no limit."""
    return float(str(card["memory_bytes"] or 0)) / 2**30


def compute_capability(card: Card) -> float:
    """0 where there is none."""
    return float(str(card.get("compute_capability") or 0))
