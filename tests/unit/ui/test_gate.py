"""Whose key a visitor has: the browser's cookie, or the header of a program."""

from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from serving.ui.gate import KEY, key_of


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({"cookie": f"{KEY}=i2v_a"}, "i2v_a"),
        ({"authorization": "Bearer i2v_b"}, "i2v_b"),
        ({"authorization": "bearer  i2v_b "}, "i2v_b"),
        ({"authorization": "Basic i2v_b"}, None),
        ({"authorization": "Bearer "}, None),
        ({"cookie": f"{KEY}=i2v_a", "authorization": "Bearer i2v_b"}, "i2v_a"),
    ],
    ids=str,
)
def test_by_cookie_or_by_header(headers: dict[str, str], key: str | None) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert key_of(HTTPConnection({"type": "http", "headers": raw})) == key
