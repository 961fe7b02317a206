"""The job store: one durable queue in one database, shared by every process of the service.

A worker's writes carry the attempt it was given; once the store has taken the job back they change nothing.
Every method but `look_up` and `look_up_position` may block for some seconds and be called from any thread. Knows
nothing of HTTP, Ray or video.

Every method raises StorageUnavailable when the database stays locked, full or out of reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.jobs import admission, claims, fence, roll, transitions
from serving.jobs.admission import Bounds
from serving.jobs.calibrations import Calibrations
from serving.jobs.database import Database
from serving.jobs.engines import open_database
from serving.jobs.expiry import Expiry
from serving.jobs.job import Failure, Held, Job, NewJob, Stage
from serving.jobs.keys import KeyStore
from serving.jobs.line import Turns
from serving.jobs.looks import Looks
from serving.jobs.outbox import Outbox
from serving.jobs.submissions import SubmissionStore
from serving.jobs.worker import Worker

MAX_ATTEMPTS = 3


def open_store(url: str, *, max_attempts: int = MAX_ATTEMPTS) -> JobStore:
    """Open the store, creating or migrating its schema; any number of processes may do so at once.

    Args:
        url: `sqlite:///folder/jobs.db` for the processes of one machine, on a local disk; or
            `postgresql+psycopg://user@host/name`.
        max_attempts: crashes of its worker that end a job. Here, so that no call can forget it.

    Raises:
        ConfigurationInvalid: the URL names no such database, or one written by a newer version.
        StorageUnavailable: the database cannot be reached.
    """
    return JobStore(open_database(url), max_attempts)


class JobStore(Looks):
    """Jobs and the workers that do them: all that can be asked of them (`Looks`), and all that changes them."""

    def __init__(self, database: Database, max_attempts: int) -> None:
        """Use `open_store`."""
        super().__init__(database)
        self._max_attempts = max_attempts
        self._turns = Turns()
        self.keys = KeyStore(database)
        self.submissions = SubmissionStore(database)
        self.outbox = Outbox(database)
        self.expiry = Expiry(database)
        self.calibrations = Calibrations(database)

    def close(self) -> None:
        """Close the connections; the store can no longer be used."""
        self._database.close()

    # What the service does.

    def insert(
        self,
        job: NewJob,
        *,
        max_waiting: int | None = None,
        max_waiting_s: float | None = None,
        max_owner_s: float | None = None,
        max_owner_day_s: float | None = None,
    ) -> Job:
        """Accept a job; when this returns it is on disk. The same id again is the same job.

        Args:
            max_waiting: jobs that may wait.
            max_waiting_s: GPU seconds that may wait, each job on the fastest pool that can hold it.
            max_owner_s: the same, of this job's owner alone.
            max_owner_day_s: GPU seconds the owner may have in a day (UTC), with what waits and what is in progress.

        Raises:
            RateLimited: the owner has `max_owner_s` waiting already, or has used up its day.
            ServerOverloaded: as many jobs or GPU seconds wait already. Both say in how many seconds there may be
                room again, by what waits and how many cards there are.
            SubmissionInFlight: another has taken the place of its submission.
        """
        bounds = Bounds(max_waiting, max_waiting_s, max_owner_s, max_owner_day_s)
        return self._database.write(lambda c: admission.admit(c, self._clock, job, bounds))

    def cancel(self, job_id: str) -> Job:
        """End a job that waits; ask the worker of a job in progress to stop.

        Raises:
            VideoNotFound: there is no such job.
            NotCancellable: it has ended already.
        """
        return self._database.write(lambda c: claims.cancel(c, self._clock, job_id))

    def delete(self, job_id: str) -> Job:
        """Remove a job, and return its last record, whose files are now the caller's to delete.

        A job in progress is cancelled and can no longer be seen; its worker's `complete` will answer False.

        Raises:
            VideoNotFound: there is no such job.
        """
        return self._database.write(lambda c: claims.remove(c, self._clock, job_id))

    # What a card's dispatcher and worker do.

    def claim(
        self,
        pool: str,
        model: str,
        worker: str,
        lease_s: float,
        *,
        within_s: float | None = None,
        preempts: str | None = None,
    ) -> Job | None:
        """Take the job that a free card of `pool`, which serves `model`, works on next, for `lease_s` seconds.

        It is under a new attempt. None when no job waits that the pool can hold. Which one goes next is
        `scheduling.queueing`'s to say.

        First takes back every job whose lease has lapsed: it waits again in its old place, or has ended when
        cancelled, or when this was the last of the crashes that it may have.

        Args:
            within_s: of a card that is not free, but gives way to interactive jobs of so many expected seconds.
            preempts: the job that such a card puts off for it.
        """
        return self._database.write(
            lambda c: claims.claim(
                c, self._clock, self._turns, pool, model, worker, lease_s, self._max_attempts, within_s, preempts
            )
        )

    def put_off(self, job_id: str, attempt: int, seconds: float) -> None:
        """Note for how long in all a job at work was put off for others: that is not charged to its owner."""
        self._database.write(lambda c: fence.put_off(c, job_id, attempt, seconds))

    def adopt(self, pools: Mapping[str, str]) -> None:
        """Let any pool of its model take each job whose own pools are all gone; to be called when pools start.

        Args:
            pools: the model of every pool of the service, by the pool's name.
        """
        self._database.write(lambda c: claims.adopt(c, pools))

    def renew(
        self,
        job_id: str,
        attempt: int,
        lease_s: float,
        *,
        stage: Stage | None = None,
        step: int | None = None,
        steps: int | None = None,
        progress: int | None = None,
    ) -> Held:
        """Hold the job for `lease_s` seconds from now, and tell how far it is; None leaves a value as it was.

        Progress (0 to 100) never goes back. LOST means that nothing was written and the worker must stop.
        """
        told = {"stage": stage, "step": step, "steps": steps, "progress": progress}
        news = {name: value for name, value in told.items() if value is not None}
        return self._database.write(lambda c: fence.renew(c, self._clock, job_id, attempt, lease_s, news))

    def complete(self, job_id: str, attempt: int, result: dict[str, Any], expires_at: float | None = None) -> bool:
        """Publish the result (JSON's types) of an attempt whose files are in place; again is still True.

        False: the job was taken back or deleted, and the files are the caller's to delete.
        """
        values = transitions.completed(self._clock, result, expires_at)
        return self._database.write(lambda c: fence.complete(c, self._clock, job_id, attempt, values))

    def fail(self, job_id: str, attempt: int, code: str, message: str) -> bool:
        """End the job with a reason; code "cancelled" after a cancel. False: it was taken back before."""
        values = transitions.failed(self._clock, code, message)
        return self._database.write(lambda c: fence.fail(c, self._clock, job_id, attempt, values))

    def release(self, job_id: str, attempt: int, *, reason_code: str, reason: str, charge: bool) -> Job | None:
        """Take the job from a worker that died (`charge`) or that drains (not charged), at once.

        It waits again in its old place; or it has ended, when cancelled, or with worker_crashed and all its
        reasons when this was the last of the charged ones that it may have.

        Returns:
            The job as it is now; None when this attempt had ended already, or the job was deleted.
        """
        failure = Failure(attempt, reason_code, reason) if charge else None
        most = self._max_attempts
        return self._database.write(lambda c: claims.release(c, self._clock, job_id, attempt, failure, most))

    # Who is there.

    def beat(self, worker: Worker) -> None:
        """Say that this worker lives; to be repeated every few seconds."""
        self._database.write(lambda c: roll.beat(c, self._clock, worker))

    def leave(self, worker_id: str) -> None:
        """Strike a worker off at once; unknown ones are no error."""
        self._database.write(lambda c: roll.leave(c, worker_id))
