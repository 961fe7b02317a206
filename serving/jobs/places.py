"""Places in long lines, by one walk along the line that all who ask share for a second.

To count those before one job takes the database a tenth of such a walk, which stops the process for 10 ms where 10,000
wait. So that is left to `listing` where lines are short, and where few ask. Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, select

from serving.jobs import line
from serving.jobs.job import JobStatus
from serving.jobs.queue import queue_of
from serving.jobs.tables import jobs

LONG = 500
"""Jobs of a model that wait; from so many on a line is long."""
OFTEN = 25
"""How many ask in `KEPT_S` where a walk is worth its while."""
KEPT_S = 1.0


@dataclass
class _Line:
    """One model's, as it was."""

    good_until: float
    """By the monotonic clock."""
    places: Mapping[str, Sequence[tuple[float, int]]] | None
    """By queue: each waiting job's (rank, seq), in order; None of a short line, and where few asked before."""
    asked: int = 0


class Places:
    """Of one process; may be asked from any thread."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def before(self, connection: Connection, mine: RowMapping) -> int | None:
        """How many stood before a waiting job, known by its model, queue, rank and seq; None where it is to be counted.

        As of a second ago at most: who has left the line since still counts.
        """
        known = self._lines.get(mine["model"])
        if known is None or time.monotonic() >= known.good_until:
            often = known is not None and known.asked >= OFTEN
            places = _walk(connection, mine["model"]) if often else None
            known = self._lines[mine["model"]] = _Line(time.monotonic() + KEPT_S, places)
        known.asked += 1
        if known.places is None:
            return None
        queue, place = queue_of(mine["queue"]), (mine["rank"], mine["seq"])
        rivals = (places for name, places in known.places.items() if queue_of(name).rivals(queue))
        return sum(bisect_left(places, place) for places in rivals)


def _walk(connection: Connection, model: str) -> Mapping[str, Sequence[tuple[float, int]]] | None:
    if not line.is_long(connection, model, LONG):
        return None
    waiting = (jobs.c.status == JobStatus.QUEUED, jobs.c.model == model)
    places: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for queue, rank, seq in connection.execute(select(jobs.c.queue, jobs.c.rank, jobs.c.seq).where(*waiting)):
        places[queue].append((rank, seq))
    for queue in places.values():
        queue.sort()
    return places
