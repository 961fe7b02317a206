"""A pool as deployed. Knows nothing of jobs, HTTP or Ray."""

from __future__ import annotations

from dataclasses import dataclass

from serving.presets import ModelProfile
from serving.settings import PoolSettings


@dataclass(frozen=True)
class ServedPool:
    """A pool as deployed: its settings with the model and the bounds decided."""

    settings: PoolSettings
    model: str
    """Hub name, folder, or "builtin"."""
    profile: ModelProfile
    least: int = 1
    most: int = 1
    """Bounds of its replicas."""

    @property
    def name(self) -> str:
        return self.settings.name
