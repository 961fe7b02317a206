"""Who may leave pictures with the page: those whom the service would take a submission from."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.client import ApiError
from serving.ui.api import Api

UPLOAD = "/gradio_api/upload"


class Gate:
    """ASGI middleware: asks the service before Gradio, which knows no keys, writes an upload to the disk."""

    def __init__(self, app: ASGIApp, api_of: Callable[[Mapping[str, str]], Api]) -> None:
        self._app = app
        self._api_of = api_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith(UPLOAD):
            try:
                await self._api_of(HTTPConnection(scope).cookies).models()
            except ApiError as error:
                status = 401 if error.code == "invalid_api_key" else 503
                await JSONResponse({"detail": str(error)}, status)(scope, receive, send)
                return
        await self._app(scope, receive, send)
