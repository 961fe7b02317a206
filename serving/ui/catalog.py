"""What a service offers, read once and kept for a while: models, presets, templates."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serving.ui.api import Api, Row
from serving.ui.fields import Model

KEPT_S = 60.0


@dataclass(frozen=True)
class Catalog:
    """The rows of the API, of every model that is served."""

    models: Mapping[str, Model]
    """Ranges and defaults by a model's name, the default one first."""
    presets: Sequence[Row]
    templates: Mapping[str, Sequence[Row]]
    """By a model's name, whose parameters they have."""
    read_at: float = field(default_factory=time.monotonic)

    @classmethod
    async def read(cls, api: Api) -> Catalog:
        """Raises ApiError."""
        models = {row["id"]: row["parameters"] for row in await api.models()}
        templates = {name: await api.templates(name) for name in models}
        return cls(models, await api.presets(), templates)

    @property
    def old(self) -> bool:
        return time.monotonic() - self.read_at > KEPT_S

    def served(self, model: str | None) -> str:
        """That model, or the default one where it is not served, or no longer."""
        return model if model is not None and model in self.models else next(iter(self.models))

    def preset(self, model: str, name: str) -> Row | None:
        """The row; None where the model has none of that name."""
        return next((row for row in self.presets if (row["model"], row["name"]) == (model, name)), None)

    def presets_of(self, model: str) -> list[str]:
        return [row["name"] for row in self.presets if row["model"] == model]

    def categories(self, model: str) -> list[str]:
        return list(dict.fromkeys(row["category"] for row in self.templates[model]))

    def templates_of(self, model: str, category: str) -> list[Row]:
        return [row for row in self.templates[model] if row["category"] == category]
