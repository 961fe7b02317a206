"""Of many changes at once one quote is asked for."""

from __future__ import annotations

import asyncio

import pytest

from serving.ui import page
from serving.ui.page import Page
from serving.ui.quotes import Quotes
from serving.ui.words import Words


def test_the_last_of_a_visit_s_changes_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "TYPING_S", 0.05)
    one = Page(Words("en"), lambda request: pytest.fail("nothing is asked"), Quotes())

    async def changes() -> list[bool]:
        found = await asyncio.gather(*(one._settled(visit) for visit in ("a", "a", "b", "a")))
        gone = asyncio.create_task(one._settled("a"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        return [*found, await one._settled("b")]

    assert asyncio.run(changes()) == [False, False, True, True, True]
    assert one._changes == {}
