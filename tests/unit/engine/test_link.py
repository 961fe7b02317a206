"""Two processes find each other by a key, and neither waits for ever."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest

from serving.engine import link
from serving.engine.link import Door, Link, LinkLost, connect
from serving.errors import Cancelled

HOST = "127.0.0.1"


def never() -> bool:
    return False


@pytest.fixture
def door() -> Iterator[Door]:
    with Door(HOST) as opened:
        yield opened


@pytest.fixture
def accepting(door: Door) -> Iterator[Future[Link]]:
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(door.accept, 10, never)


def test_messages_of_any_size_come_whole(door: Door, accepting: Future[Link]) -> None:
    with connect(door.meeting) as one, accepting.result() as other:
        for message in (b"", b"half", bytes(range(256)) * 2**15):
            sending = threading.Thread(target=one.send, args=(message,))
            sending.start()
            assert other.receive(10, never) == message
            sending.join()


def test_a_message_is_put_where_there_is_room_of_its_length(door: Door, accepting: Future[Link]) -> None:
    room = memoryview(bytearray(4))
    with connect(door.meeting) as one, accepting.result() as other:
        for message in (b"half", b"whole", b""):
            one.send(message)
            received = other.receive(10, never, room)
            assert received == message
            assert (received is room) == (message == b"half")
        assert room == b"half"


def test_whoever_does_not_know_the_key_is_sent_away(door: Door, accepting: Future[Link]) -> None:
    with pytest.raises(LinkLost, match="key"):
        connect(replace(door.meeting, key=b"guessed"))
    with socket.create_connection((HOST, door.meeting.port)) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with connect(door.meeting) as one, accepting.result() as other:
        one.send(b"half")
        assert other.receive(10, never) == b"half"


def test_a_leader_is_not_taken_in_by_a_door_without_the_key(door: Door, accepting: Future[Link]) -> None:
    with Door(HOST) as false:
        meeting = replace(false.meeting, key=b"another")
        with ThreadPoolExecutor(1) as pool:
            taken = pool.submit(false.accept, 1, never)
            with pytest.raises(LinkLost):
                connect(meeting)
            with pytest.raises(LinkLost, match="nobody came"):
                taken.result()
    connect(door.meeting).close()
    accepting.result().close()


def test_a_silent_stranger_keeps_the_door_for_a_moment_only(
    door: Door, accepting: Future[Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "SILENCE_S", 1)
    with socket.create_connection((HOST, door.meeting.port)):
        while not accepting.done():
            with suppress(LinkLost):  # while it waits for its turn
                connect(door.meeting).close()
        accepting.result().close()


def test_nobody_comes(door: Door) -> None:
    with pytest.raises(LinkLost, match="nobody came"):
        door.accept(0.2, never)
    asked = iter((False, True))
    with pytest.raises(Cancelled):
        door.accept(60, lambda: next(asked))


def test_nobody_is_there() -> None:
    with Door(HOST) as door:
        meeting = door.meeting
    with pytest.raises(LinkLost, match="no connection"):
        connect(meeting)


def test_one_that_is_gone_is_known_at_once(door: Door, accepting: Future[Link]) -> None:
    with connect(door.meeting) as one:
        accepting.result().close()
        with pytest.raises(LinkLost, match="nothing can be received"):
            one.receive(60, never)
        with pytest.raises(LinkLost, match="nothing can be sent"):
            one.send(bytes(2**23))


def test_one_that_is_silent_is_waited_for_no_longer_than_said(door: Door, accepting: Future[Link]) -> None:
    with connect(door.meeting) as one, accepting.result():
        with pytest.raises(LinkLost, match="silent"):
            one.receive(0.2, never)
        asked = iter((False, True))
        with pytest.raises(Cancelled):
            one.receive(60, lambda: next(asked))


def test_one_that_falls_silent_in_the_middle_of_a_message(
    door: Door, accepting: Future[Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "SILENCE_S", 1)
    with connect(door.meeting) as one, accepting.result() as other:
        other._socket.sendall(link._LENGTH.pack(1024) + b"half")
        began = time.monotonic()
        with pytest.raises(LinkLost, match="nothing can be received"):
            one.receive(60, never)
        with pytest.raises(LinkLost, match="nothing can be sent"):
            one.send(bytes(2**23))  # more than the kernel keeps for one that does not read
        assert time.monotonic() - began < 30


def test_one_of_another_release_is_not_waited_for(door: Door, accepting: Future[Link]) -> None:
    with connect(door.meeting) as one, accepting.result() as other:
        other._socket.sendall(b"\x00\x00\x01\x00" + b"{" * 256)
        with pytest.raises(LinkLost, match="announced"):
            one.receive(60, never)


def test_a_meeting_does_not_tell_its_key(door: Door) -> None:
    assert "key" not in repr(door.meeting)
