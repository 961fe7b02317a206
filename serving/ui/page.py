"""What the page does, in one language: its events, and what is asked for on the left. Holds no clips and no keys."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import gradio as gr

from serving.client import ApiError, Video
from serving.errors import RateLimited
from serving.presets import BUILTIN
from serving.remote_picture import FIELD
from serving.ui import html
from serving.ui.api import Api
from serving.ui.catalog import Catalog
from serving.ui.clips import UNTOUCHED, Clips, untouched
from serving.ui.endpoint import Endpoint
from serving.ui.fields import FIELDS, asked, recalled, standing
from serving.ui.fitting import OWN, Fitting
from serving.ui.gate import KEY, ApiOf
from serving.ui.layout import MOST_TAKES, TAKES, Layout, Range, lay_out
from serving.ui.quotes import Quotes
from serving.ui.uploads import take_uploads_alone, uploaded
from serving.ui.words import Words

TYPING_S = 0.7
"""How long a quote waits for the next change."""
ANY_PROMPT = "pan"
"""In a quote without a prompt: of what it costs, words decide nothing."""
DAY_S = 86_400
# Into a cookie that scripts cannot read.
ENTER_KEY = "async (key) => { await fetch('../key', {method: 'POST', body: key}); return ''; }"
# Where they are not beside the controls.
TO_THE_CLIPS = "() => { if (innerWidth < 768) document.querySelector('#clips').scrollIntoView({behavior: 'smooth'}); }"
# From beside a clip, where it is out of sight on a phone.
TO_THE_NOTICE = "() => document.querySelector('#notice [role=alert]')?.scrollIntoView({block: 'nearest'})"


class Page:
    """The events of one language."""

    def __init__(self, words: Words, api_of: ApiOf, quotes: Quotes) -> None:
        """`quotes` may be shared with other languages."""
        self._words = words
        self._fit = Fitting(words)
        self._api_of = api_of
        self._quotes = quotes
        self._clips = Clips(words, api_of)
        self._catalog: Catalog | None = None
        self._changes: dict[str | None, object] = {}
        """The latest change of each visit that is not quoted yet."""

    def blocks(self) -> gr.Blocks:
        blocks: gr.Blocks
        with gr.Blocks(title=self._words("title"), analytics_enabled=False, delete_cache=(3600, DAY_S)) as blocks:
            self._wire(lay_out(self._words), blocks)
            Endpoint(self._api_of).wire()
        blocks.queue(default_concurrency_limit=None)
        take_uploads_alone(blocks)
        return blocks

    def _wire(self, at: Layout, blocks: gr.Blocks) -> None:
        silent: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        settings = [at.model, at.preset, *at.fields]
        wishes = [at.picture, at.prompt, at.takes, *settings]
        opening: dict[str, Any] = {
            "fn": self.open,
            "outputs": [at.key_row, at.notice, at.about, at.category, at.template, *settings],
            "trigger_mode": "multiple",
            **silent,
        }
        showing: dict[str, Any] = {
            "fn": self._clips.show,
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
        # What an event fills in is quoted when all of it is there.
        at.write.click(self.write, writing, written, **silent).then(**quoting)
        at.model.input(self.fit_model, at.model, [at.preset, *at.fields], **silent).then(**quoting)
        at.preset.input(self.fit_preset, [at.model, at.preset], list(at.fields), **silent).then(**quoting)
        # Where Gradio puts a number right, or back, it is a change and no input.
        controls = (at.takes, *at.fields)
        moved = [control.change if isinstance(control, Range) else control.input for control in controls]
        gr.on([at.picture.change, at.prompt.change, *moved], trigger_mode="always_last", **quoting)
        # What was said of the one before is over.
        gr.on([at.picture.change, at.prompt.change], None, None, at.notice, js="() => ''", **silent)
        asking = [at.generate.click, at.prompt.submit]
        submitting = gr.on(asking, self.submit, wishes, [at.shown, at.notice, at.quote], **silent)
        submitting.success(None, js=TO_THE_CLIPS)
        at.cancel.click(self._clips.cancel, at.shown, at.notice, **silent)
        at.gallery.click(self._clips.browse, at.pages, [at.shown, at.pages, at.gallery], **silent)
        for clip in at.clips:
            using = clip.click(self.use, None, [at.prompt, at.takes, at.notice, *settings], **silent)
            using.then(**quoting)
            remixing = clip.click(self._clips.remix, None, [at.shown, at.notice], **silent)
            remixing.then(None, js=TO_THE_NOTICE)

    async def open(self, request: gr.Request) -> Any:
        """What the service offers, in the controls; the key's row where one is asked for."""
        try:
            self._catalog = catalog = await Catalog.read(self._api(request))
        except ApiError as error:
            locked = error.code == "invalid_api_key"
            return gr.update(visible=locked, open=True), self._refusal(error), *untouched(5 + len(FIELDS))
        name = catalog.served(None)
        categories = [(self._words.of("category", one), one) for one in catalog.categories(name)]
        category = gr.update(choices=categories, value=categories[0][1])
        model = gr.update(choices=list(catalog.models), value=name, visible=len(catalog.models) > 1)
        template = self._fit.templates(catalog, name, categories[0][1])
        # Folded, for another key or none.
        key_row = gr.update(visible=bool(request.cookies.get(KEY)), open=False)
        about = html.about_model(self._words("builtin")) if name == BUILTIN else ""
        return key_row, "", about, category, template, model, *self._fit.anew(catalog, name)

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
            return UNTOUCHED, self._refusal(error), *untouched(1 + len(FIELDS))
        values = standing(catalog.models[model], None) | row["parameters"]
        values["negative_prompt"] = row["negative_prompt"] or values["negative_prompt"]
        return row["prompt"], "", OWN, *self._fit.fields(catalog, model, values)

    async def fit_model(self, model: str, request: gr.Request) -> Any:
        return self._fit.anew(await self._known(request), model)

    async def fit_preset(self, model: str, preset: str, request: gr.Request) -> Any:
        return self._fit.anew(await self._known(request), model, preset)[1:]

    async def quote(
        self, picture: str | None, prompt: str, takes: float | None, request: gr.Request, *settings: Any
    ) -> Any:
        """What it would cost, and what is worth a look, before anything is sent."""
        if not await self._settled(request.session_hash):
            return UNTOUCHED, UNTOUCHED
        kept = uploaded(picture)
        if kept is None and not prompt.strip():
            return "", ""
        if takes is None or takes not in TAKES:
            return UNTOUCHED, self._wrong_takes
        try:
            # What is wrong with a picture, and what its clip costs, is known before the first word.
            fields = await self._fields(prompt.strip() or ANY_PROMPT, settings, request)
            found = await self._quotes.quote(self._api(request), kept, fields)
        except ApiError as error:
            if error.code == RateLimited.code:
                return UNTOUCHED, html.resting(self._words)
            return "", self._refusal(error)
        told = html.quote(found, int(takes), self._words, seen=kept is not None)
        warnings = [row for row in found["warnings"] if prompt.strip() or row["field"] == FIELD]
        return html.warnings(warnings, self._words), told

    async def submit(
        self, picture: str | None, prompt: str, takes: float | None, request: gr.Request, *settings: Any
    ) -> Any:
        """One job for each take, with seeds that follow one another where one is named."""
        kept = uploaded(picture)
        if kept is None:
            return UNTOUCHED, html.wrong("picture", self._words), ""
        if not prompt.strip():
            return UNTOUCHED, html.wrong("prompt", self._words), ""
        if takes is None or takes not in TAKES:
            return UNTOUCHED, self._wrong_takes, ""
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

    async def use(self, request: gr.Request, event: gr.EventData) -> Any:
        """The settings of a clip into the controls, its seed included."""
        if event._data["act"] != "use":
            return untouched(5 + len(FIELDS))
        try:
            catalog = await self._known(request)
            video: Video = await self._api(request).video(event._data["id"])
        except ApiError as error:
            return *untouched(2), self._refusal(error), *untouched(2 + len(FIELDS))
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
        return self._api_of(request)

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

    async def _settled(self, visit: str | None) -> bool:
        """Whether nothing more is changed for a moment: of changes one after the other, the last is quoted."""
        change = self._changes[visit] = object()
        try:
            await asyncio.sleep(TYPING_S)
            return self._changes.get(visit) is change
        finally:
            if self._changes.get(visit) is change:
                del self._changes[visit]

    @property
    def _wrong_takes(self) -> str:
        return html.wrong("takes", self._words, most=MOST_TAKES)

    def _refusal(self, error: ApiError) -> str:
        return html.refusal(error, self._words)
