"""News of jobs for everyone in this process who follows one: a single reader of the store serves them all.

Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace

from serving.errors import I2VError, ServerOverloaded, VideoNotFound
from serving.jobs.standing import Standing
from serving.jobs.store import JobStore
from serving.metrics import FOLLOWERS, UNMEASURED, Metrics

logger = logging.getLogger(__name__)
LOOK_S = 0.25
"""Between two looks into the store, while anybody listens."""
MOST_BUSY = 0.2
"""Share of its time that the reader may spend looking; a slow store is looked into less often."""
PLACES_TOLD = 4
"""Who wait hear at each look of nothing but a new place in line, in turn. Every job that comes or goes moves all behind
it, and to tell hundreds of them at once would keep everybody else waiting."""
MAX_LISTENERS = 400
"""Each holds one request of its process."""


class Feed:
    """The reader is a thread, there while anybody listens: a task would end with the request that started it."""

    def __init__(self, store: JobStore, metrics: Metrics = UNMEASURED, max_listeners: int = MAX_LISTENERS) -> None:
        self._store = store
        self._metrics = metrics
        self._max_listeners = max_listeners
        self._lock = threading.Lock()
        self._listeners: set[_Listener] = set()
        self._thread: threading.Thread | None = None

    @property
    def listeners(self) -> int:
        """How many follow a job now."""
        return len(self._listeners)

    def check_room(self) -> None:
        """Raises ServerOverloaded where as many listen as may."""
        if self.listeners >= self._max_listeners:
            raise ServerOverloaded("Too many follow their videos at once; poll instead.", retry_after_s=10)

    async def follow(self, standing: Standing) -> AsyncIterator[Standing]:
        """Where the job stands, from `standing` on whenever that changes; ends behind the end of the job.

        Who is slow to take it misses what came in between, and never the last.

        Raises:
            VideoNotFound: the job was deleted.
        """
        yield standing
        if standing.status.ended:
            return
        listener = _Listener(standing, asyncio.get_running_loop())
        self._add(listener)
        try:
            while not listener.known.status.ended:
                yield await listener.news()
        finally:
            self._remove([listener])

    def _add(self, listener: _Listener) -> None:
        with self._lock:
            self._listeners.add(listener)
            if self._thread is None:
                self._thread = threading.Thread(target=self._read, name="feed", daemon=True)
                self._thread.start()

    def _remove(self, gone: list[_Listener]) -> None:
        with self._lock:
            self._listeners.difference_update(gone)

    def _read(self) -> None:
        while True:
            with self._lock:
                listeners = list(self._listeners)
                if not listeners:
                    self._thread = None
            if not listeners:
                self._metrics.set(FOLLOWERS, 0)
                return
            began = time.perf_counter()
            try:
                self._metrics.set(FOLLOWERS, len(listeners))
                found = self._store.standings({listener.known.id for listener in listeners})
            except I2VError as error:
                logger.warning("followers have to wait: %s", error.message)
            except Exception:
                logger.exception("followers have to wait")  # whatever it is, the reader must outlive it
            else:
                self._remove([one for one, news in _in_turn(listeners, found) if not one.tell(news)])
            time.sleep(max(LOOK_S, (time.perf_counter() - began) / MOST_BUSY))


def _in_turn(listeners: Iterable[_Listener], found: Mapping[str, Standing]) -> list[tuple[_Listener, Standing | None]]:
    """Who is to be told what: all whose job has moved on, and those who have waited longest for a new place."""
    news = [(one, found.get(one.known.id)) for one in listeners]
    changed = [(one, latest) for one, latest in news if not one.has(latest)]
    moved = sorted((pair for pair in changed if pair[0].stands_elsewhere(pair[1])), key=lambda pair: pair[0].told_at)
    waits = {one for one, _ in moved[PLACES_TOLD:]}
    return [pair for pair in changed if pair[0] not in waits]


class _Listener:
    """One follower's place for the latest news; later news replace what was not taken."""

    def __init__(self, known: Standing, loop: asyncio.AbstractEventLoop) -> None:
        self.known = known
        """What it has taken last."""
        self.told_at = time.monotonic()
        self._loop = loop
        self._latest: Standing | None = known
        self._changed = asyncio.Event()

    async def news(self) -> Standing:
        await self._changed.wait()
        self._changed.clear()
        if self._latest is None:
            raise VideoNotFound("The video was deleted.")
        self.known = self._latest
        return self.known

    def has(self, latest: Standing | None) -> bool:
        """Whether there is nothing new in it."""
        return latest == self._latest

    def stands_elsewhere(self, latest: Standing | None) -> bool:
        """Whether nothing but its place in line is new."""
        if latest is None or self._latest is None:
            return False
        return replace(latest, queue_position=self._latest.queue_position) == self._latest

    def tell(self, latest: Standing | None) -> bool:
        """To be called by the reader; False where nobody can listen any more."""
        self.told_at = time.monotonic()
        try:
            self._loop.call_soon_threadsafe(self._take, latest)
        except RuntimeError:  # its loop is closed
            return False
        return True

    def _take(self, latest: Standing | None) -> None:
        self._latest = latest
        self._changed.set()
