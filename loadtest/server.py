"""A server of `/v1/videos` as load goes to it: the standard contract, ours or a peer's. Knows nothing of when.

Of our own fields only what a server tells is used: `timings`, and the card's class in `recipe`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from loadtest.scenarios import Fields, Request
from serving.client import POLL_AFTER
from serving.parameters import VideoParameters
from serving.presets import I2VGEN_XL
from serving.request import resolve

PROMPT = "the camera pans slowly to the left"
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=200)
"""No bound on connections: one that had to wait for another's answer would be sent late."""
TIMEOUT = httpx.Timeout(120.0, connect=30.0, pool=None)
REACH_S = 30.0
POLL_S = (0.2, 30.0)
WITHOUT_ADVICE_S = 2.0
ENDED = ("completed", "failed", "cancelled", "expired")
"""The standard's two, and what peers have besides."""


@dataclass(frozen=True)
class Target:
    """Where requests go, and what each of them carries."""

    url: str
    picture: Path
    keys: Sequence[str] = ()
    """API keys; owners have them in turn. Without any, all owners are one."""
    standard: bool = False
    """Whether to say `size` and `seconds` in place of our own fields, which a peer does not know."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """Fields that every request has besides, or instead."""

    def form(self, request: Request) -> dict[str, str]:
        """What a request says besides its picture."""
        if self.standard:
            own = standard_fields(request.fields)
        else:
            own = {name: str(value) for name, value in request.fields.items()}
        return {"prompt": PROMPT, **own, **self.extra}


class Keys:
    """Of owners, each of whom keeps the one that it was given first."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._headers: dict[str, dict[str, str]] = {}

    def headers(self, owner: str) -> dict[str, str]:
        if owner not in self._headers:
            key = self._keys[len(self._headers) % len(self._keys)] if self._keys else ""
            self._headers[owner] = {"authorization": f"Bearer {key}"} if key else {}
        return self._headers[owner]


def standard_fields(fields: Fields) -> dict[str, str]:
    """`size` and whole `seconds` of the clip that our own fields ask I2VGen-XL for."""
    request = resolve(VideoParameters.model_validate({"prompt": PROMPT, **fields}), I2VGEN_XL, seed=0)
    return {"size": request.size, "seconds": str(max(1, math.ceil(request.duration_s)))}


def read_keys(path: Path) -> list[str]:
    """One key a line; empty lines and those that begin with # are left out."""
    lines = (text.strip() for text in path.read_text().splitlines())
    return [text for text in lines if text and not text.startswith("#")]


class Server:
    """To be used in one event loop."""

    def __init__(self, target: Target) -> None:
        self._target = target
        name = target.picture.name
        kind = {".png": "image/png", ".webp": "image/webp"}.get(target.picture.suffix.lower(), "image/jpeg")
        self._files = {"input_reference": (name, target.picture.read_bytes(), kind)}
        self._http = httpx.AsyncClient(base_url=target.url, limits=LIMITS, timeout=TIMEOUT)
        self._headers = Keys(target.keys).headers

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def submit(self, request: Request) -> httpx.Response:
        """Raises httpx.HTTPError where no answer came."""
        headers = self._headers(request.owner)
        return await self._http.post("/v1/videos", data=self._target.form(request), files=self._files, headers=headers)

    async def retrieve(self, video_id: str, owner: str) -> httpx.Response:
        return await self._http.get(f"/v1/videos/{video_id}", headers=self._headers(owner))

    async def download(self, video_id: str, owner: str) -> int:
        """The clip's bytes, which are read and forgotten."""
        count = 0
        path = f"/v1/videos/{video_id}/content"
        async with self._http.stream("GET", path, headers=self._headers(owner)) as response:
            response.raise_for_status()
            async for part in response.aiter_raw():
                count += len(part)
        return count

    async def delete(self, video_id: str, owner: str) -> None:
        await self._http.delete(f"/v1/videos/{video_id}", headers=self._headers(owner))


def poll_after_s(headers: Mapping[str, str]) -> float:
    """When to look again: as the server asks, else every two seconds."""
    try:
        asked = int(headers[POLL_AFTER]) / 1000
    except (KeyError, ValueError):
        asked = WITHOUT_ADVICE_S
    return min(max(asked, POLL_S[0]), POLL_S[1])


def refusal(response: httpx.Response) -> str:
    """The error's code, by the standard's shape; the status where there is none."""
    error = _object(response).get("error")
    code = error.get("code") or error.get("type") if isinstance(error, dict) else None
    return str(code) if code else f"http {response.status_code}"


def video_of(response: httpx.Response) -> dict[str, Any]:
    """Raises ValueError where the answer is no video."""
    found = _object(response)
    if not isinstance(found.get("id"), str) or not isinstance(found.get("status"), str):
        raise ValueError("the answer is no video")
    return found


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def reached(url: str) -> str:
    """The address without a `/v1` at its end, where anything answers there, be it an error.

    Raises:
        ValueError: nothing does, and why.
    """
    base = url.rstrip("/").removesuffix("/v1")
    if not base.startswith(("http://", "https://")):
        raise ValueError(f"url: {url!r} given; give it with http:// or https://.")
    try:
        httpx.get(f"{base}/v1/models", timeout=REACH_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ValueError(f"url: {url} cannot be reached: {error or type(error).__name__}.") from None
    return base


def machine() -> dict[str, Any]:
    """Of the sender, for the first line of a run."""
    return {"cores": os.cpu_count(), "load": os.getloadavg()[0]}
