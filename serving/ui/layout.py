"""The page's controls and where they stand, in one language. Knows nothing of what they do."""

from __future__ import annotations

from abc import ABCMeta
from dataclasses import dataclass
from typing import Any

import gradio as gr

from serving.ui import html
from serving.ui.fields import FIELDS, Field
from serving.ui.words import LANGUAGES, Words

MOST_TAKES = 4
TAKES = range(1, MOST_TAKES + 1)
SHOWN = "i2v_shown"
"""What the browser keeps: the ids of the videos on the right."""


@dataclass(frozen=True)
class Layout:
    """The controls that something happens to."""

    key_row: gr.Accordion
    key: gr.Textbox
    key_enter: gr.Button
    picture: gr.Image
    prompt: gr.Textbox
    category: gr.Dropdown
    template: gr.Dropdown
    product: gr.Textbox
    write: gr.Button
    preset: gr.Radio
    takes: gr.Slider
    model: gr.Dropdown
    fields: tuple[Any, ...]
    """One of each of FIELDS."""
    warnings: gr.HTML
    quote: gr.HTML
    generate: gr.Button
    cancel: gr.Button
    notice: gr.HTML
    about: gr.HTML
    """What is worth knowing of the model that answers."""
    clips: tuple[gr.HTML, ...]
    """As many as there may be takes."""
    gallery: gr.HTML
    pages: gr.State
    """How many pages of the gallery are shown."""
    shown: gr.BrowserState


def lay_out(words: Words) -> Layout:
    """Put everything into the Blocks that are open."""
    links = " ".join(
        f'<a href="../language/{name}" lang="{name}" hreflang="{name}"'
        f"{' aria-current=true' if name == words.language else ''}>{own}</a>"
        for name, own in LANGUAGES.items()
    )
    header = f"<div><h1>{words('title')}</h1><p>{words('intro')}</p></div>"
    _html(f'<header>{header}<nav aria-label="{words("switch")}">{links}</nav></header>', elem_id="top")
    about = _html(elem_id="about")
    with gr.Accordion(words("key"), open=True, visible=False) as key_row, gr.Row():
        key = gr.Textbox(label=words("key"), info=words("key_hint"), type="password", scale=4, elem_id="key")
        key_enter = gr.Button(words("key_enter"), scale=1)
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320):
            picture = gr.Image(
                label=words("picture"),
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard"],
                height=260,
                elem_id="picture",
            )
            # The bytes go to the service as they came: it alone decodes what cannot be trusted.
            picture.preprocess = lambda payload: None if payload is None else payload.path  # type: ignore[method-assign]
            prompt = gr.Textbox(
                label=words("prompt"),
                info=words("prompt_hint"),
                placeholder=words("prompt_example"),
                lines=3,
                max_lines=8,
                elem_id="prompt",
            )
            warnings = _html(elem_id="warnings")
            with gr.Accordion(words("help"), open=False):
                with gr.Row():
                    category = gr.Dropdown(label=words("category"), min_width=140)
                    template = gr.Dropdown(label=words("template"), min_width=180)
                product = gr.Textbox(label=words("product"), info=words("product_hint"))
                write = gr.Button(words("write"), size="sm")
            preset = gr.Radio(label=words("preset"), elem_id="preset")
            takes = Range(1, MOST_TAKES, 1, step=1, label=words("takes"), info=words("takes_hint"), elem_id="takes")
            with gr.Accordion(words("advanced"), open=False, elem_id="advanced"):
                model = gr.Dropdown(label=words("model"), visible=False)
                fields = tuple(_control(field, words) for field in FIELDS)
            with gr.Column(elem_id="press"):
                quote = _html(elem_id="quote")
                notice = _html(elem_id="notice")
                with gr.Row():
                    generate = gr.Button(words("generate"), variant="primary", elem_id="generate")
                    cancel = gr.Button(words("cancel"), variant="stop", visible=False, elem_id="cancel")
        with gr.Column(scale=7, min_width=320):
            _html(f"<h2>{words('clips')}</h2>")
            with gr.Row(elem_id="clips"):
                clips = tuple(_clip(number, words) for number in range(MOST_TAKES))
            _html(f"<h2>{words('gallery')}</h2>")
            gallery = _html(elem_id="gallery")
    return Layout(
        key_row,
        key,
        key_enter,
        picture,
        prompt,
        category,
        template,
        product,
        write,
        preset,
        takes,
        model,
        fields,
        warnings,
        quote,
        generate,
        cancel,
        notice,
        about,
        clips,
        gallery,
        gr.State(1),
        gr.BrowserState([], storage_key=SHOWN, secret=SHOWN),
    )


def _html(value: str = "", **options: Any) -> gr.HTML:
    return gr.HTML(value, apply_default_css=False, js_on_load=html.CLICKS, **options)


def _clip(number: int, words: Words) -> gr.HTML:
    return _html(nothing(words) if number == 0 else "", visible=number == 0, min_width=200)


def nothing(words: Words) -> str:
    return f'<div class="blank quiet">{words("nothing_yet")}</div>'


def _taken(_: gr.Slider, payload: float) -> Any:
    """No model's range holds 0: it stands there, and is nothing, until the model's default does."""
    return payload or None


# A slider that leaves it to others what is legal: Gradio names no field. A class, as Gradio makes controls anew for
# every visitor whose bounds it changes; and not by a class statement, as Gradio would write a stub beside this module.
Range: type[gr.Slider] = ABCMeta.__new__(
    type(gr.Slider), "Range", (gr.Slider,), {"__module__": __name__, "preprocess": _taken, "is_template": True}
)


def _control(field: Field, words: Words) -> Any:
    """The control of one row, without the bounds and values that only a model gives it."""
    hint = f"{field.name}_hint"
    told: dict[str, Any] = {"label": words.label(field.name), "info": words.hint(hint), "elem_id": field.name}
    if field.kind == "range":
        return Range(0, 100, 0, step=field.step, **told)
    if field.kind == "choice":
        return gr.Dropdown(**told)
    if field.kind == "choices":
        return gr.CheckboxGroup(**told)
    # Enter is one more line, and nothing that is missing.
    return gr.Textbox(lines=field.lines, max_lines=8 if field.kind == "lines" else 20, **told)
