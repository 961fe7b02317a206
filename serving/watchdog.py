"""Tells when work on a card hangs: a kernel that never ends can be neither interrupted nor waited for.

Knows nothing of HTTP, Ray, jobs or models, nor of what is done about it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

PATIENCE = 5.0
"""What takes this many times as long as expected is taken to hang."""
STAGE_S = 300.0
"""Least time for what has no steps, seconds: moving weights, compiling at first use, decoding."""


@dataclass(frozen=True)
class Limits:
    """The longest silence, seconds."""

    step_s: float
    """From one denoising step to the next."""
    stage_s: float
    """Before the first step and after the last one."""


def limits_for(expected_s: float, steps: int, least_step_s: float) -> Limits:
    """Limits of a clip whose `steps` are expected to take `expected_s` in all."""
    step_s = max(least_step_s, PATIENCE * expected_s / steps)
    return Limits(step_s, max(STAGE_S, step_s, PATIENCE * expected_s))


class Watchdog:
    """Use as a context manager around the work on one clip."""

    def __init__(self, limits: Limits, on_hang: Callable[[str], object]) -> None:
        """`on_hang` is told once what is missing, in a thread of its own; until it returns the work cannot end."""
        self._limits = limits
        self._on_hang = on_hang
        self._changed = threading.Condition()
        self._left = False
        self._allow("first step", limits.stage_s)
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._left = True
            self._changed.notify_all()

    def step(self, step: int, steps: int) -> None:
        """Tell that `step` of `steps` is done."""
        if step < steps:
            self._allow("step", self._limits.step_s)
        else:
            self._allow("end of decoding", self._limits.stage_s)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Another clip, no longer than this one, may be made within the block; after it, the next step is awaited."""
        self._allow("end of another clip", 2 * self._limits.stage_s)
        yield
        self._allow("step", self._limits.step_s)

    def _allow(self, awaited: str, seconds: float) -> None:
        with self._changed:
            self._awaited, self._seconds = awaited, seconds
            self._deadline = time.monotonic() + seconds
            self._changed.notify_all()

    def _watch(self) -> None:
        with self._changed:
            while not self._left:
                left_s = self._deadline - time.monotonic()
                if left_s <= 0:
                    self._on_hang(f"no {self._awaited} within {self._seconds:.0f} s")
                    return
                self._changed.wait(left_s)
