"""One conversation between two processes, of one machine or of two: authenticated, and without an endless wait.

Messages are bytes, and never pickles. A key proves who is there; nothing is encrypted: it is for the private network
that Ray's own traffic needs. Knows nothing of tensors, models or Ray.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge, wait
from types import TracebackType
from typing import Self

from serving.errors import Cancelled

logger = logging.getLogger(__name__)
SILENCE_S = 5.0
"""Longest pause in the middle of a message, and longest wait for a connection."""
POLL_S = 0.1
_LENGTH = struct.Struct("!Q")
"""Goes before each message: its bytes."""
LONGEST = 2**32
"""Bytes of a message: one of another release may say anything."""
_Exchange = Callable[[Connection, bytes], None]


class LinkLost(Exception):
    """The other side is gone, too slow, or not who it should be."""


@dataclass(frozen=True)
class Meeting:
    """Where one process waits for another, and what proves that it is the right one."""

    host: str
    port: int
    key: bytes = field(repr=False)


class Link:
    """Either end. Every method that waits raises LinkLost where the other side is lost."""

    def __init__(self, connected: socket.socket, *challenges: _Exchange, key: bytes) -> None:
        """Takes the socket over; each challenge proves the key to one side."""
        connected.settimeout(None)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel's own limits: Python's make a socket non-blocking, which a Connection does not understand.
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connected.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(SILENCE_S), 0))
        self._socket = connected
        try:
            with Connection(os.dup(connected.fileno())) as connection:
                for challenge in challenges:
                    challenge(connection, key)
        # A stranger's words are also the library's AssertionError or ValueError.
        except (OSError, EOFError, AuthenticationError, AssertionError, ValueError) as error:
            self.close()
            raise LinkLost(f"it does not know the key: {error!r}") from error

    def send(self, message: bytes | bytearray | memoryview) -> None:
        head = _LENGTH.pack(len(message))
        try:
            # In one go: what is small goes out whole even to one that is just leaving.
            sent = self._socket.sendmsg([head, message]) - len(head)
            if sent < len(message):
                self._socket.sendall(memoryview(message)[sent:])
        except OSError as error:
            raise LinkLost(f"nothing can be sent: {error!r}") from error

    def receive(
        self, within_s: float, should_stop: Callable[[], bool], room: memoryview | None = None
    ) -> bytearray | memoryview:
        """The next message, which has to begin within so many seconds.

        Args:
            room: where a message of its length is put, which is returned then: new pages cost more than the reading.

        Raises:
            Cancelled: `should_stop`, asked while it waits, said so.
        """
        deadline = time.monotonic() + within_s
        try:
            while not wait([self._socket], POLL_S):
                if should_stop():
                    raise Cancelled
                if time.monotonic() >= deadline:
                    raise LinkLost(f"silent for {within_s:.0f} s")
            (length,) = _LENGTH.unpack(self._read(bytearray(_LENGTH.size)))
            if length > LONGEST:
                raise LinkLost(f"it announced {length} bytes")
            return self._read(bytearray(length) if room is None or len(room) != length else room)
        except (OSError, EOFError) as error:
            raise LinkLost(f"nothing can be received: {error!r}") from error

    def _read(self, message: bytearray | memoryview) -> bytearray | memoryview:
        """Fill it. A Connection's reads each make room for all that is left: milliseconds a megabyte."""
        left = memoryview(message)
        while left:
            read = self._socket.recv_into(left)
            if not read:
                raise EOFError("closed")
            left = left[read:]
        return message

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Door:
    """Waits for the one process that knows its key."""

    def __init__(self, host: str) -> None:
        """
        Args:
            host: the address of this machine to listen at; the port is any free one.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, 0), family=family)
        self.meeting = Meeting(host, self._socket.getsockname()[1], secrets.token_bytes(32))

    def accept(self, within_s: float, should_stop: Callable[[], bool]) -> Link:
        """The other side; whoever does not know the key is sent away.

        Raises:
            LinkLost: it did not come within so many seconds.
            Cancelled: `should_stop`, asked while it waits, said so.
        """
        deadline = time.monotonic() + within_s
        self._socket.settimeout(POLL_S)
        while time.monotonic() < deadline:
            if should_stop():
                raise Cancelled
            try:
                connected, address = self._socket.accept()
            except TimeoutError:
                continue
            try:
                return Link(connected, deliver_challenge, answer_challenge, key=self.meeting.key)
            except LinkLost as error:
                logger.warning("%s was sent away: %s", address[0], error)
        raise LinkLost(f"nobody came within {within_s:.0f} s")

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def connect(meeting: Meeting) -> Link:
    """To the door of this meeting.

    Raises:
        LinkLost: nobody is there, or not the right one.
    """
    try:
        connected = socket.create_connection((meeting.host, meeting.port), timeout=SILENCE_S)
    except OSError as error:
        raise LinkLost(f"no connection: {error}") from error
    return Link(connected, answer_challenge, deliver_challenge, key=meeting.key)
