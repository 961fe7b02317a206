"""The HTTP API as one visitor of the page uses it, asynchronously. Knows nothing of Gradio."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote as quoted

import httpx

from serving.client import ApiError, Quote, Video

TIMEOUT = httpx.Timeout(60, connect=5)
SILENCE_S = 60.0
"""Longest silence of an event stream, which is kept alive four times as often."""
Row = dict[str, Any]


class Api:
    """Every method raises ApiError with the service's own message where it refuses, or cannot be reached."""

    def __init__(self, http: httpx.AsyncClient, key: str | None) -> None:
        """`http` has the service's address, and is shared by all visitors; `key` is this one's."""
        self._http = http
        self._headers = {"authorization": f"Bearer {key}"} if key else {}

    async def models(self) -> list[Row]:
        return await self._rows("/v1/models")

    async def presets(self) -> list[Row]:
        return await self._rows("/v1/presets")

    async def templates(self, model: str) -> list[Row]:
        return await self._rows("/v1/prompts/templates", model=model)

    async def compose(self, **query: str) -> Row:
        """A prompt for a product: `title`, `category`, `template`, `model`."""
        return dict(await self._answer("GET", "/v1/prompts/compose", params=query))

    async def quote(self, picture: Path | None, fields: Mapping[str, Any]) -> Quote:
        return await self._send("/v1/videos/quote", picture, fields)

    async def submit(self, picture: Path, fields: Mapping[str, Any]) -> Video:
        return await self._send("/v1/videos", picture, fields)

    async def remix(self, video_id: str, prompt: str) -> Video:
        """The same picture and parameters with another prompt."""
        return dict(await self._answer("POST", f"/v1/videos/{_part(video_id)}/remix", json={"prompt": prompt}))

    async def video(self, video_id: str) -> Video:
        return dict(await self._answer("GET", f"/v1/videos/{_part(video_id)}"))

    async def newest(self, limit: int, after: str | None = None) -> tuple[list[Video], bool]:
        """One page of the visitor's videos, and whether there are more."""
        query = {"limit": limit} | ({} if after is None else {"after": after})
        page = await self._answer("GET", "/v1/videos", params=query)
        return page["data"], page["has_more"]

    async def cancel(self, video_id: str) -> None:
        await self._answer("POST", f"/v1/videos/{_part(video_id)}/cancel")

    async def events(self, video_id: str) -> AsyncIterator[Row]:
        """Where the video stands, whenever that changes; ends with the video, or where the service goes away."""
        timeout = httpx.Timeout(5, read=SILENCE_S)
        path = f"/v1/videos/{_part(video_id)}/events"
        try:
            async with self._http.stream("GET", path, headers=self._headers, timeout=timeout) as response:
                if not response.is_success:
                    await response.aread()
                    raise _refusal(response)
                async for line in response.aiter_lines():
                    if line.startswith("data:"):
                        yield json.loads(line.removeprefix("data:"))
        except httpx.HTTPError as error:
            raise _lost(error) from error

    async def content(self, video_id: str, variant: str, headers: Mapping[str, str]) -> httpx.Response:
        """The open response, whatever its status; the caller reads and closes it."""
        path = f"/v1/videos/{_part(video_id)}/content"
        request = self._http.build_request(
            "GET", path, params={"variant": variant}, headers={**self._headers, **headers}
        )
        try:
            return await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise _lost(error) from error

    async def _rows(self, path: str, **query: str) -> list[Row]:
        return list((await self._answer("GET", path, params=query))["data"])

    async def _send(self, path: str, picture: Path | None, fields: Mapping[str, Any]) -> Row:
        # As a file even where there is none: a form without files would be no multipart body.
        parts: list[tuple[str, Any]] = [(name, (None, str(value))) for name, value in fields.items()]
        if picture is None:
            return dict(await self._answer("POST", path, files=parts))
        with picture.open("rb") as file:
            parts.append(("input_reference", (picture.name, file)))
            return dict(await self._answer("POST", path, files=parts))

    async def _answer(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = await self._http.request(method, path, headers=self._headers, **options)
        except httpx.HTTPError as error:
            raise _lost(error) from error
        if not response.is_success:
            raise _refusal(response)
        return response.json()


def _part(video_id: str) -> str:
    """What came from a browser, as one part of a path."""
    return quoted(video_id, safe="")


def _lost(error: httpx.HTTPError) -> ApiError:
    return ApiError(str(error) or repr(error), code="connection_lost")


def _refusal(response: httpx.Response) -> ApiError:
    try:
        told = response.json()["error"]
        return ApiError(told["message"], code=told["code"], param=told["param"])
    except (ValueError, KeyError, TypeError):
        return ApiError(f"The service answered {response.status_code}.", code=str(response.status_code))
