"""Jobs that have ended, looked through in pages: which files they still have, and their removal.

Knows nothing of HTTP, Ray, video or how long anything is kept.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, update

from serving.jobs.database import Database
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


class Expiry:
    """What retention does with the jobs of one database; every method may block for some seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, after: int, limit: int) -> EndedPage:
        """The jobs that have ended among the next `limit` rows; begin with `after` 0, go on with the page's."""
        files = jobs.c.result["files"].label("files")
        columns = (jobs.c.seq, jobs.c.status, jobs.c.completed_at, jobs.c.expires_at, files)
        wanted = select(*columns).where(jobs.c.seq > after).order_by(jobs.c.seq).limit(limit)
        rows = self._database.read(lambda c: c.execute(wanted).all())
        ended = tuple(
            EndedJob(
                row.seq, JobStatus(row.status), row.completed_at, row.expires_at, tuple((row.files or {}).values())
            )
            for row in rows
            if row.status in _ENDED
        )
        return EndedPage(ended, rows[-1].seq if len(rows) == limit else 0)

    def drop_files(self, seqs: Collection[int]) -> None:
        """Note that the files of these completed jobs have been removed."""
        self._database.write(lambda c: _drop_files(c, seqs))

    def forget(self, seqs: Collection[int]) -> None:
        """Remove the rows of these jobs; of those that have ended."""
        gone = delete(jobs).where(jobs.c.seq.in_(seqs), jobs.c.status.in_(_ENDED))
        self._database.write(lambda c: c.execute(gone))

    def pictures_in_use(self, keys: Collection[str]) -> frozenset[str]:
        """Which of these pictures any job refers to."""
        found = select(jobs.c.picture_key).where(jobs.c.picture_key.in_(keys)).distinct()
        return self._database.read(lambda c: frozenset(c.scalars(found)))

    def known(self, ids: Collection[str]) -> frozenset[str]:
        """Which of these jobs there are, deleted ones that are still worked on included."""
        found = select(jobs.c.id).where(jobs.c.id.in_(ids))
        return self._database.read(lambda c: frozenset(c.scalars(found)))

    def files_of_ended(self, ids: Collection[str]) -> dict[str, frozenset[str]]:
        """The storage keys that each of these jobs refers to; of those that have ended, and for good."""
        files = jobs.c.result["files"].label("files")
        found = select(jobs.c.id, files).where(jobs.c.id.in_(ids), jobs.c.status.in_(_ENDED))
        rows = self._database.read(lambda c: c.execute(found).all())
        return {row.id: frozenset((row.files or {}).values()) for row in rows}


def _drop_files(connection: Connection, seqs: Collection[int]) -> None:
    completed = (jobs.c.seq.in_(seqs), jobs.c.status == JobStatus.COMPLETED)
    found = connection.execute(select(jobs.c.seq, jobs.c.result).where(*completed).with_for_update()).all()
    for seq, result in found:
        connection.execute(update(jobs).where(jobs.c.seq == seq).values(result=result | {"files": {}}))
