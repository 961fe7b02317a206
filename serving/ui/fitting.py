"""Gradio's updates that fit the controls to a model: bounds, choices and values. Knows nothing of visits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from serving.ui.catalog import Catalog
from serving.ui.fields import FIELDS, Field, Model, standing
from serving.ui.words import Words

OWN = ""
"""The preset of those who name none, and the template that suits a title."""


class Fitting:
    """Updates in one language."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def anew(self, catalog: Catalog, model: str | None, preset: str = OWN) -> list[Any]:
        """Of the presets and every field, as they are before anybody has changed them."""
        name = catalog.served(model)
        values = standing(catalog.models[name], catalog.preset(name, preset))
        return [self.presets(catalog, name), *self.fields(catalog, name, values)]

    def presets(self, catalog: Catalog, model: str) -> Any:
        named = [(self._words.of("preset", name), name) for name in catalog.presets_of(model)]
        return gr.update(choices=[(self._words("preset_none"), OWN), *named], value=OWN)

    def templates(self, catalog: Catalog, model: str | None, category: str) -> Any:
        rows = catalog.templates_of(catalog.served(model), category)
        named = [(row["text"].format(subject=f"[{row['subject']}]"), row["template"]) for row in rows]
        return gr.update(choices=[(self._words("template_any"), OWN), *named], value=OWN)

    def fields(self, catalog: Catalog, model: str, values: Mapping[str, Any]) -> list[Any]:
        """Of each of FIELDS."""
        return [self._field(field, catalog.models[model], values[field.name]) for field in FIELDS]

    def _field(self, field: Field, model: Model, value: Any) -> Any:
        offered = field.offered(model)
        if field.kind == "range":
            low, high = field.bounds(model)
            return gr.update(minimum=low, maximum=high, value=value, visible=offered)
        if field.kind in ("text", "lines"):
            return gr.update(value=value, visible=offered)
        choices = [(self._words.of(field.name, name or "own"), name) for name in field.options(model)]
        return gr.update(choices=choices, value=value, visible=offered)
