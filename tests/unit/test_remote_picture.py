"""Pictures by their URLs: what is fetched, what is refused, and to which address a connection is made.

The servers are real and on this machine; only names are resolved by the tests.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from serving.addresses import NotPublic, public_addresses
from serving.errors import I2VError, ImageFetchFailed, ServerOverloaded, UrlNotAllowed
from serving.remote_picture import RemotePictures

PICTURE = b"\x89PNG" + bytes(1000)
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        server.seen.append((self.path, dict(self.headers)))
        with suppress(OSError):  # the client has heard enough
            server.answers[self.path](self)

    def log_message(self, *_: Any) -> None:
        pass

    def say(self, status: int = 200, body: bytes = PICTURE, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"content-length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Site:
    """A server on this machine that "pictures.example" is said to lead to."""

    def __init__(self) -> None:
        self.server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.seen, self.server.answers = [], {}
        self.port = self.server.server_port
        self.resolved: list[tuple[str, int]] = []

    def url(self, path: str = "/", host: str = "pictures.example", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def resolve(self, host: str, port: int) -> tuple[str, ...]:
        self.resolved.append((host, port))
        if host.endswith("pictures.example"):
            return ("127.0.0.1",)
        return public_addresses(host, port)

    def fetch(self, url: str, **limits: Any) -> bytes:
        return asyncio.run(RemotePictures(resolve=self.resolve, **limits).fetch(url))


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_a_picture_comes_from_the_checked_address_under_its_own_name(site: Site) -> None:
    site.server.answers["/a.png?x=1"] = Handler.say
    assert site.fetch(site.url("/a.png?x=1")) == PICTURE
    ((path, headers),) = site.server.seen
    assert path == "/a.png?x=1"
    assert headers["host"] == f"pictures.example:{site.port}"
    assert headers["accept-encoding"] == "identity"
    assert site.resolved == [("pictures.example", site.port)]  # once: a second answer could be another address


def test_no_proxy_of_the_environment_is_asked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would resolve the name anew."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    site.server.answers["/"] = Handler.say
    assert site.fetch(site.url()) == PICTURE


def test_the_name_is_in_the_handshake(site: Site) -> None:
    """And whoever has no certificate for it is not believed."""
    names: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _, name, __: names.append(name)
    site.server.socket = context.wrap_socket(site.server.socket, server_side=True, do_handshake_on_connect=True)
    with pytest.raises(ImageFetchFailed):
        site.fetch(site.url(scheme="https"))
    assert names == ["pictures.example"]
    assert site.server.seen == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f.1:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://user@pictures.example:{port}/",
        "http://:pass@pictures.example:{port}/",
        "file:///etc/passwd",
        "ftp://pictures.example:{port}/",
        "http://",
        "http:///x",
        "https://[::1",
        "http://pictures.example:99999/",
        "http://no-such-name.invalid/",
    ],
)
def test_refused_without_a_connection_and_all_alike(site: Site, url: str) -> None:
    with pytest.raises(UrlNotAllowed) as refused:
        site.fetch(url.format(port=site.port))
    assert refused.value.message == "input_reference: the URL is not one of a public http or https address."
    assert refused.value.param == "input_reference"
    assert site.server.seen == []


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:{port}/", "http://[::1]:{port}/b", "file:///etc/passwd", "//localhost:{port}/b", "gopher://x/"],
)
def test_each_redirect_is_checked(site: Site, location: str) -> None:
    site.server.answers["/a"] = lambda h: h.say(302, b"", location=location.format(port=site.port))
    with pytest.raises(UrlNotAllowed):
        site.fetch(site.url("/a"))
    assert [path for path, _ in site.server.seen] == ["/a"]


def test_redirects_are_followed_a_few_times(site: Site) -> None:
    for number in range(9):
        site.server.answers[f"/{number}"] = lambda h, to=number + 1: h.say(307, b"", location=f"/{to}")
    site.server.answers["/9"] = Handler.say
    assert site.fetch(site.url("/6", host="cdn.pictures.example")) == PICTURE
    assert site.resolved == [("cdn.pictures.example", site.port)] * 4  # each hop anew
    with pytest.raises(ImageFetchFailed, match="too often"):
        site.fetch(site.url("/5"))


def test_a_name_whose_address_changes_is_asked_once(site: Site) -> None:
    """DNS rebinding: the second answer would be another machine's address."""
    site.server.answers["/"] = Handler.say
    answers = iter([("127.0.0.1",)])

    def resolve(host: str, port: int) -> tuple[str, ...]:
        return next(answers)

    assert asyncio.run(RemotePictures(resolve=resolve).fetch(site.url())) == PICTURE


