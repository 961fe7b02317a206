"""What an interrupted training goes on from."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch

EVERY_S = 60.0


class Checkpoint:
    """One file, replaced whole now and then while a part is trained; gone once the part is done."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """What was saved last; None at the beginning."""
        if not self.path.is_file():
            return None
        state: dict[str, Any] = torch.load(self.path, weights_only=True)
        return state

    @property
    def due(self) -> bool:
        return time.monotonic() - self._saved_at >= EVERY_S

    def save(self, state: dict[str, Any]) -> None:
        """Tensors and plain numbers only."""
        fresh = self.path.with_suffix(".new")
        torch.save(state, fresh)
        os.replace(fresh, self.path)
        self._saved_at = time.monotonic()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
