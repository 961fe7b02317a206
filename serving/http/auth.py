"""The door: `Authorization: Bearer KEY`, who comes in, and how often. Knows nothing of what they ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from serving.keyring import Caller, KeyRing
from serving.rates import Rates

QUOTES = "/v1/videos/quote"
_Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Security(HTTPBearer(auto_error=False, description="An API key, where the service asks for one.")),
]


class Guard:
    """A dependency of every router but those that are open to all: health, metrics, documentation."""

    def __init__(self, keyring: KeyRing) -> None:
        self._keyring = keyring
        self._rates = Rates()

    async def __call__(self, request: Request, bearer: _Bearer) -> None:
        """Leave the caller with the request.

        Raises:
            InvalidApiKey: a key is needed, and none or a wrong one was sent.
            RateLimited: the key has made as many requests as it may.
        """
        caller = await self._keyring.caller(None if bearer is None else bearer.credentials)
        self._rates.count(caller, _kind(request))
        request.state.caller = caller


def _kind(request: Request) -> str:
    """As what a request is counted: nobody must be kept from submitting by quotes, or by the posters of a list."""
    if request.url.path == QUOTES:
        return "quotes"
    if request.url.path.endswith("/content") and request.query_params.get("variant") == "thumbnail":
        return "thumbnails"
    return "requests"


async def _asking(request: Request) -> Caller:
    # Async, although it awaits nothing: what is not goes to a thread and back.
    # Without a guard there is no caller, and no answer: a route that was forgotten shows nobody's videos.
    caller: Caller = request.state.caller
    return caller


Asking = Annotated[Caller, Depends(_asking)]
"""The parameter of a guarded route that says who asks."""
