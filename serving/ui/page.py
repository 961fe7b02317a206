"""What the page does, in one language: each of its events, answered over the HTTP API. Holds no clips and no keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from serving.client import ApiError, Video
from serving.ui import html
from serving.ui.api import Api
from serving.ui.catalog import Catalog
from serving.ui.fields import FIELDS, asked, recalled, standing
from serving.ui.fitting import OWN, Fitting
from serving.ui.following import ended, follow
from serving.ui.layout import MOST_TAKES, Layout, lay_out, nothing
from serving.ui.words import Words

TYPING_S = 0.4
"""How long a quote waits for the next change."""
GALLERY_PAGE = 12
KEY = "i2v_key"
"""The cookie that holds the visitor's API key."""
MOST_LISTED = 100
DAY_S = 86_400
# Into a cookie that scripts cannot read.
ENTER_KEY = "async (key) => { await fetch('../key', {method: 'POST', body: key}); return ''; }"
# Where they are not beside the controls.
TO_THE_CLIPS = "() => { if (innerWidth < 768) document.querySelector('#clips').scrollIntoView({behavior: 'smooth'}); }"
UNTOUCHED = gr.skip()


class Page:
    """The events of one language."""

    def __init__(self, words: Words, api_of: Callable[[Mapping[str, str]], Api]) -> None:
        """`api_of` gives the API as the visitor with these cookies sees it."""
        self._words = words
        self._fit = Fitting(words)
        self._api_of = api_of
        self._catalog: Catalog | None = None
        self._turns: dict[str, object] = {}
        """By session: who says what is on the right."""

    def blocks(self) -> gr.Blocks:
        blocks: gr.Blocks
        with gr.Blocks(title=self._words("title"), analytics_enabled=False, delete_cache=(3600, DAY_S)) as blocks:
            self._wire(lay_out(self._words), blocks)
        blocks.queue(default_concurrency_limit=None)
        return blocks

    def _wire(self, at: Layout, blocks: gr.Blocks) -> None:
        silent: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        settings = [at.model, at.preset, *at.fields]
        wishes = [at.picture, at.prompt, at.takes, *settings]
        opening: dict[str, Any] = {
            "fn": self.open,
            "outputs": [at.key_row, at.notice, at.category, at.template, *settings],
            "trigger_mode": "multiple",
            **silent,
        }
        showing: dict[str, Any] = {
            "fn": self.show,
            "inputs": [at.shown, at.pages],
            "outputs": [*at.clips, at.cancel, at.gallery, at.notice],
            "trigger_mode": "multiple",
            **silent,
        }
        quoting: dict[str, Any] = {"fn": self.quote, "inputs": wishes, "outputs": [at.warnings, at.quote], **silent}
        blocks.load(**opening).then(**showing)
        entering = gr.on([at.key_enter.click, at.key.submit], None, at.key, at.key, js=ENTER_KEY, **silent)
        entering.then(**opening).then(**showing)
        at.shown.change(**showing)
        at.category.input(self.list_templates, [at.category, at.model], at.template, **silent)
        written = [at.prompt, at.notice, at.preset, *at.fields]
        writing = [at.product, at.category, at.template, at.model]
        # Only what a person changed is quoted at once: what an event fills in is quoted when all of it is there.
        at.write.click(self.write, writing, written, **silent).then(**quoting)
        at.model.input(self.fit_model, at.model, [at.preset, *at.fields], **silent).then(**quoting)
        at.preset.input(self.fit_preset, [at.model, at.preset], list(at.fields), **silent).then(**quoting)
        moved = [control.input for control in (at.takes, *at.fields)]
        gr.on([at.picture.change, at.prompt.change, *moved], trigger_mode="always_last", **quoting)
        asking = [at.generate.click, at.prompt.submit]
        submitting = gr.on(asking, self.submit, wishes, [at.shown, at.notice, at.quote], **silent)
        submitting.success(None, js=TO_THE_CLIPS)
        at.cancel.click(self.cancel, at.shown, at.notice, **silent)
        at.gallery.click(self.browse, at.pages, [at.shown, at.pages, at.gallery], **silent)
        for clip in at.clips:
            using = clip.click(self.use, None, [at.prompt, at.takes, at.notice, *settings], **silent)
            using.then(**quoting)

    async def open(self, request: gr.Request) -> Any:
        """What the service offers, in the controls; the key's row where one is asked for."""
        try:
            self._catalog = catalog = await Catalog.read(self._api(request))
        except ApiError as error:
            locked = error.code == "invalid_api_key"
            return gr.update(visible=locked, open=True), self._refusal(error), *_untouched(4 + len(FIELDS))
        name = catalog.served(None)
        categories = [(self._words.of("category", one), one) for one in catalog.categories(name)]
        category = gr.update(choices=categories, value=categories[0][1])
        model = gr.update(choices=list(catalog.models), value=name, visible=len(catalog.models) > 1)
        template = self._fit.templates(catalog, name, categories[0][1])
        # Folded, for another key or none.
        key_row = gr.update(visible=bool(request.cookies.get(KEY)), open=False)
        return key_row, "", category, template, model, *self._fit.anew(catalog, name)

    async def list_templates(self, category: str, model: str, request: gr.Request) -> Any:
        return self._fit.templates(await self._known(request), model, category)

    async def write(self, title: str, category: str, template: str, model: str, request: gr.Request) -> Any:
        """The prompt for a product, or a template's own example; and the parameters that suit it."""
        try:
            catalog = await self._known(request)
            model = catalog.served(model)
            if title.strip():
                query = {"title": title, "category": category, "model": model} | (
                    {"template": template} if template else {}
                )
                row = await self._api(request).compose(**query)
            else:
                rows = catalog.templates_of(model, category)
                row = next((row for row in rows if row["template"] == template), rows[0])
        except ApiError as error:
            return UNTOUCHED, self._refusal(error), *_untouched(1 + len(FIELDS))
        values = standing(catalog.models[model], None) | row["parameters"]
        values["negative_prompt"] = row["negative_prompt"] or values["negative_prompt"]
        return row["prompt"], "", OWN, *self._fit.fields(catalog, model, values)

    async def fit_model(self, model: str, request: gr.Request) -> Any:
        return self._fit.anew(await self._known(request), model)

    async def fit_preset(self, model: str, preset: str, request: gr.Request) -> Any:
        return self._fit.anew(await self._known(request), model, preset)[1:]

    async def quote(self, picture: str | None, prompt: str, takes: int, request: gr.Request, *settings: Any) -> Any:
        """What it would cost, and what is worth a look, before anything is sent."""
        await asyncio.sleep(TYPING_S)
        if not prompt.strip():
            return "", ""
        try:
            fields = await self._fields(prompt, settings, request)
            kept = _kept(picture)
            unseen = {} if kept else {"aspect_ratio": "1:1"}
            found = await self._api(request).quote(kept, unseen | fields)
        except ApiError as error:
            return "", self._refusal(error)
        told = html.quote(found, int(takes), self._words, seen=kept is not None)
        return html.warnings(found["warnings"], self._words), told

    async def submit(self, picture: str | None, prompt: str, takes: int, request: gr.Request, *settings: Any) -> Any:
        """One job for each take, with seeds that follow one another where one is named."""
        kept = _kept(picture)
        if kept is None:
            return UNTOUCHED, html.note(self._words("picture_missing"), self._words("picture")), ""
        if not prompt.strip():
            return UNTOUCHED, html.note(self._words("prompt_missing"), self._words("prompt")), ""
        accepted: list[str] = []
        try:
            fields = await self._fields(prompt, settings, request)
            seed = str(fields.get("seed", ""))
            for number in range(int(takes)):
                own = {"seed": int(seed) + number} if seed.isdecimal() else {}
                accepted.append((await self._api(request).submit(kept, fields | own))["id"])
        except ApiError as error:
            return accepted or UNTOUCHED, self._refusal(error), ""
        return accepted, "", UNTOUCHED

    async def show(self, shown: Sequence[str] | None, pages: int, request: gr.Request) -> AsyncIterator[Any]:
        """The clips on the right until the last has ended, and the gallery whenever one begins or ends."""
        session, mine = str(request.session_hash), object()
        self._turns[session] = mine
        api, said = self._api(request), [""] * MOST_TAKES
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
            yield *_untouched(MOST_TAKES + 2), self._refusal(error)
        finally:
            if self._turns.get(session) is mine:
                del self._turns[session]

    async def cancel(self, shown: Sequence[str] | None, request: gr.Request) -> Any:
        for video_id in shown or ():
            try:
                await self._api(request).cancel(video_id)
            except ApiError as error:
                if error.code not in ("not_cancellable", "video_not_found"):
                    return self._refusal(error)
        return ""

    async def browse(self, pages: int, request: gr.Request, event: gr.EventData) -> Any:
        """A past clip to the right, or more of them."""
        if event._data["act"] == "show":
            return [event._data["id"]], UNTOUCHED, UNTOUCHED
        try:
            return UNTOUCHED, pages + 1, await self._past(self._api(request), pages + 1)
        except ApiError:
            return _untouched(3)

    async def use(self, request: gr.Request, event: gr.EventData) -> Any:
        """The settings of a clip into the controls, its seed included."""
        try:
            catalog = await self._known(request)
            video: Video = await self._api(request).video(event._data["id"])
        except ApiError as error:
            return *_untouched(2), self._refusal(error), *_untouched(2 + len(FIELDS))
        model = catalog.served(video["model"])
        values = recalled(video["parameters"], catalog.models[model])
        return (
            video["prompt"],
            1,
            "",
            model,
            self._fit.presets(catalog, model),
            *self._fit.fields(catalog, model, values),
        )

    def _api(self, request: gr.Request) -> Api:
        return self._api_of(request.cookies)

    async def _known(self, request: gr.Request) -> Catalog:
        if self._catalog is None or self._catalog.old:
            self._catalog = await Catalog.read(self._api(request))
        return self._catalog

    async def _fields(self, prompt: str, settings: Sequence[Any], request: gr.Request) -> dict[str, Any]:
        """A submission's, from the model, the preset and the advanced ones."""
        catalog = await self._known(request)
        model, preset, *values = settings
        model = catalog.served(model)
        row = catalog.preset(model, preset)
        named = asked({f.name: value for f, value in zip(FIELDS, values, strict=True)}, catalog.models[model], row)
        return {"prompt": prompt, "model": model} | ({"preset": preset} if row else {}) | named

    async def _past(self, api: Api, pages: int) -> str:
        videos, more = await api.newest(min(pages * GALLERY_PAGE, MOST_LISTED))
        return html.gallery(videos, self._words, more=more and len(videos) < MOST_LISTED)

    def _refusal(self, error: ApiError) -> str:
        return html.refusal(error, self._words)


def _kept(picture: str | None) -> Path | None:
    """The uploaded file; uploads are not kept for ever."""
    return Path(picture) if picture is not None and Path(picture).is_file() else None


def _untouched(times: int) -> list[Any]:
    return [UNTOUCHED] * times
