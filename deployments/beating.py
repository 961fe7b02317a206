"""A replica's sign of life in the job store, from a thread of its own."""

from __future__ import annotations

import atexit
import logging
import threading

from serving.errors import I2VError
from serving.jobs.store import JobStore
from serving.jobs.worker import Worker

logger = logging.getLogger(__name__)
PERIOD_S = 3.0


class Beat:
    """Says every few seconds that `worker` lives; starts at once, ends with the process."""

    def __init__(self, store: JobStore, worker: Worker) -> None:
        self._store = store
        self._worker = worker
        self._stop = threading.Event()
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beat", daemon=True)
        self._thread.start()
        atexit.register(self.leave)

    def check(self) -> None:
        """Raises RuntimeError where the thread has died."""
        if not self._thread.is_alive() and not self._stop.is_set():
            raise RuntimeError("the beat has stopped")

    def say(self, worker: Worker) -> None:
        """What there is to be told of the worker from now on; told at once, by the thread."""
        self._worker = worker
        self._news.set()

    def leave(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            self._news.set()
            self._thread.join(timeout=1.0)
            self._store.leave(self._worker.id)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._news.clear()
            try:
                self._store.beat(self._worker)
            except I2VError as error:
                logger.warning("no beat: %s", error.message)
            self._news.wait(PERIOD_S)
