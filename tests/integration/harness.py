"""A real service under test, with its faults, and a way to wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deployments.child import START_LIMIT_S, ChildService, free_port
from deployments.demo import PICTURE
from serving import fault_points

__all__ = ["LIMIT_S", "PICTURE", "START_LIMIT_S", "Service", "free_port", "wait_for"]

LIMIT_S = 200.0
"""For what takes seconds here, and longer on a busy machine."""


class Service(ChildService):
    """A child whose processes can be made to fail at a point of their code."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self._faults = folder / "faults"
        self._faults.mkdir()
        super().__init__(folder, **{fault_points.FOLDER: str(self._faults)}, **environment)

    def log(self) -> str:
        """The log of its starts."""
        return "".join(path.read_text() for path in sorted((self.folder / "logs").glob("app_*.log")))

    def arm(self, point: str, fault: str) -> None:
        """Have the first process that reaches this point of the code "kill" itself, or "hang"."""
        (self._faults / f"{point}.new").write_text(fault)
        (self._faults / f"{point}.new").rename(self._faults / point)

    def fault_taken(self, point: str) -> bool:
        return not (self._faults / point).exists()


def wait_for(condition: Callable[[], Any], seconds: float, explain: Callable[[], object] = lambda: "") -> Any:
    """What `condition` gives once it is true; fails with `explain` after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {explain()}")
