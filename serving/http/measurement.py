"""ASGI middleware that measures every request. Knows routes by their templates, and nothing of what they do."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import I2VError
from serving.http.errors import ERROR_CODE, METHODS
from serving.metrics import HTTP_SECONDS, REFUSALS, Metrics


class Measured:
    """Seconds until the answer starts, by route, method and status class; refusals by route and error code."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        started = False

        async def measured_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._record(scope, message["status"], time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, measured_send)
        except Exception:
            # An error that nothing foresaw is answered further out, by Starlette's own middleware.
            if not started:
                scope[ERROR_CODE] = I2VError.code
                self._record(scope, I2VError.status, time.perf_counter() - began)
            raise

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        # Anyone can invent a method; a label must not grow by it.
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.observe(HTTP_SECONDS, seconds, route=route, method=method, status=f"{status // 100}xx")
        if ERROR_CODE in scope:
            self._metrics.add(REFUSALS, route=route, code=scope[ERROR_CODE])
