"""A picture by its URL, from public addresses alone, within bounds of time and size.

Each hop's name is resolved once and the connection made to the address that was checked. Knows nothing of requests
to this service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from serving.addresses import NotPublic, public_addresses
from serving.errors import ImageFetchFailed, ServerOverloaded, UrlNotAllowed

FIELD = "input_reference"
TIMEOUT_S = 10.0
MAX_BYTES = 20 * 2**20
MAX_REDIRECTS = 3
AT_ONCE = 8
PORTS = {"http": 80, "https": 443}
Fetch = Callable[[str], Awaitable[bytes]]
Resolve = Callable[[str, int], tuple[str, ...]]


class RemotePictures:
    """Fetches a few pictures at once, in one process."""

    def __init__(
        self,
        *,
        max_bytes: int = MAX_BYTES,
        timeout_s: float = TIMEOUT_S,
        at_once: int = AT_ONCE,
        resolve: Resolve = public_addresses,
    ) -> None:
        """`resolve` gives the addresses that may be connected to, or raises `NotPublic`."""
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._at_once = at_once
        self._under_way = 0
        self._resolve = resolve
        # Threads of their own: a name's server may keep them waiting, and whoever made the URL may own that server.
        self._threads = ThreadPoolExecutor(at_once, "resolve")

    async def fetch(self, url: str) -> bytes:
        """The bytes behind an http or https URL.

        Raises:
            UrlNotAllowed: no such URL, or it or a redirect leads to an address that is not public. It is the same
                for all of these, so that nothing can be learnt about the network here.
            ImageFetchFailed: another answer than 200, too large, too slow, or no answer.
            ServerOverloaded: as many are being fetched as may be.
        """
        if self._under_way >= self._at_once:
            raise ServerOverloaded("Too many pictures are being fetched; try again later.", retry_after_s=2)
        self._under_way += 1
        try:
            # No proxy and no credentials, whatever the environment says.
            async with asyncio.timeout(self._timeout_s), httpx.AsyncClient(trust_env=False) as client:
                return await self._follow(client, _checked(url))
        except TimeoutError:
            raise _failed(f"took longer than {self._timeout_s:g} s") from None
        except (httpx.HTTPError, OSError):
            raise _failed("gave no answer") from None
        finally:
            self._under_way -= 1

    async def _follow(self, client: httpx.AsyncClient, url: httpx.URL) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            response = await client.send(await self._pinned(client, url), stream=True)
            try:
                if not response.has_redirect_location:
                    return await self._body(response)
            finally:
                await response.aclose()
            url = _checked(response.headers["location"], url)
        raise _failed("redirects too often")

    async def _pinned(self, client: httpx.AsyncClient, url: httpx.URL) -> httpx.Request:
        """A request to the checked address that names the host in its header and, for TLS, in the handshake."""
        loop, port = asyncio.get_running_loop(), url.port or PORTS[url.scheme]
        try:
            address, *_ = await loop.run_in_executor(self._threads, self._resolve, url.host, port)
        except NotPublic:
            raise _not_allowed() from None
        headers = {
            "host": url.netloc.decode("ascii"),
            "accept": "image/*",
            "accept-encoding": "identity",  # what is unpacked here could be larger than what was allowed
            "user-agent": "i2v",
        }
        extensions = {"sni_hostname": url.raw_host.decode("ascii")}
        return client.build_request("GET", url.copy_with(host=address), headers=headers, extensions=extensions)

    async def _body(self, response: httpx.Response) -> bytes:
        if response.status_code != 200:
            raise _failed(f"answered {response.status_code}")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._max_bytes:
                raise _failed(f"is larger than {self._max_bytes} bytes")
        return bytes(body)


def _checked(url: str, base: httpx.URL | None = None) -> httpx.URL:
    try:
        found = httpx.URL(url) if base is None else base.join(url)
    except (httpx.InvalidURL, ValueError):
        raise _not_allowed() from None
    if found.scheme not in PORTS or not found.host or found.userinfo or not 0 < (found.port or 80) < 2**16:
        raise _not_allowed()
    return found


def _not_allowed() -> UrlNotAllowed:
    return UrlNotAllowed(f"{FIELD}: the URL is not one of a public http or https address.", param=FIELD)


def _failed(how: str) -> ImageFetchFailed:
    return ImageFetchFailed(f"{FIELD}: the picture's URL {how}.", param=FIELD)
