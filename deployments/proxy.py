"""What Serve's HTTP proxy does around each request: `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`.

This module runs in the proxies.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import ServiceUnavailable
from serving.http.errors import error_response

CALLBACK = "deployments.proxy:middlewares"
# Serve's proxy obeys these, meant for a proxy of its own in front: how long a request may take, and whether it goes on
# without its client.
OBEYED = (b"x-request-timeout-seconds", b"x-request-disconnect-disabled")
# What Serve answers in plain text where the application answers in JSON. A 404 is a proxy that has just been started
# and does not know the application yet: a client that follows a video must not take it for the video's.
OWN_ANSWERS = {
    404: "The service is starting; try again.",
    500: "The service lost this request on its way, and may have carried it out or not.",
    503: "The service cannot take this now; try again.",
}


class ForgetOrders:
    """Takes the headers that Serve's proxy would obey out of each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if "headers" in scope:
            scope["headers"] = [header for header in scope["headers"] if header[0].lower() not in OBEYED]
        await self._app(scope, receive, send)


class OneErrorShape:
    """Puts Serve's own refusals into the API's shape, as 503 `service_unavailable`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/-/"):
            await self._app(scope, receive, send)
            return
        replaced = False

        async def send_in_shape(message: Message) -> None:
            nonlocal replaced
            if replaced:
                return
            if message["type"] == "http.response.start" and message["status"] in OWN_ANSWERS:
                headers = Headers(raw=list(message["headers"]))
                if headers.get("content-type", "").startswith("text/plain"):
                    replaced = True
                    error = ServiceUnavailable(OWN_ANSWERS[message["status"]], retry_after_s=1)
                    kept = {name: headers[name] for name in ("x-request-id",) if name in headers}
                    await error_response(error, kept)(scope, receive, send)
                    return
            await send(message)

        await self._app(scope, receive, send_in_shape)


def middlewares() -> list[Middleware]:
    return [Middleware(ForgetOrders), Middleware(OneErrorShape)]
