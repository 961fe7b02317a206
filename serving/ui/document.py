"""Gradio's HTML documents in the language of their address: what it says by itself follows the browser's language."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.ui.words import LANGUAGES

# Gradio asks the browser for its language alone, when its first script runs.
ICON = (
    '<link rel="icon" href="data:image/svg+xml,<svg xmlns=%22http://www.w3.org/2000/svg%22 viewBox=%220 0 16 16%22>'
    '<path d=%22M3 1l11 7-11 7z%22 fill=%22%23f97316%22/></svg>">'
)
ASK = '<script>Object.defineProperty(navigator, "language", {{get: () => "{tag}"}});</script>'
TAGS = {"en": "en", "zh": "zh-CN"}


class InLanguage:
    """ASGI middleware: the document of /<language>/ says so, and to Gradio too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        language = scope["path"].rstrip("/").rpartition("/")[2] if scope["type"] == "http" else ""
        if language not in LANGUAGES:
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def send_changed(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            assert start is not None
            body += message.get("body", b"")
            if message.get("more_body", False):
                return
            changed = _in_language(body, language)
            if "content-length" in (headers := MutableHeaders(scope=start)):
                headers["content-length"] = str(len(changed))
            await send(start)
            await send({"type": "http.response.body", "body": changed})

        await self._app(scope, receive, send_changed)


def _in_language(document: bytes, language: str) -> bytes:
    tag = TAGS[language]
    document = document.replace(b'lang="en"', f'lang="{tag}"'.encode(), 1)
    return document.replace(b"<head>", f"<head>{ASK.format(tag=tag)}{ICON}".encode(), 1)
