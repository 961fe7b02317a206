"""Where a model's modules are: on their device, or on the CPU to leave room there. Knows nothing of what they do."""

from __future__ import annotations

import torch

from serving.engine.modules import Modules


class Residence:
    def __init__(self, modules: Modules, device: torch.device) -> None:
        """
        Args:
            modules: all on `device`.
        """
        self._modules, self._device = modules, device
        self._away: set[str] = set()

    def bring(self, *names: str) -> None:
        """Have these modules on the device."""
        for name in names:
            if name in self._away:
                self._move(name, self._device)
                # Only now: a move that ran out of memory leaves a module in two places.
                self._away.remove(name)

    def send_away(self, *names: str) -> bool:
        """Have these modules on the CPU; whether any was not, and the device is another."""
        leaving = [name for name in names if name not in self._away and self._device.type != "cpu"]
        self._away.update(leaving)
        for name in leaving:
            self._move(name, torch.device("cpu"))
        return bool(leaving)

    def _move(self, name: str, device: torch.device) -> None:
        # torch's own `to`: that of diffusers warns of every move.
        torch.nn.Module.to(getattr(self._modules, name), device)
