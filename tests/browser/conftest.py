"""A real service with its page, and a real Chromium without a window that may talk to this machine alone.

Chromium is Debian's, or what CHROMIUM names. Without one the tests are skipped, and fail where CI=true.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from deployments.child import ChildService

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
expect.set_options(timeout=60_000)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildService]:
    running = ChildService(tmp_path_factory.mktemp("service"), I2V_PAGE="1")
    running.start()
    while httpx.get(f"{running.url}/ui/").status_code == 503:
        time.sleep(0.2)
    yield running
    assert running.stop(signal.SIGTERM) == 0


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if found is None:
        reason = "Chromium is not installed (apt-get install chromium), and CHROMIUM names none"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
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
