"""The page's controls, as Gradio makes them anew for a visitor."""

from __future__ import annotations

from typing import Any

import gradio as gr
import pytest

from serving.ui.fields import FIELDS
from serving.ui.layout import lay_out
from serving.ui.words import LANGUAGES, Words


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_a_range_does_not_hold_is_left_to_the_service(language: str) -> None:
    with gr.Blocks():
        controls = lay_out(Words(language)).fields
    ranges = [control for field, control in zip(FIELDS, controls, strict=True) if field.kind == "range"]
    assert ranges
    for control in ranges:
        bounded: dict[str, Any] = control.constructor_args | {"minimum": 8, "maximum": 32, "value": 16}
        # What Gradio does where an event changes them, with values that the browser sent before.
        anew = type(control)(**bounded)
        assert [anew.preprocess(value) for value in (0, 4, 16, 64)] == [None, 4, 16, 64]
        assert (anew.get_block_name(), type(anew).__module__) == ("slider", "serving.ui.layout")
