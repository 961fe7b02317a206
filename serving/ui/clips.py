"""What the page does on its right, in one language: clips that are followed, cancelled, remixed, and past ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import gradio as gr

from serving.client import ApiError
from serving.ui import html
from serving.ui.api import Api
from serving.ui.following import ended, follow
from serving.ui.gate import ApiOf
from serving.ui.layout import MOST_TAKES, nothing
from serving.ui.words import Words

GALLERY_PAGE = 12
MOST_LISTED = 100
UNTOUCHED = gr.skip()


class Clips:
    """The events of one language."""

    def __init__(self, words: Words, api_of: ApiOf) -> None:
        self._words = words
        self._api_of = api_of
        self._turns: dict[str, object] = {}
        """By session: who says what is on the right."""

    async def show(self, shown: Sequence[str] | None, pages: int, request: gr.Request) -> AsyncIterator[Any]:
        """The clips on the right until the last has ended, and the gallery whenever one begins or ends."""
        session, mine = str(request.session_hash), object()
        self._turns[session] = mine
        api, said = self._api_of(request), [""] * MOST_TAKES
        states: list[str] | None = None
        try:
            async for videos in follow(api, list(shown or ())[:MOST_TAKES]):
                if self._turns.get(session) is not mine:
                    return
                takes = [html.take(video, self._words) for video in videos.values()] or [nothing(self._words)]
                takes += [""] * (MOST_TAKES - len(takes))
                before, states = states, [video["status"] for video in videos.values()]
                # One that has not changed is not said again, or it would begin to play anew.
                clips = [
                    UNTOUCHED if before is not None and take == old else gr.update(value=take, visible=take != "")
                    for take, old in zip(takes, said, strict=True)
                ]
                said = takes
                past = UNTOUCHED if states == before else await self._past(api, pages)
                yield *clips, gr.update(visible=not all(map(ended, videos.values()))), past, UNTOUCHED
        except ApiError as error:
            yield *untouched(MOST_TAKES + 2), html.refusal(error, self._words)
        finally:
            if self._turns.get(session) is mine:
                del self._turns[session]

    async def cancel(self, shown: Sequence[str] | None, request: gr.Request) -> Any:
        for video_id in shown or ():
            try:
                await self._api_of(request).cancel(video_id)
            except ApiError as error:
                if error.code not in ("not_cancellable", "video_not_found"):
                    return html.refusal(error, self._words)
        return ""

    async def browse(self, pages: int, request: gr.Request, event: gr.EventData) -> Any:
        """A past clip to the right, or more of them."""
        if event._data["act"] == "show":
            return [event._data["id"]], UNTOUCHED, UNTOUCHED
        try:
            return UNTOUCHED, pages + 1, await self._past(self._api_of(request), pages + 1)
        except ApiError:
            return untouched(3)

    async def remix(self, request: gr.Request, event: gr.EventData) -> Any:
        """A clip's picture and settings with the prompt that was written beside it; the new one first."""
        if event._data["act"] != "remix":
            return untouched(2)
        source, prompt = event._data["id"], str(event._data.get("text") or "")
        if not prompt.strip():
            return UNTOUCHED, html.wrong("prompt", self._words)
        try:
            video = await self._api_of(request).remix(source, prompt)
        except ApiError as error:
            return UNTOUCHED, html.refusal(error, self._words)
        return [video["id"], source], ""

    async def _past(self, api: Api, pages: int) -> str:
        videos, more = await api.newest(min(pages * GALLERY_PAGE, MOST_LISTED))
        return html.gallery(videos, self._words, more=more and len(videos) < MOST_LISTED)


def untouched(times: int) -> list[Any]:
    return [UNTOUCHED] * times
