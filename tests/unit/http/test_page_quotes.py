"""Quotes as the page asks for them, of the real API: the picture goes along once, and the answer is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from hands import Api, picture

from serving.client import Quote
from serving.ui.api import Api as Visitor
from serving.ui.quotes import Quotes

Asked = Mapping[str, Any]


def quoted(api: Api, still: Path | None, *each: Asked) -> tuple[list[Quote], list[Quote], list[bool]]:
    """The quotes of the page, those that the API gives when it is sent the picture, and which of the first sent it."""
    sent: list[bool] = []

    async def note(request: httpx.Request) -> None:
        sent.append(b"filename=" in await request.aread())

    async def everything() -> tuple[list[Quote], list[Quote]]:
        transport = httpx.ASGITransport(app=api.http.app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://i2v", event_hooks={"request": [note]}
        ) as http:
            quotes, visitor = Quotes(), Visitor(http, None)
            page = [await quotes.quote(visitor, still, fields) for fields in each]
            count = len(sent)
            whole = [await visitor.quote(still, fields) for fields in each] if still else []
            del sent[count:]
            return page, whole

    return *asyncio.run(everything()), sent


def known(quote: Quote) -> dict[str, Any]:
    """Without what is another one each time."""
    parameters = {name: value for name, value in quote["parameters"].items() if name != "seed"}
    times = dict.fromkeys(("created_at", "starts_at", "finishes_at"))
    return quote | times | {"parameters": parameters}


@pytest.mark.parametrize("size", [(320, 240), (240, 700), (1000, 300)], ids=str)
def test_the_picture_is_sent_once_for_each_way_it_is_framed(api: Api, tmp_path: Path, size: tuple[int, int]) -> None:
    still = tmp_path / "still.png"
    still.write_bytes(picture(*size))
    each = [
        {"prompt": "pan left"},
        {"prompt": "a beautiful mug"},
        {"prompt": "pan left", "num_inference_steps": 20, "segments": 2},
        {"prompt": "pan left", "resolution": "512p"},
        {"prompt": "pan right", "resolution": "512p", "num_frames": 9},
        {"prompt": "pan right", "aspect_ratio": "1:1"},
        {"prompt": "pan right", "fit": "pad"},
        {"prompt": "zoom in", "aspect_ratio": "1:1"},
        {"prompt": "pan left", "preset": "preview"},
        {"prompt": "zoom in", "preset": "preview", "fps": 12},
    ]
    page, whole, sent = quoted(api, still, *each)
    assert [known(one) for one in page] == [known(one) for one in whole]
    assert sent == [True, False, False, True, False, True, True, False, True, False]
    assert {row["code"] for row in page[1]["warnings"]} >= {"low_resolution", "abstract_words"}


def test_without_a_picture_it_is_a_square_one_s(api: Api) -> None:
    (first, second), _, sent = quoted(api, None, {"prompt": "pan"}, {"prompt": "pan", "aspect_ratio": "16:9"})
    assert (first["size"], sent) == ("256x256", [False, False])
    assert second["size"] != first["size"]


def test_quotes_never_keep_a_key_from_submitting(api: Api) -> None:
    _, token = api.store.keys.create("shop", rate="3/minute")
    bearer = {"authorization": f"Bearer {token}"}
    square = {"prompt": "pan left", "size": "256x256"}
    codes = [api.http.post("/v1/videos/quote", json=square, headers=bearer).status_code for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    sent = {"data": {"prompt": "pan left"}, "files": {"input_reference": picture()}, "headers": bearer}
    assert [api.http.post("/v1/videos", **sent).status_code for _ in range(4)] == [200, 200, 200, 429]
