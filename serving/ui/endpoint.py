"""The page's one endpoint for programs, such as gradio_client: a picture and a prompt in, a clip out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from pathlib import PurePosixPath
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.client import ApiError, Video
from serving.parameters import as_text
from serving.ui.api import Api
from serving.ui.following import follow
from serving.ui.gate import ApiOf
from serving.ui.uploads import uploaded
from serving.ui.words import LANGUAGES

NAME = "generate"
GRADIO = ("/config", "/gradio_api/")
"""Where Gradio's programs look, from the page's address on."""
LOOK_S = 1.0
"""Between two looks whether the client is still there."""


class Endpoint:
    """`predict(picture, prompt, parameters, api_name="/generate")` of gradio_client."""

    def __init__(self, api_of: ApiOf) -> None:
        self._api_of = api_of

    def wire(self) -> None:
        """Into the Blocks that are open, out of sight."""
        picture, self._clip = (gr.File(label=label, visible=False) for label in ("picture", "clip"))
        prompt = gr.Textbox(label="prompt", visible=False)
        parameters, video = (gr.JSON({}, label=label, visible=False) for label in ("parameters", "video"))
        gr.Button(visible=False).click(
            self.generate,
            [picture, prompt, parameters],
            [self._clip, video],
            api_name=NAME,
            api_description=self.generate.__doc__,
        )

    async def generate(
        self, picture: str | None, prompt: str, parameters: Any, request: gr.Request
    ) -> AsyncIterator[tuple[str | None, Video]]:
        """A clip and its video object. `parameters` are any other fields of POST /v1/videos, by the same names."""
        # A generator: between two of its values Gradio looks whether the client is still there, and closes it if not.
        api = self._api_of(request)
        try:
            given = form_of(parameters)
            kept = uploaded(picture)
            if kept is None:
                raise ApiError("picture: is missing.", code="missing_image")
            video = await api.submit(kept, given | {"prompt": prompt or ""})
            async with aclosing(until_ended(api, video)) as states:
                async for video in states:
                    yield None, video
            if video["status"] != "completed":
                told = video["error"] or {"message": "The video was deleted."}
                raise gr.Error(f"{video['id']}: {told['message']}", print_exception=False)
            yield await self._kept(api, video), video
        except ApiError as error:
            raise gr.Error(str(error), print_exception=False) from None

    async def _kept(self, api: Api, video: Video) -> str:
        """The clip where Gradio hands it out, at an address that follows from its bytes; Gradio removes it in a day."""
        answer = await api.content(video["id"], "video", {})
        try:
            content = await answer.aread()
        finally:
            await answer.aclose()
        if not answer.is_success:
            raise ApiError("The clip is gone already.", code="video_expired")
        name = PurePosixPath(video["file"]).name
        return await asyncio.to_thread(save_bytes_to_cache, content, name, self._clip.GRADIO_CACHE)


async def until_ended(api: Api, video: Video) -> AsyncGenerator[Video, None]:
    """The video every `LOOK_S`, up to its end; who goes away before cancels it."""
    news = follow(api, [video["id"]])
    coming: asyncio.Future[dict[str, Video] | None] = asyncio.ensure_future(anext(news, None))
    over = False
    try:
        while not over:
            await asyncio.wait([coming], timeout=LOOK_S)
            if coming.done():
                videos = coming.result()
                over = videos is None
                video = (videos or {}).get(video["id"], video)
                coming = asyncio.ensure_future(anext(news, None))
            yield video
    finally:
        coming.cancel()
        if not over:
            with suppress(ApiError):
                await api.cancel(video["id"])


def form_of(parameters: Any) -> dict[str, str]:
    """A submission's form fields, of a JSON object.

    Raises:
        ApiError: it is none.
    """
    if not isinstance(parameters or {}, dict):
        raise ApiError("parameters: give an object.", code="invalid_request", param="parameters")
    given = dict(parameters or {})
    notes = given.pop("metadata", None) or {}
    if not isinstance(notes, dict):
        raise ApiError("metadata: give an object.", code="invalid_request", param="metadata")
    given |= {f"metadata[{name}]": value for name, value in notes.items()}
    return {name: as_text(name, value) for name, value in given.items() if value is not None}


class AtThePage:
    """ASGI middleware: programs that are given the page's own address, and no language, find Gradio there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            root = scope.get("root_path", "")
            path = scope["path"].removeprefix(root)
            if path.startswith(GRADIO):
                scope = {**scope, "path": f"{root}/{next(iter(LANGUAGES))}{path}"}
        await self._app(scope, receive, send)
