"""Which submissions are one: those under one Idempotency-Key, and a client's own retries.

A submission is noted, under a token, before any work is done for it; the transaction that accepts its job writes the
job's id beside the token. Whoever takes a note over changes its token, and then the one before accepts nothing.
Knows nothing of HTTP, Ray or video.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from serving.errors import IdempotencyKeyReused, SubmissionInFlight
from serving.jobs.database import Database
from serving.jobs.tables import submissions

KEY = "Idempotency-Key"
KEPT_S = 86_400.0
"""How long an Idempotency-Key stands for its job."""
RETRIED_S = 60.0
"""How long after its acceptance a job is what a client's retry means."""
IN_FLIGHT_S = 30.0
"""How long a submission keeps its Idempotency-Key to itself without becoming a job; its process may have died."""


@dataclass(frozen=True, slots=True)
class Repetition:
    """How a submission says that it may have been sent before."""

    key: str | None
    """Its Idempotency-Key."""
    retried: bool
    """It is a client's retry, and the client has given up the submission before."""


class Noted(NamedTuple):
    """A submission that was noted, or the job it is one with."""

    token: str
    job_id: str | None


class SubmissionStore:
    """The notes in one database; every method may block for some seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, owner: str, repetition: Repetition, fingerprint: str) -> Noted:
        """Note a submission; to be followed by the acceptance of a job with this token, or by `forget`.

        Args:
            fingerprint: the same for the same body, and for no other.

        Raises:
            IdempotencyKeyReused: the key stands for another body.
            SubmissionInFlight: the same submission has been begun, and may still become a job.
        """
        token = secrets.token_hex(16)
        return self._database.write(lambda c: self._begin(c, owner, repetition, fingerprint, token))

    def forget(self, token: str) -> None:
        """Strike out a submission that was refused; one that has become a job stays."""
        mine = delete(submissions).where(submissions.c.token == token, submissions.c.job_id.is_(None))
        self._database.write(lambda c: c.execute(mine))

    def _begin(self, connection: Connection, owner: str, repetition: Repetition, fingerprint: str, token: str) -> Noted:
        key = repetition.key
        if connection.dialect.name == "postgresql":
            # Two that cannot see each other's notes yet would both begin.
            name = func.hashtextextended(f"{owner}/{fingerprint if key is None else key}", 0)
            connection.execute(select(func.pg_advisory_xact_lock(name)))
        now = float(connection.execute(select(self._database.clock.wall())).scalar_one())
        connection.execute(delete(submissions).where(submissions.c.expires_at <= now))
        before = self._before(connection, owner, repetition, fingerprint)
        if before is None:
            new = {"token": token, "owner": owner, "key": key, "fingerprint": fingerprint}
            insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
            note = insert(submissions).values(**new, at=now, expires_at=now + KEPT_S)
            # It may be this transaction's second run.
            connection.execute(note.on_conflict_do_nothing(index_elements=["token"]))
            return Noted(token, None)
        if before.fingerprint != fingerprint:
            raise IdempotencyKeyReused(f"{KEY}: was used with another body.", param=KEY)
        if before.job_id is not None:
            return Noted(before.token, before.job_id)
        left_s = IN_FLIGHT_S - abs(now - before.at)
        if key is not None and before.token != token and left_s > 0:
            raise SubmissionInFlight(f"{KEY}: its submission is in flight.", param=KEY, retry_after_s=left_s)
        connection.execute(update(submissions).where(submissions.c.token == before.token).values(token=token, at=now))
        return Noted(token, None)

    def _before(self, connection: Connection, owner: str, repetition: Repetition, fingerprint: str) -> Any:
        """The note that this submission repeats."""
        if repetition.key is None and not repetition.retried:
            return None
        same: ColumnElement[bool] = submissions.c.key == repetition.key
        if repetition.key is None:
            same = and_(submissions.c.key.is_(None), submissions.c.fingerprint == fingerprint)
        latest = select(submissions).where(submissions.c.owner == owner, same).order_by(submissions.c.at.desc())
        return connection.execute(latest.limit(1).with_for_update()).first()


def settle(connection: Connection, token: str, job_id: str, now: ColumnElement[float]) -> None:
    """Write the job that a submission has become beside it, in the transaction that accepts the job.

    Raises:
        SubmissionInFlight: another submission has taken its place, and is this job's instead.
    """
    mine = and_(submissions.c.token == token, submissions.c.job_id.is_(None))
    until = case((submissions.c.key.is_(None), now + RETRIED_S), else_=now + KEPT_S)
    done = update(submissions).where(mine).values(job_id=job_id, at=now, expires_at=until)
    if connection.execute(done.returning(submissions.c.token)).first() is None:
        raise SubmissionInFlight(
            "The same submission was sent again, and goes on in this one's place.", retry_after_s=1
        )
