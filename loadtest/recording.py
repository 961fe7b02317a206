"""One run of open-loop load, written down row by row as it goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from contextlib import closing
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
    """Play the requests, and write each one's row into `folder` once it is over; blocks until the last one is."""
    folder.mkdir(parents=True, exist_ok=True)
    header = {"url": target.url, **about, "machine": machine()}
    rows: list[Row] = []
    with closing((folder / REQUESTS).open("w")) as file:
        file.write(json.dumps(header) + "\n")

        def write(row: Row) -> None:
            rows.append(row)
            file.write(line(row))
            file.flush()

        async def play() -> None:
            async with Server(target) as server:
                await Player(server, write, download=download, patience_s=patience_s).play(requests, told)

        asyncio.run(play())
    return Recorded(header, sorted(rows, key=lambda row: row.at), folder.name)


def words(progress: Progress) -> str:
    """One line of what goes on."""
    return (
        f"{progress.now:.0f} s: {progress.due} sent, {progress.refused} refused, {progress.open} open, "
        f"{progress.completed} completed, {progress.failed} failed, sender {progress.lag_s * 1000:.0f} ms late"
    )
