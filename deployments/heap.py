"""The garbage collector of the processes that requests pass through."""

from __future__ import annotations

import gc


def spare_what_is_loaded() -> None:
    """Have it leave alone what is there now. To look through all that has been imported stops a process for 0.1 s."""
    gc.collect()
    gc.freeze()
