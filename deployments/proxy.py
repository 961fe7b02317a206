"""What Serve's HTTP proxy does to a request before it routes it: `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`.

This module runs in the proxies.
"""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

CALLBACK = "deployments.proxy:middlewares"
# Serve's proxy obeys these, meant for a proxy of its own in front: how long a request may take, and whether it goes on
# without its client.
OBEYED = (b"x-request-timeout-seconds", b"x-request-disconnect-disabled")


class ForgetOrders:
    """Takes the headers that Serve's proxy would obey out of each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "headers" in scope:
            scope["headers"] = [header for header in scope["headers"] if header[0].lower() not in OBEYED]
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    return [Middleware(ForgetOrders)]
