"""What every job of a SQLite store went through, written down by the database itself, whoever changes a row.

It keeps what the service's own records cannot show: that a job was completed twice, or changed after it had ended.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import text

from serving.jobs.store import open_store

ENDED = ("completed", "failed")
_TABLE = """
CREATE TABLE history (
    job TEXT NOT NULL, was TEXT NOT NULL, status TEXT NOT NULL, was_attempt INTEGER NOT NULL, attempt INTEGER NOT NULL
)
"""
_CHANGES = """
CREATE TRIGGER history_of_changes AFTER UPDATE ON jobs
WHEN OLD.status <> NEW.status OR OLD.attempt <> NEW.attempt OR OLD.result IS NOT NEW.result
BEGIN
    INSERT INTO history VALUES (NEW.id, OLD.status, NEW.status, OLD.attempt, NEW.attempt);
END
"""
_REMOVALS = """
CREATE TRIGGER history_of_removals AFTER DELETE ON jobs
BEGIN
    INSERT INTO history VALUES (OLD.id, OLD.status, 'removed', OLD.attempt, OLD.attempt);
END
"""
_UNENDED = "SELECT count(*) FROM jobs WHERE status IN ('queued', 'in_progress')"
_CHANGE = "SELECT job, was, status, was_attempt, attempt FROM history ORDER BY rowid"


class Change(NamedTuple):
    """One change of one job's status, attempt or result; "removed" is a status here."""

    job: str
    was: str
    status: str
    was_attempt: int
    attempt: int


class History:
    """The store at `url`, from now on."""

    def __init__(self, url: str) -> None:
        # Through the store's own SQLite library: two versions of it at one file can lose commits.
        self.store = open_store(url)
        self.store._database.write(lambda c: [c.execute(text(one)) for one in (_TABLE, _CHANGES, _REMOVALS)])

    def unended(self) -> int:
        """Jobs that wait or are in progress."""
        return int(self.store._database.read(lambda c: c.scalar(text(_UNENDED))))

    def changes(self) -> list[Change]:
        rows = self.store._database.read(lambda c: c.execute(text(_CHANGE)).all())
        return [Change(*row) for row in rows]
