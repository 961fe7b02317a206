"""One run of open-loop load, written down row by row as it goes."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtest.openloop import Player, Progress, Told
from loadtest.rows import REQUESTS, Recorded, Row, line
from loadtest.scenarios import Request
from loadtest.server import Server, Target, machine


def record(
    folder: Path,
    target: Target,
    requests: Iterable[Request],
    about: Mapping[str, Any],
    told: Told = lambda progress: False,
    *,
    download: bool = True,
    patience_s: float = 600.0,
) -> Recorded:
    """Play the requests, and write each one's row into `folder` once it is over; blocks until the last one is.

    Raises:
        OSError: the rows cannot be written any more. No more was sent then, what was unfinished is taken back, and
            the rows before are there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    header = {"url": target.url, "started": started, **about, "machine": machine()}
    rows: list[Row] = []
    writable = True
    with (folder / REQUESTS).open("wb", buffering=0) as file:
        _whole(file, json.dumps(header) + "\n")

        def write(row: Row) -> None:
            nonlocal writable
            rows.append(row)
            if writable:
                try:
                    _whole(file, line(row))
                except OSError:
                    # What follows would be glued to a line that was cut off.
                    writable = False
                    raise

        async def play() -> None:
            async with Server(target) as server:
                await Player(server, write, download=download, patience_s=patience_s).play(requests, told)

        asyncio.run(play())
    return Recorded(header, sorted(rows, key=lambda row: row.at), folder.name)


def _whole(file: io.FileIO, text: str) -> None:
    """A full disk may take a part of a line without a word, and says why only when asked to take the rest."""
    left = memoryview(text.encode())
    while left:
        left = left[file.write(left) :]


def words(progress: Progress) -> str:
    """One line of what goes on."""
    of_all = "" if progress.total is None else f" of {progress.total}"
    return (
        f"{progress.now:.0f} s: {progress.due}{of_all} sent, {progress.refused} refused, {progress.open} open, "
        f"{progress.completed} completed, {progress.failed} failed, sender {progress.lag_s * 1000:.0f} ms late"
    )
