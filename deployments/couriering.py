"""The courier of webhooks, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading

from serving.courier import Courier


class Couriering:
    """Starts at once, ends with the process."""

    def __init__(self, courier: Courier) -> None:
        self._thread = threading.Thread(target=lambda: asyncio.run(courier.run()), name="courier", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises RuntimeError where the thread has died."""
        if not self._thread.is_alive():
            raise RuntimeError("the courier has stopped")
