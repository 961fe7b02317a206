"""A clock that stands still until a test moves it or lets it go, however busy the machine is."""

from __future__ import annotations

import time


class HeldClock:
    """In place of a module's `time`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._let_go_at: float | None = None

    def monotonic(self) -> float:
        return self.now if self._let_go_at is None else self.now + time.monotonic() - self._let_go_at

    def let_go(self) -> None:
        """From here on it goes as others do."""
        self._let_go_at = time.monotonic()
