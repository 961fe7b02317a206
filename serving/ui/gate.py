"""Whose key a visitor has, and who may leave pictures with the page: those whom the service would take one from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.client import ApiError
from serving.ui.api import Api

KEY = "i2v_key"
"""The cookie that holds the visitor's API key."""
UPLOAD = "/gradio_api/upload"


class Visit(Protocol):
    """What a browser, or a program, sends with each of its requests."""

    @property
    def cookies(self) -> Mapping[str, str]: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


ApiOf = Callable[[Visit], Api]
"""The API as that visitor sees it."""


def key_of(visit: Visit) -> str | None:
    """By the page's cookie, or as the API takes it."""
    scheme, _, token = visit.headers.get("authorization", "").partition(" ")
    return visit.cookies.get(KEY) or (token.strip() if scheme.lower() == "bearer" else "") or None


class Gate:
    """ASGI middleware: asks the service before Gradio, which knows no keys, writes an upload to the disk."""

    def __init__(self, app: ASGIApp, api_of: ApiOf) -> None:
        self._app = app
        self._api_of = api_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith(UPLOAD):
            try:
                await self._api_of(HTTPConnection(scope)).models()
            except ApiError as error:
                status = 401 if error.code == "invalid_api_key" else 503
                await JSONResponse({"detail": str(error)}, status)(scope, receive, send)
                return
        await self._app(scope, receive, send)
