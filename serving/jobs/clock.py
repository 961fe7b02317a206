"""The clock leases run by. No wall clock of a machine that can be set takes part where it can be helped.

Knows nothing of jobs.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

from sqlalchemy import ColumnElement, Double, cast, extract, func, literal

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def uptime() -> float:
    """Seconds since this machine started, suspended time included; the same in all its processes."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def boot_id() -> str:
    """Names this run of the machine's kernel.

    Where the kernel does not say (not Linux) it is "unknown": a lease taken before a reboot then lasts until
    the new uptime has passed it, instead of ending with the reboot.
    """
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


class StoreClock(Protocol):
    """Moments as SQL, taken when the statement is built or runs, so always inside its transaction."""

    boot: str
    """A lease taken under another boot has ended."""

    def now(self) -> ColumnElement[float]:
        """Seconds on the leases' clock."""

    def wall(self) -> ColumnElement[float]:
        """Epoch seconds, for people."""


class MachineClock:
    """All processes share one machine: its uptime, and the boot it counts from."""

    def __init__(self, boot: str | None = None) -> None:
        self.boot = boot_id() if boot is None else boot

    def now(self) -> ColumnElement[float]:
        return literal(uptime())

    def wall(self) -> ColumnElement[float]:
        return literal(time.time())


class ServerClock:
    """Processes on many machines share one database server: its clock, which survives restarts."""

    boot = ""

    def now(self) -> ColumnElement[float]:
        return cast(extract("epoch", func.clock_timestamp()), Double)

    def wall(self) -> ColumnElement[float]:
        return self.now()
