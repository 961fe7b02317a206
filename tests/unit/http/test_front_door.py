"""Where the bare address leads."""

from __future__ import annotations

from collections.abc import Callable

from hands import Api


def test_to_the_page(api: Api) -> None:
    answer = api.http.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (302, "ui/")


def test_nowhere_without_a_page(make_api: Callable[..., Api]) -> None:
    answer = make_api(page=False).http.get("/", follow_redirects=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
