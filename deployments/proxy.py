"""What Serve's HTTP proxy does around each request: `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`.

This module runs in the proxies.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.heap import spare_what_is_loaded
from serving.errors import ServiceUnavailable
from serving.http.errors import error_response

CALLBACK = "deployments.proxy:middlewares"
# Serve's proxy obeys these, meant for a proxy of its own in front: how long a request may take, and whether it goes on
# without its client.
OBEYED = (b"x-request-timeout-seconds", b"x-request-disconnect-disabled")
LOST = "The service lost this request on its way, and may have carried it out or not."
# What Serve answers in plain text where the application answers in JSON. A 404 is a proxy that has just been started
# and does not know the application yet: a client that follows a video must not take it for the video's.
OWN_ANSWERS = {
    404: "The service is starting; try again.",
    500: LOST,
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
    """Puts Serve's own refusals, and its silence where a replica died, into the API's shape: `service_unavailable`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/-/"):
            await self._app(scope, receive, send)
            return
        reason: str | None = LOST  # until it is answered

        async def send_in_shape(message: Message) -> None:
            nonlocal reason
            if message["type"] == "http.response.start":
                reason = _refusal(message)
            if reason is None:
                await send(message)

        await self._app(scope, receive, send_in_shape)
        if reason is not None:
            request_id = Headers(scope=scope).get("x-request-id")
            headers = {} if request_id is None else {"x-request-id": request_id}
            await error_response(ServiceUnavailable(reason, retry_after_s=1), headers)(scope, receive, send)


def _refusal(start: Message) -> str | None:
    """What to say instead of a response that begins so; None where it is the application's."""
    kind = Headers(raw=list(start["headers"])).get("content-type", "")
    return OWN_ANSWERS.get(start["status"]) if kind.startswith("text/plain") else None


def middlewares() -> list[Middleware]:
    spare_what_is_loaded()
    return [Middleware(ForgetOrders), Middleware(OneErrorShape)]
