"""The whole HTTP application over one `VideoService`."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp

from serving.http import errors
from serving.http.auth import Guard
from serving.http.catalog import catalog_router
from serving.http.exposition import Expose, exposition_router, nothing_exposed
from serving.http.health import health_router
from serving.http.hugging_face import hugging_face_router
from serving.http.measurement import Measured
from serving.http.pools import pools_router
from serving.http.predict import predict_router
from serving.http.prompts import prompts_router
from serving.http.videos import videos_router
from serving.metrics import UNMEASURED, Metrics
from serving.remote_picture import RemotePictures
from serving.service import VideoService
from serving.settings import PAGE, Settings


def create_app(
    service: VideoService,
    settings: Settings,
    *,
    metrics: Metrics = UNMEASURED,
    expose: Expose = nothing_exposed,
    request_ids: bool = True,
) -> ASGIApp:
    """The API with its documentation at /docs, which needs no outside host.

    Args:
        expose: the Prometheus text of GET /metrics.
        request_ids: whether to put an x-request-id on every answer; not behind a proxy that does.
    """
    app: FastAPI = FastAPIOffline(
        title="I2VGen-XL video service",
        version=version("i2v-serve"),
        summary="One still picture and a prompt in, a short video out.",
        responses={"default": {"model": errors.Refusal, "description": "Any refusal or failure"}},
        redirect_slashes=False,  # a redirect would be an answer without the one error shape
    )
    errors.install(app)
    if settings.page:

        @app.get("/", include_in_schema=False)
        async def to_the_page() -> Response:
            return RedirectResponse(f"{PAGE[1:]}/", 302)  # relative, for proxies that add a prefix

    app.include_router(health_router(service.admission))
    app.include_router(exposition_router(expose))
    guarded = [Depends(Guard(service.keyring))]
    fetch = RemotePictures().fetch if settings.picture_urls else None
    for router in (
        videos_router(service, settings, fetch),
        predict_router(service, settings, fetch),
        hugging_face_router(service, settings, fetch),
        catalog_router(service.models),
        pools_router(service),
        prompts_router(service.models),
    ):
        app.include_router(router, dependencies=guarded)
    app.add_middleware(Measured, metrics=metrics)
    return errors.RequestId(app) if request_ids else app