@pytest.mark.parametrize("declared", [True, False])
def test_too_large(site: Site, declared: bool) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        if declared:
            handler.send_header("content-length", str(10**9))
        handler.end_headers()
        for _ in range(100_000):
            handler.wfile.write(bytes(10_000))

    site.server.answers["/"] = endless
    with pytest.raises(ImageFetchFailed, match="larger than 50000 bytes"):
        site.fetch(site.url(), max_bytes=50_000)


def test_what_is_packed_stays_packed(site: Site) -> None:
    site.server.answers["/"] = lambda h: h.say(body=b"\x1f\x8b not unpacked", **{"content-encoding": "gzip"})
    assert site.fetch(site.url()) == b"\x1f\x8b not unpacked"


@pytest.mark.parametrize("where", ["headers", "body", "name"])
def test_too_slow(site: Site, where: str) -> None:
    over = threading.Event()

    def slow(handler: Handler) -> None:
        if where == "body":
            handler.send_response(200)
            handler.end_headers()
            while not over.wait(0.05):
                handler.wfile.write(b"x")  # drop by drop: no single read is late
        over.wait(300)

    def resolve(host: str, port: int) -> tuple[str, ...]:
        if where == "name":
            over.wait(300)
        return site.resolve(host, port)

    site.server.answers["/"] = slow
    try:
        loop = asyncio.new_event_loop()
        with pytest.raises(ImageFetchFailed, match=r"longer than 0.3 s"):
            loop.run_until_complete(RemotePictures(resolve=resolve, timeout_s=0.3).fetch(site.url()))
    finally:
        over.set()
        loop.close()


@pytest.mark.parametrize("status", [204, 301, 401, 404, 500])
def test_other_answers(site: Site, status: int) -> None:
    site.server.answers["/"] = lambda h: h.say(status, b"")
    with pytest.raises(ImageFetchFailed, match=f"answered {status}"):
        site.fetch(site.url())


def test_nobody_there(site: Site) -> None:
    with pytest.raises(ImageFetchFailed, match="no answer"):
        site.fetch("http://pictures.example:1/")


def test_so_many_at_once(site: Site) -> None:
    over = threading.Event()
    site.server.answers["/slow"] = lambda h: over.wait(120) and h.say()
    site.server.answers["/"] = Handler.say
    pictures = RemotePictures(resolve=site.resolve, at_once=2)

    async def main() -> tuple[list[bytes], bytes]:
        slow = [asyncio.create_task(pictures.fetch(site.url("/slow"))) for _ in range(2)]
        while len(site.server.seen) < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(ServerOverloaded):
            await pictures.fetch(site.url())
        over.set()
        return list(await asyncio.gather(*slow)), await pictures.fetch(site.url())

    assert asyncio.run(main()) == ([PICTURE, PICTURE], PICTURE)


def test_every_refusal_names_the_field(site: Site) -> None:
    def nowhere(host: str, port: int) -> tuple[str, ...]:
        raise NotPublic

    with pytest.raises(I2VError) as refused:
        asyncio.run(RemotePictures(resolve=nowhere).fetch("https://pictures.example/"))
    assert refused.value.param == "input_reference"
