"""One error shape for every answer that is not 2xx, and a request id on every answer."""

from __future__ import annotations

import logging
import math
import re
import secrets

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.errors import I2VError, InvalidParameter, MethodNotAllowed, NotFound
from serving.jobs.job import accepted_at

logger = logging.getLogger(__name__)
REQUEST_ID = "x-request-id"
ERROR_CODE = "i2v.error_code"
"""Where the ASGI scope of a refused request holds the error's code."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_TYPES = {401: "authentication_error", 404: "not_found_error", 409: "conflict_error", 429: "rate_limit_error"}


class ErrorObject(BaseModel):
    """What was wrong; `param` names the field at fault, where there is one."""

    message: str
    type: str
    code: str
    param: str | None


class Refusal(BaseModel):
    """The body of every answer that is not 2xx."""

    error: ErrorObject


def error_object(error: I2VError) -> dict[str, dict[str, str | None]]:
    """The wire's error: message, type, code, param."""
    fallback = "server_error" if error.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": _encodable(error.message),
            "type": _TYPES.get(error.status, fallback),
            "code": error.code,
            "param": None if error.param is None else _encodable(error.param[:100]),
        }
    }


def _encodable(text: str) -> str:
    """`text` with lone surrogates, which JSON can carry and UTF-8 cannot, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def error_response(error: I2VError, headers: dict[str, str] | None = None) -> JSONResponse:
    headers = dict(headers or {})
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    return ErrorResponse(error, headers)


class ErrorResponse(JSONResponse):
    """An error's answer; leaves its code in the scope, where refusals are counted."""

    def __init__(self, error: I2VError, headers: dict[str, str]) -> None:
        super().__init__(error_object(error), error.status, headers)
        self._code = error.code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ERROR_CODE] = self._code
        await super().__call__(scope, receive, send)


def install(app: FastAPI) -> None:
    """Answer every failure of `app` in the one shape."""

    @app.exception_handler(I2VError)
    async def known(request: Request, error: I2VError) -> Response:
        if error.status >= 500:
            logger.warning("%s %s: %s", request.method, request.url.path, error.message, extra=_about(request))
        return error_response(error)

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> Response:
        path = request.url.path
        if error.status_code == 404:
            return error_response(NotFound(f"There is nothing at {path[:200]}."))
        if error.status_code == 405:
            message = f"{path[:200]} does not take {request.method}."
            return error_response(MethodNotAllowed(message), {"allow": ", ".join(_methods(request))})
        other = I2VError(str(error.detail))
        other.status = error.status_code
        return error_response(other, dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def query(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = str(first["loc"][-1])
        given = str(first.get("input"))[:100]
        return error_response(InvalidParameter(f"{field}: {given} given; {first['msg']}.", param=field))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error, extra=_about(request))
        return error_response(I2VError("The service failed on this request; its log says more."))


def _methods(request: Request) -> list[str]:
    """All that the address takes; the router would name those of the first route that has it."""
    scopes = {method: {**request.scope, "method": method} for method in METHODS}
    routes = request.app.routes
    return [name for name, scope in scopes.items() if any(one.matches(scope)[0] is Match.FULL for one in routes)]


def _about(request: Request) -> dict[str, str | None]:
    """Which job the request is about, for the log; what is not a job's id stays out of it."""
    job_id = request.path_params.get("video_id", "")
    return {"job": job_id if accepted_at(job_id) is not None else None}


class RequestId:
    """ASGI middleware: the client's x-request-id, or a fresh one, on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if re.fullmatch(r"[\w.-]{1,128}", given) else f"req_{secrets.token_hex(12)}"

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)
