"""Whether this service is alive and ready; open to all, so that probes need no key."""

from __future__ import annotations

from fastapi import APIRouter

from serving.admission import Admission
from serving.errors import ServiceUnavailable


def health_router(admission: Admission) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz", summary="Is the process alive?")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", summary="Can it take work now? 503 with the reasons when not")
    async def readyz() -> dict[str, str]:
        reasons = await admission.not_ready()
        if reasons:
            raise ServiceUnavailable(" ".join(reasons), retry_after_s=5)
        return {"status": "ready"}

    return router
