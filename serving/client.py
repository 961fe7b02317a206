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
REFUSED, LOST = "connection_refused", "connection_lost"

Video = dict[str, Any]
Quote = dict[str, Any]


def default_server() -> str:
    """The service's address where none is named: I2V_SERVER, else this machine."""
    return os.environ.get("I2V_SERVER") or f"http://127.0.0.1:{os.environ.get('I2V_PORT') or 8000}"


def api_key() -> str | None:
    return os.environ.get("I2V_API_KEY")


class ApiError(Exception):
    """The service refused, or cannot be reached. `param` names the field at fault, where there is one."""

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Unavailable(ApiError):
    """The service may answer if asked again, after `retry_after_s` seconds where it says so."""

    retry_after_s: float | None = None


def checked(response: httpx.Response) -> httpx.Response:
    """`response`, all of whose body is here.

    Raises:
        ApiError: it is a refusal; Unavailable where it may pass.
    """
    if response.is_success:
        return response
    wait = response.headers.get("retry-after", "")
    kind = Unavailable if response.status_code in RETRIED or wait else ApiError
    try:
        told = response.json()["error"]
        error = kind(told["message"], code=told["code"], param=told["param"])
    except (ValueError, KeyError, TypeError):
        code = str(response.status_code)
        error = kind(f"{response.url.netloc.decode()} answered {code}.", code=code)
    if isinstance(error, Unavailable):
        error.retry_after_s = float(wait) if wait.isdigit() else None
    raise error


def unreachable(server: str, error: httpx.HTTPError) -> ApiError:
    """What it means that no answer came."""
    if isinstance(error, httpx.ConnectError):
        return ApiError(
            f"No service answers at {server}. Start one with `i2v serve`, name another with --server, or "
            "generate in this process with --local.",
            code=REFUSED,
        )
    return ApiError(f"{server}: {str(error) or type(error).__name__}", code=LOST)


def passing(error: Exception) -> bool:
    """Whether the same may well be answered soon."""
    return isinstance(error, Unavailable) or (isinstance(error, ApiError) and error.code in (REFUSED, LOST))


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

    def remix(self, video_id: str, prompt: str) -> Video:
        """Submit the picture, the parameters and the seed of a video again, with a prompt."""
        video: Video = self._send("POST", f"/v1/videos/{video_id}/remix", json={"prompt": prompt}).json()
        return video

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
        except Unavailable as error:
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
        for attempt in stamina.retry_context(on=passing, attempts=10, timeout=60):
            with attempt:
                return self._send("GET", path, **options)
        raise AssertionError("unreachable")

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return checked(self._http.request(method, path, **options))
        except httpx.HTTPError as error:
            raise unreachable(self.server, error) from error
