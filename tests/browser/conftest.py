"""A real Chromium without a window that may talk to this machine alone.

Chromium is Debian's, or what CHROMIUM names. Without one the tests are skipped, and fail where CI=true.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from missing import missing
from playwright.sync_api import Browser, Page, expect, sync_playwright

from deployments.child import ChildService

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LIMIT_MS = 180_000
"""For what takes a moment here, and longer on a busy machine."""
expect.set_options(timeout=LIMIT_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if found is None:
        missing("Chromium is not installed (apt-get install chromium), and CHROMIUM names none")
    # Not longer than its module: until its end this thread has an event loop, and other tests can run none.
    with sync_playwright() as playwright:
        # Root may not use Chromium's own sandbox.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(service: ChildService, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the page at / in a browser of its own: nothing is kept from other visits.

    At the end there must have been no request to any other machine, and no error in the browser's console.
    """
    contexts, outside, errors = [], [], []

    def open_page(language: str = "en-US", viewport: dict[str, int] = DESKTOP, *, locked: bool = False) -> Page:
        context = browser.new_context(locale=language, viewport=viewport)  # type: ignore[arg-type]
        context.set_default_timeout(LIMIT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda sent: None if _here(sent.url) else outside.append(sent.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{service.url}/")
        page.wait_for_selector("#generate")
        if not locked:
            expect(page.locator("#preset input").nth(1)).to_be_attached()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert (outside, errors) == ([], [])


@pytest.fixture(scope="session")
def shots(request: pytest.FixtureRequest) -> Path:
    """Where screenshots go, to be looked at."""
    folder = request.config.rootpath / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _here(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob") or parts.hostname in ("127.0.0.1", "localhost")
