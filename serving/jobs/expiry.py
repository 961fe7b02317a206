"""Jobs that have ended, looked through in pages: which files they still have, and their removal.

Every function runs inside the caller's transaction. Knows nothing of HTTP, Ray, video or how long anything is kept.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, update

from serving.jobs.job import JobStatus
from serving.jobs.tables import jobs

_ENDED = (JobStatus.COMPLETED, JobStatus.FAILED)


@dataclass(frozen=True, slots=True)
class EndedJob:
    """What retention asks of a job that has ended. Moments are epoch seconds by the wall clock."""

    seq: int
    status: JobStatus
    completed_at: float
    """When the job ended, however it ended."""
    expires_at: float | None
    files: tuple[str, ...]
    """Storage keys that have not been removed."""


class EndedPage(NamedTuple):
    """The jobs that have ended among some rows, in order of acceptance."""

    jobs: tuple[EndedJob, ...]
    after: int
    """Where the next page begins; 0 at the end of the table."""


def page(connection: Connection, after: int, limit: int) -> EndedPage:
    """`limit` bounds the rows looked at, those of jobs that wait or are in progress included."""
    files = jobs.c.result["files"].label("files")
    columns = (jobs.c.seq, jobs.c.status, jobs.c.completed_at, jobs.c.expires_at, files)
    rows = connection.execute(select(*columns).where(jobs.c.seq > after).order_by(jobs.c.seq).limit(limit)).all()
    ended = tuple(
        EndedJob(row.seq, JobStatus(row.status), row.completed_at, row.expires_at, tuple((row.files or {}).values()))
        for row in rows
        if row.status in _ENDED
    )
    return EndedPage(ended, rows[-1].seq if len(rows) == limit else 0)


def drop_files(connection: Connection, seqs: Collection[int]) -> None:
    """Strike the files out of these completed jobs' results."""
    completed = (jobs.c.seq.in_(seqs), jobs.c.status == JobStatus.COMPLETED)
    found = connection.execute(select(jobs.c.seq, jobs.c.result).where(*completed).with_for_update()).all()
    for seq, result in found:
        connection.execute(update(jobs).where(jobs.c.seq == seq).values(result=result | {"files": {}}))


def forget(connection: Connection, seqs: Collection[int]) -> None:
    connection.execute(delete(jobs).where(jobs.c.seq.in_(seqs), jobs.c.status.in_(_ENDED)))


def pictures_in_use(connection: Connection, keys: Collection[str]) -> frozenset[str]:
    found = select(jobs.c.picture_key).where(jobs.c.picture_key.in_(keys)).distinct()
    return frozenset(connection.scalars(found))


def known(connection: Connection, ids: Collection[str]) -> frozenset[str]:
    return frozenset(connection.scalars(select(jobs.c.id).where(jobs.c.id.in_(ids))))


def files_of_ended(connection: Connection, ids: Collection[str]) -> dict[str, frozenset[str]]:
    files = jobs.c.result["files"].label("files")
    rows = connection.execute(select(jobs.c.id, files).where(jobs.c.id.in_(ids), jobs.c.status.in_(_ENDED)))
    return {row.id: frozenset((row.files or {}).values()) for row in rows}
