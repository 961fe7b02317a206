"""The device under the engine: its name, its memory, and what running out of it looks like.

Knows nothing of models or requests.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import time
from collections import deque
from collections.abc import Callable

import psutil
import torch

from serving.engine.contract import Card

# cuDNN, cuBLAS and the driver report exhaustion as plain errors, not as torch.OutOfMemoryError.
_EXHAUSTED = (
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
    "Triton Error [CUDA]: out of memory",
)
SHORT_S = 0.2
"""A piece of work is short that takes less: who cancels a job is heard about as often."""
_POISONS = ("CUDA error", "Triton Error [CUDA]", "CUDNN_STATUS_EXECUTION_FAILED", "CUDNN_STATUS_INTERNAL_ERROR")


def describe(device: torch.device) -> Card:
    """The card at `device`; on a CPU the processor and the machine's memory."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        capability = properties.major + properties.minor / 10
        return Card(properties.name, properties.total_memory, compute_capability=capability)
    return Card(platform.processor() or platform.machine(), psutil.virtual_memory().total, own_memory=False)


def free_bytes(device: torch.device) -> int:
    """Bytes a CUDA allocation can still get, the allocator's own spare ones included, and those held for graphs."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def synchronize(device: torch.device) -> None:
    """Wait for the work queued on `device`, so that progress and timings tell the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Pace:
    """Work given to a device piece by piece, of which one may be ahead of what is told.

    Without it a CUDA device idles from one piece's end to the next one's first launch. Pieces that take long are waited
    for, so that little is in the way of whoever wants to stop; on a CPU a piece is done when it is given.
    """

    def __init__(self, device: torch.device, done: Callable[[int], object] = lambda piece: None) -> None:
        """
        Args:
            done: told of each piece, in order, when the device has done it.
        """
        self._device, self._done = device, done
        self._ahead = 0
        self._pending: deque[tuple[int, torch.cuda.Event]] = deque()
        self._last = time.perf_counter()

    def given(self, piece: int) -> None:
        """The device was given all of `piece`."""
        if self._device.type != "cuda":
            self._done(piece)
            return
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._pending.append((piece, event))
        self._wait(self._ahead)
        now = time.perf_counter()
        self._ahead, self._last = int(now - self._last < SHORT_S), now

    def finish(self) -> None:
        """Wait for all that was given."""
        self._wait(0)

    def _wait(self, ahead: int) -> None:
        while len(self._pending) > ahead:
            piece, event = self._pending.popleft()
            event.synchronize()
            self._done(piece)


def release(device: torch.device) -> None:
    """Give memory that nothing refers to any more back to the card."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def keep_freed_memory() -> None:
    """Have this process reuse the memory it frees, where the C library is glibc.

    By itself it gives every tensor of 32 MiB or more back to the system at once, and the next one's pages are zeroed
    anew: on a CPU that is a third of a large clip's time. It holds for the main thread, and for all where the process
    began with MALLOC_ARENA_MAX=1.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for parameter, value in _MALLOC:
            libc.mallopt(parameter, value)


# From malloc.h: M_MMAP_MAX, M_TRIM_THRESHOLD (-1: never) and M_TOP_PAD.
_MALLOC = ((-4, 0), (-1, -1), (-2, 64 * 2**20))


def grow_in_place() -> None:
    """Have this process's CUDA allocator grow its segments instead of collecting many, unless it was told anything.

    Clips of many shapes cut fixed segments into pieces that fit nothing: of a clip that just fits its card, up to a
    fifth was lost so (`python -m loadtest.peaks`). The allocator reads the variable when it first allocates;
    where its older name PYTORCH_CUDA_ALLOC_CONF is set too, which one holds differs within PyTorch.
    """
    if "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")


def start_peak(device: torch.device) -> None:
    """Begin a new measurement for `peak_bytes`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int | None:
    """The most bytes allocated at once since `start_peak`, weights included; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def is_poisoned(error: BaseException) -> bool:
    """Whether `error` leaves the process without a working card: no CUDA call succeeds after it."""
    asynchronous = getattr(torch, "AcceleratorError", ())
    said = isinstance(error, RuntimeError) and any(sign in str(error) for sign in _POISONS)
    return not is_out_of_memory(error) and (isinstance(error, asynchronous) or said)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` means that the card's memory is exhausted."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _EXHAUSTED)
