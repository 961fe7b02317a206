"""The page's own web application: one Gradio page a language, the visitor's key, and the clips' bytes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import gradio as gr
import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.background import BackgroundTask
from starlette.types import ASGIApp

from serving.client import ApiError
from serving.ui.api import TIMEOUT, Api
from serving.ui.document import InLanguage
from serving.ui.endpoint import AtThePage
from serving.ui.gate import KEY, Gate, Visit, key_of
from serving.ui.page import Page
from serving.ui.quotes import Quotes
from serving.ui.words import LANGUAGES, Words, preferred

STYLE = Path(__file__).parent / "page.css"
LANGUAGE = "i2v_language"
KEPT_S = 30 * 86_400
MOST_KEY_BYTES = 200
ASKED = ("range", "if-range", "if-none-match")
TOLD = (
    "accept-ranges",
    "cache-control",
    "content-disposition",
    "content-length",
    "content-range",
    "content-type",
    "etag",
)
FONT = ("system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "WenQuanYi Micro Hei", "sans-serif")


def create_page(api_url: str, folder: Path, *, max_upload_bytes: int) -> ASGIApp:
    """The page over the API at `api_url`.

    Args:
        folder: for pictures that were uploaded and not yet submitted; emptied now, and of what is a day old later.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    http = httpx.AsyncClient(base_url=api_url, timeout=TIMEOUT, limits=httpx.Limits(max_connections=None))

    def api_of(visit: Visit) -> Api:
        return Api(http, key_of(visit))

    app = FastAPI(openapi_url=None)

    @app.get("/")
    async def choose(request: Request) -> Response:
        known = request.cookies.get(LANGUAGE)
        language = known if known in LANGUAGES else preferred(request.headers.get("accept-language", ""))
        return RedirectResponse(f"{_root(request)}/{language}/", 302, {"vary": "accept-language, cookie"})

    @app.get("/language/{language}")
    async def switch(request: Request, language: str) -> Response:
        answer = RedirectResponse(f"{_root(request)}/", 302)
        if language in LANGUAGES:
            answer.set_cookie(LANGUAGE, language, max_age=KEPT_S, path=_root(request) or "/", samesite="lax")
        return answer

    @app.post("/key")
    async def enter(request: Request) -> Response:
        key = await _body(request)
        answer = Response(status_code=204)
        secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
        path = _root(request) or "/"
        answer.set_cookie(
            KEY, key, max_age=KEPT_S if key else 0, path=path, secure=secure, httponly=True, samesite="strict"
        )
        return answer

    @app.get("/clips/{video_id}")
    async def clip(request: Request, video_id: str, variant: str = "video") -> Response:
        asked = {name: request.headers[name] for name in ASKED if name in request.headers}
        try:
            found = await api_of(request).content(video_id, variant, asked)
        except ApiError as error:
            return JSONResponse({"error": {"message": str(error), "code": error.code}}, 502)
        told = {name: found.headers[name] for name in TOLD if name in found.headers}
        return StreamingResponse(found.aiter_raw(), found.status_code, told, background=BackgroundTask(found.aclose))

    quotes = Quotes()
    for language in LANGUAGES:
        gr.mount_gradio_app(
            app,
            Page(Words(language), api_of, quotes).blocks(),
            path=f"/{language}",
            footer_links=[],
            run_history=False,
            show_error=True,
            max_file_size=max_upload_bytes,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            theme=_theme(),
            css=STYLE.read_text(),
        )
    return Gate(AtThePage(InLanguage(app)), api_of)


def _theme() -> gr.themes.Base:
    """Of fonts that a machine has; grey that can be read."""
    theme = gr.themes.Default(font=FONT, font_mono=("ui-monospace", "monospace"))
    grey = {"body_text_color_subdued": "*neutral_600", "input_placeholder_color": "*neutral_500"}
    dark = {f"{name}_dark": "*neutral_400" for name in grey}
    return theme.set(**grey, **dark)


def _root(request: Request) -> str:
    """Where this application is, as the browser sees it."""
    return str(request.scope.get("root_path", "")).rstrip("/")


async def _body(request: Request) -> str:
    """A key, which is short and plain; anything else is none."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_KEY_BYTES:
            return ""
    text = body.decode("latin-1").strip()
    return text if text.isascii() and text.isprintable() else ""
