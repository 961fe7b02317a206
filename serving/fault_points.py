"""Places in the code where a test can have a running service die or hang; nothing anywhere else.

A point is armed by a file of its name in the folder that `I2V_FAULT_POINTS` names, which holds "kill" or "hang". The
first process to reach it takes the file away and does that. Without the variable a point costs one look-up.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

FOLDER = "I2V_FAULT_POINTS"


def reach(point: str) -> None:
    """Do what this point is armed with; for ever, or not at all."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        return
    armed, taken = Path(folder) / point, Path(folder) / f"{point}.{os.getpid()}"
    try:
        armed.rename(taken)
    except FileNotFoundError:
        return
    match taken.read_text():
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            threading.Event().wait()
        case other:
            raise ValueError(f"{taken}: {other!r} is no fault")
