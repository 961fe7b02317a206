"""The API as a batch uses it: many requests at once, and patience with a service that is full or being restarted.

Knows nothing of sheets and manifests.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import httpx
import stamina

from serving.client import POLL_AFTER, ApiError, Quote, Unavailable, Video, checked, passing, unreachable
from serving.errors import I2VError
from serving.jobs.submissions import KEY
from serving.remote_picture import FIELD

PAGE = 100
FAULTS = 5
"""How often a request is sent that the service breaks on."""
OnWait = Callable[[str], object]


class Wire:
    """One service, with every request tried again while there is hope; use from one event loop."""

    def __init__(
        self,
        server: str,
        api_key: str | None = None,
        *,
        patience_s: float = 600.0,
        on_wait: OnWait = lambda reason: None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """
        Args:
            patience_s: how long a service that has answered before may be out of reach. One that says when to come
                back, as a full queue does, is waited for as long as it says so.
            on_wait: told why, whenever it waits.
        """
        headers = {"authorization": f"Bearer {api_key}"} if api_key else None
        timeout = httpx.Timeout(60, connect=5)
        self.server = server
        self._patience_s = patience_s
        self._on_wait = on_wait
        self._answered_at = -math.inf
        try:
            self._http = httpx.AsyncClient(base_url=server, headers=headers, timeout=timeout, transport=transport)
        except httpx.InvalidURL as error:
            message = f"server: {server!r} is no address: {error}."
            raise ApiError(message, code="invalid_server", param="server") from None

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def submit(self, picture: bytes | str, fields: Mapping[str, str], key: str) -> Video:
        """The job of that Idempotency-Key, which is the same one however often it is asked for.

        Args:
            picture: the file's bytes, or its URL.
        """
        return await self._post("/v1/videos", picture, fields, {KEY: key})

    async def quote(self, fields: Mapping[str, str], url: str | None = None) -> Quote:
        """What a submission would cost; without its picture it must say `size` or `aspect_ratio`."""
        return await self._post("/v1/videos/quote", url, fields)

    async def compose(self, asked: Mapping[str, str | None]) -> dict[str, Any]:
        """A prompt and parameters from `title` and `category`, or `template`."""
        given = {name: value for name, value in asked.items() if value is not None}
        composed: dict[str, Any] = (await self._ask("GET", "/v1/prompts/compose", params=given)).json()
        return composed

    async def retrieve(self, video_id: str) -> tuple[Video, float]:
        """The video, and after how many seconds to ask again."""
        response = await self._ask("GET", f"/v1/videos/{video_id}")
        return response.json(), int(response.headers.get(POLL_AFTER, 1000)) / 1000

    async def videos_after(self, video_id: str) -> tuple[list[Video], bool]:
        """Those submitted next, oldest first, and whether there are more."""
        asked: dict[str, str | int] = {"after": video_id, "order": "asc", "limit": PAGE}
        page = (await self._ask("GET", "/v1/videos", params=asked)).json()
        return page["data"], page["has_more"]

    async def content(self, video_id: str, variant: str) -> bytes:
        return (await self._ask("GET", f"/v1/videos/{video_id}/content", params={"variant": variant})).content

    async def _post(
        self,
        path: str,
        picture: bytes | str | None,
        fields: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """A multipart body, whatever is in it."""
        parts: list[tuple[str, Any]] = [(name, (None, text)) for name, text in fields.items()]
        if picture is not None:
            sent = ("picture", picture) if isinstance(picture, bytes) else (None, picture)
            parts.append((FIELD, sent))
        answer: dict[str, Any] = (await self._ask("POST", path, files=parts, headers=headers)).json()
        return answer

    async def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """
        Raises:
            ApiError: it is refused, or patience is at its end.
        """
        faults = 0

        def hope(error: Exception) -> bool | float:
            """Whether to ask again, and after how many seconds where that was said."""
            nonlocal faults
            if isinstance(error, ApiError) and not passing(error) and error.code == I2VError.code:
                faults += 1  # one request's own, and not the service's
                return faults < FAULTS
            return self._hope(error)

        async for attempt in stamina.retry_context(on=hope, attempts=None, timeout=None):
            with attempt:
                try:
                    response = checked(await self._http.request(method, path, **options))
                except httpx.HTTPError as error:
                    raise unreachable(self.server, error) from error
                self._answered_at = time.monotonic()
                return response
        raise AssertionError("unreachable")

    def _hope(self, error: Exception) -> bool | float:
        wait_s = error.retry_after_s if isinstance(error, Unavailable) else None
        if wait_s is not None:
            self._answered_at = time.monotonic()
        elif not passing(error) or time.monotonic() - self._answered_at > self._patience_s:
            return False
        self._on_wait(str(error))
        return True if wait_s is None else wait_s
