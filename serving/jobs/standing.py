"""Where jobs stand, for whoever follows many of them: one look for all. Takes no lock.

Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection, RowMapping, select

from serving.jobs import line
from serving.jobs.job import Job, JobStatus, Stage
from serving.jobs.queue import queue_of
from serving.jobs.tables import jobs

_COPIED = ("id", "owner", "stage", "progress", "step", "steps", "attempt", "pool", "error_code", "error_message")
_COLUMNS = [jobs.c[name] for name in (*_COPIED, "status", "model", "queue", "rank", "seq")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What changes about a job while it waits and is worked on; fields as in `Job`."""

    id: str
    owner: str
    status: JobStatus
    stage: Stage | None
    progress: int
    step: int
    steps: int
    attempt: int
    pool: str | None
    error_code: str | None
    error_message: str | None
    queue_position: int | None
    """1 for the job that goes next; None once it has left the queue."""

    def of(self, job: Job) -> Job:
        """`job`, whose standing this is, as it stood then."""
        return replace(job, status=self.status, **{name: getattr(self, name) for name in _COPIED})


def standings(connection: Connection, ids: Collection[str]) -> dict[str, Standing]:
    rows = connection.execute(select(*_COLUMNS).where(jobs.c.id.in_(ids), ~jobs.c.deleted)).mappings().all()
    places = _places(connection, [row for row in rows if row["status"] == JobStatus.QUEUED])
    return {row["id"]: _standing(row, places.get(row["id"])) for row in rows}


def _places(connection: Connection, waiting: Iterable[RowMapping]) -> dict[str, int]:
    """1 and the number of those before each, from one walk along each model's line."""
    by_model: dict[str, list[RowMapping]] = defaultdict(list)
    for row in waiting:
        by_model[row["model"]].append(row)
    places = {}
    for model, rows in by_model.items():
        names = line.waiting_queues(connection, model)
        mine = {row["queue"]: queue_of(row["queue"]) for row in rows}
        rivals = {queue: [name for name in names if queue_of(name).rivals(mine[queue])] for queue in mine}
        ahead = _ahead(connection, model, set().union(*rivals.values()), max(row["rank"] for row in rows))
        for row in rows:
            place = row["rank"], row["seq"]
            places[row["id"]] = 1 + sum(bisect_left(ahead.get(name, []), place) for name in rivals[row["queue"]])
    return places


def _ahead(
    connection: Connection, model: str, queues: Collection[str], rank: float
) -> Mapping[str, list[tuple[float, int]]]:
    """The (rank, seq) of the waiting jobs up to `rank`, by their queues and in order."""
    waiting = (jobs.c.status == JobStatus.QUEUED, jobs.c.model == model, jobs.c.queue.in_(queues), jobs.c.rank <= rank)
    found: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for queue, *place in connection.execute(select(jobs.c.queue, jobs.c.rank, jobs.c.seq).where(*waiting)):
        found[queue].append((place[0], place[1]))
    for places in found.values():
        places.sort()
    return found


def _standing(row: RowMapping, queue_position: int | None) -> Standing:
    values = {name: row[name] for name in _COPIED}
    return Standing(status=JobStatus(row["status"]), queue_position=queue_position, **values)
