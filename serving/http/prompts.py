"""The routes of /v1/prompts: templates, and prompts for products. Knows no pictures and no jobs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from serving.cautions import Caution
from serving.models import Models
from serving.parameters import VideoParameters
from serving.prompts.composing import templates_of, write
from serving.request import resolve

Category = Annotated[str | None, Query(description="Such as food, or another word for it, such as drinks.")]
Model = Annotated[str | None, Query(description="Whose parameters; the first model of GET /v1/models by default.")]


class PromptTemplate(BaseModel):
    """A template, filled with an example or with a product."""

    template: str
    category: str
    text: str
    subject: str
    """What fills the text's gap."""
    prompt: str
    parameters: dict[str, Any]
    """Of a submission, as far as the model allows them."""
    negative_prompt: str | None
    """The model's own and what goes wrong with such things; null where the model takes none."""


class PromptTemplates(BaseModel):
    object: str = "list"
    data: list[PromptTemplate]


class ComposedPrompt(PromptTemplate):
    """All of a submission but the picture."""

    object: str = "prompt"
    warnings: list[Caution]


def prompts_router(models: Models) -> APIRouter:
    router = APIRouter(prefix="/v1/prompts", tags=["prompts"])

    @router.get("/templates", summary="Templates by category, with parameters and negative prompts")
    async def templates(category: Category = None, model: Model = None) -> PromptTemplates:
        found = templates_of(category, models.profile(model))
        return PromptTemplates(data=[PromptTemplate(**written.row()) for written in found])

    @router.get("/compose", summary="A prompt from a product's title and category")
    async def compose(
        title: Annotated[str, Query(description="As a shop writes it, in English.")],
        category: Category = None,
        template: Annotated[str | None, Query(description="By name; by the title's words by default.")] = None,
        model: Model = None,
    ) -> ComposedPrompt:
        """Either `category` or `template` is needed. Nothing is queued."""
        profile = models.profile(model)
        written = write(title, category, profile, template)
        request = resolve(VideoParameters(**written.fields()), profile, seed=0)
        warnings = await asyncio.to_thread(models.lint, request)
        return ComposedPrompt(**written.row(), warnings=list(warnings))

    return router
