"""A client of the HTTP API: submit, quote, follow, download, cancel. Knows nothing of what runs behind it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import stamina

POLL_AFTER = "openai-poll-after-ms"
RETRIED = (408, 429, 502, 503, 504)

Video = dict[str, Any]
Quote = dict[str, Any]


class ApiError(Exception):
    """The service refused, or cannot be reached. `param` names the field at fault, where there is one."""

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Client:
    """One service at `server`, such as "http://127.0.0.1:8000". Reads are tried again; submissions are not."""

    def __init__(self, server: str, api_key: str | None = None) -> None:
        """Raises ApiError where `server` is no address."""
        headers = {"authorization": f"Bearer {api_key}"} if api_key else None
        self.server = server
        try:
            self._http = httpx.Client(base_url=server, headers=headers, timeout=httpx.Timeout(60, connect=5))
        except httpx.InvalidURL as error:
            raise ApiError(
                f"server: {server!r} is no address: {error}.", code="invalid_server", param="server"
            ) from None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def submit(self, picture: Path, fields: Mapping[str, object]) -> Video:
        """Submit `picture` with the API's fields; None values and empty lists are left out."""
        return self._send_picture("/v1/videos", picture, fields)

    def quote(self, picture: Path, fields: Mapping[str, object]) -> Quote:
        """What `submit` with the same would cost, where it would run, and when; queues nothing."""
        return self._send_picture("/v1/videos/quote", picture, fields)

    def retrieve(self, video_id: str) -> Video:
        video: Video = self._read(f"/v1/videos/{video_id}").json()
        return video

    def newest(self, limit: int) -> list[Video]:
        """The newest videos; asked for once, like all that only people look at."""
        videos: list[Video] = self._send("GET", "/v1/videos", params={"limit": limit}).json()["data"]
        return videos

    def pools(self) -> dict[str, Any]:
        """Every pool as it is now, in `data`, and all that waits, in `queue`."""
        pools: dict[str, Any] = self._send("GET", "/v1/pools").json()
        return pools

    def follow(self, video: Video, on_update: Callable[[Video], None], poll_s: float | None = None) -> Video:
        """Poll until the video has ended, at the pace the service asks for; every answer goes to `on_update`."""
        while True:
            response = self._read(f"/v1/videos/{video['id']}")
            video = response.json()
            on_update(video)
            if video["status"] in ("completed", "failed"):
                return video
            asked_s = int(response.headers.get(POLL_AFTER, 1000)) / 1000
            time.sleep(poll_s if poll_s is not None else min(asked_s, 2.0))

    def download(self, video_id: str, path: Path, variant: str = "video") -> None:
        """Write the video's bytes to `path`, whole or not at all."""
        content = self._read(f"/v1/videos/{video_id}/content", params={"variant": variant}).content
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.part")
        aside.write_bytes(content)
        os.replace(aside, path)

    def cancel(self, video_id: str) -> Video:
        video: Video = self._send("POST", f"/v1/videos/{video_id}/cancel").json()
        return video

    def ready(self) -> bool:
        try:
            return self.not_ready() is None
        except ApiError:
            return False

    def not_ready(self) -> str | None:
        """Why the service cannot take work now; None when it can."""
        try:
            self._send("GET", "/readyz", timeout=5)
        except _Unavailable as error:
            return str(error)
        return None

    def _send_picture(self, path: str, picture: Path, fields: Mapping[str, object]) -> dict[str, Any]:
        form: dict[str, str | list[str]] = {}
        for name, value in fields.items():
            if isinstance(value, list | tuple):
                form[f"{name}[]"] = [str(item) for item in value]
            elif value is not None:
                form[name] = str(value)
        with picture.open("rb") as file:
            answer: dict[str, Any] = self._send("POST", path, data=form, files={"input_reference": file}).json()
        return answer

    def _read(self, path: str, **options: Any) -> httpx.Response:
        for attempt in stamina.retry_context(on=_passing, attempts=10, timeout=60):
            with attempt:
                return self._send("GET", path, **options)
        raise AssertionError("unreachable")

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **options)
        except httpx.ConnectError:
            raise ApiError(
                f"No service answers at {self.server}. Start one with `i2v serve`, name another with --server, or "
                "generate in this process with --local.",
                code="connection_refused",
            ) from None
        except httpx.HTTPError as error:
            raise ApiError(f"{self.server}: {error}", code="connection_lost") from error
        if response.is_success:
            return response
        kind = _Unavailable if response.status_code in RETRIED else ApiError
        try:
            told = response.json()["error"]
            raise kind(told["message"], code=told["code"], param=told["param"])
        except (ValueError, KeyError, TypeError):
            code = str(response.status_code)
            raise kind(f"{self.server} answered {code}.", code=code) from None


class _Unavailable(ApiError):
    """The service may answer if asked again."""


def _passing(error: Exception) -> bool:
    return isinstance(error, _Unavailable) or (
        isinstance(error, ApiError) and error.code in ("connection_refused", "connection_lost")
    )
