"""What this service serves: models and presets."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from serving.errors import ModelNotFound
from serving.models import Models
from serving.presets import ModelProfile


def catalog_router(served: Models) -> APIRouter:
    router = APIRouter()

    @router.get("/v1/models", tags=["catalog"], summary="Models, with their ranges and defaults")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [model_row(profile) for profile in served.profiles.values()]}

    @router.get("/v1/models/{name}", tags=["catalog"], summary="One model")
    async def model(name: str) -> dict[str, Any]:
        if name not in served.profiles:
            raise ModelNotFound(f"model: {name[:100]!r} is not served here.", param="model")
        return model_row(served.profiles[name])

    @router.get("/v1/presets", tags=["catalog"], summary="Presets of every model")
    async def presets() -> dict[str, Any]:
        rows = [
            {"name": name, "model": profile.name, **preset.model_dump()}
            for profile in served.profiles.values()
            for name, preset in profile.presets.items()
        ]
        return {"object": "list", "data": rows}

    return router


def model_row(profile: ModelProfile) -> dict[str, Any]:
    """A model as GET /v1/models has it."""
    limits = profile.model_dump(exclude={"name", "cost", "presets", "guidance_advice"})
    return {"id": profile.name, "object": "model", "created": 0, "owned_by": "i2v", "parameters": limits}
