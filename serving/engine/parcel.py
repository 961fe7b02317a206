"""Tensors that cross between a device and a connection again and again, always of the same shapes.

They go through host memory that is kept, and pinned where the device is a card: fresh pages cost more than the copies.
"""

from __future__ import annotations

import torch

from serving.engine import card

_ALIGNED = 8
"""Bytes: whatever the dtype, a tensor may begin there."""


class Parcel:
    """Room for one set of tensors, which the next one overwrites."""

    def __init__(self, *like: torch.Tensor) -> None:
        """
        Args:
            like: tensors of one device, of the shapes and dtypes of all that are to come.
        """
        self._device = like[0].device
        sizes = [-(-tensor.nbytes // _ALIGNED) * _ALIGNED for tensor in like]
        self._room = torch.zeros(sum(sizes), dtype=torch.uint8, pin_memory=self._device.type == "cuda")
        self.room: memoryview = self._room.numpy().data
        """Where `pack` puts its bytes, and `unpack` finds them."""
        self._parts = [
            part[: tensor.nbytes].view(tensor.dtype).view(tensor.shape)
            for part, tensor in zip(torch.split(self._room, sizes), like, strict=True)
        ]

    def pack(self, *tensors: torch.Tensor) -> memoryview:
        """The tensors as bytes, once the device has them; they last until the next call."""
        for part, tensor in zip(self._parts, tensors, strict=True):
            part.copy_(tensor, non_blocking=True)
        card.synchronize(self._device)
        return self.room

    def unpack(self, message: bytearray | memoryview) -> list[torch.Tensor]:
        """The tensors on the device, which may still be underway; no other call before the device has them.

        Args:
            message: the room itself, else its bytes.

        Raises:
            ValueError: the message is of other tensors.
        """
        if len(message) != len(self.room):
            raise ValueError(f"{len(message)} bytes, where {len(self.room)} were expected")
        if message is not self.room:
            # Not torch's own copy: it wakes a thread for each core, which then spin, and those of two processes get in
            # each other's way: half a megabyte took 6 ms on 32 cores.
            self.room[:] = message
        return [part.to(self._device, non_blocking=True, copy=True) for part in self._parts]
