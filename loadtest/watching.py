"""A run as its user watches it: counts while it goes on, and Ctrl-C that leaves its rows. Knows no server."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from loadtest.openloop import Progress, Told
from loadtest.options import progress
from loadtest.recording import words


@contextmanager
def shown() -> Iterator[Told]:
    """Counts on the terminal while it goes on; lines now and then where there is none."""
    last = 0.0
    with progress.status("") as status:

        def told(now: Progress) -> bool:
            nonlocal last
            status.update(words(now))
            if not progress.is_terminal and time.monotonic() - last > 30:
                last = time.monotonic()
                progress.print(words(now), soft_wrap=True)
            return False

        yield told


@contextmanager
def interruptible(told: Told) -> Iterator[tuple[Told, threading.Event]]:
    """`told`, which has seen enough after the first Ctrl-C or SIGTERM; the second ends the process as ever."""
    interrupted = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def once(*_: object) -> None:
        interrupted.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, once)
    try:
        yield lambda now: told(now) or interrupted.is_set(), interrupted
    finally:
        restore()
