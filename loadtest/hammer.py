"""As many requests as a server answers: one after another on some connections that stay open. Costs little itself.

A closed loop, to find a rate; it says nothing of latencies under load, which `openloop` measures.
"""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

SILENT_S = 30.0
"""So long a first answer is waited for."""


class _Connection(asyncio.Protocol):
    """Sends the next request once an answer is whole."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._read = b""
        self.answered = 0
        self.refused = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found or not _whole(head, body):
            return
        self._read = b""
        self.refused += not head.startswith(b"HTTP/1.1 200")
        self.answered += 1
        if self.transport is not None:
            self.transport.write(self._request)


def _whole(head: bytes, body: bytes) -> bool:
    """Whether the body is all there; one without a length comes in chunks, of which the last is empty."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return body.endswith(b"0\r\n\r\n")


async def rate(url: str, path: str, seconds: float, connections: int = 16) -> float:
    """Answers a second to `GET path`, counted for `seconds`, or until there is one where that takes longer.

    Raises:
        ValueError: an answer was no 200, or there was none for a long time.
    """
    where = urlsplit(url)
    request = f"GET {path} HTTP/1.1\r\nhost: {where.netloc}\r\naccept: */*\r\n\r\n".encode()
    loop, host, port = asyncio.get_running_loop(), where.hostname or "", where.port or 80
    opened = [await loop.create_connection(lambda: _Connection(request), host, port) for _ in range(connections)]
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    while not any(one.answered for _, one in opened) and time.perf_counter() - began < seconds + SILENT_S:
        await asyncio.sleep(0.01)
    answered = sum(one.answered for _, one in opened)
    took_s = time.perf_counter() - began
    for transport, _ in opened:
        transport.close()
    if any(one.refused for _, one in opened) or not answered:
        raise ValueError(f"{path} was not always answered with 200")
    return answered / took_s
