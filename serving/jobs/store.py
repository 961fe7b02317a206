"""The job store: one durable queue in one database, shared by every process of the service.

A worker's writes carry the attempt it was given; once the store has taken the job back they change nothing.
Every method but `look_up` and `look_up_position` may block for some seconds and be called from any thread. Knows
nothing of HTTP, Ray or video.

Every method raises StorageUnavailable when the database stays locked, full or out of reach.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import select

from serving.jobs import (
    admission,
    backlog,
    claims,
    fence,
    listing,
    outlook,
    roll,
    spending,
    standing,
    transitions,
)
from serving.jobs.admission import Bounds
from serving.jobs.backlog import Backlog
from serving.jobs.calibrations import Calibrations
from serving.jobs.database import Database
from serving.jobs.engines import open_database
from serving.jobs.expiry import Expiry
from serving.jobs.job import Failure, Held, Job, NewJob, Stage
from serving.jobs.keys import KeyStore
from serving.jobs.line import Turns
from serving.jobs.outbox import Outbox
from serving.jobs.outlook import Outlook, Situation
from serving.jobs.places import Places
from serving.jobs.standing import Standing
from serving.jobs.submissions import SubmissionStore
from serving.jobs.tables import jobs
from serving.jobs.worker import Worker
from serving.parameters import Priority

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


class JobStore:
    """Jobs and the workers that do them."""

    def __init__(self, database: Database, max_attempts: int) -> None:
        """Use `open_store`."""
        self._database = database
        self._max_attempts = max_attempts
        self._clock = database.clock
        self._turns = Turns()
        self._places = Places()
        self.keys = KeyStore(database)
        self.submissions = SubmissionStore(database)
        self.outbox = Outbox(database)
        self.expiry = Expiry(database)
        self.calibrations = Calibrations(database)

    def ping(self) -> None:
        """Answer at once whether the store can be read.

        Raises:
            StorageUnavailable: it cannot.
        """
        self._database.read(lambda c: c.scalar(select(jobs.c.seq).limit(1)), patience_s=0)

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

    def check_room(
        self,
        owner: str,
        *,
        max_waiting: int | None = None,
        max_waiting_s: float | None = None,
        max_owner_s: float | None = None,
        max_owner_day_s: float | None = None,
    ) -> None:
        """Whether `insert` would take a job of `owner` now; writes nothing.

        Raises:
            RateLimited, ServerOverloaded: as `insert` would.
        """
        bounds = Bounds(max_waiting, max_waiting_s, max_owner_s, max_owner_day_s)
        self._database.read(lambda c: admission.check_room(c, self._clock, owner, bounds))

    def spent_today(self) -> dict[str, float]:
        """GPU seconds that the jobs of each owner that is a key have had today (UTC)."""
        return self._database.read(lambda c: spending.today(c, self._clock))

    def get(self, job_id: str) -> Job:
        """The job as it is now.

        Raises:
            VideoNotFound: there is none, or it was deleted.
        """
        return self._database.read(lambda c: listing.get(c, job_id))

    def follow(self, job_id: str) -> tuple[Job, int | None]:
        """`get` and `queue_position` of one moment.

        Raises:
            VideoNotFound: there is no such job.
        """
        return self._database.read(lambda c: listing.follow(c, self._places, job_id))

    async def look_up(self, job_id: str) -> tuple[Job, int | None]:
        """`follow` for an event loop, which never waits for a lock."""
        return await self._database.look(lambda c: listing.follow(c, self._places, job_id))

    def list(
        self, after: str | None = None, limit: int = 20, newest_first: bool = True, owner: str | None = None
    ) -> tuple[tuple[Job, ...], bool]:
        """A page of jobs in order of acceptance, and whether there are more.

        Args:
            after: the last id of the page before; its job may have been deleted since.
            owner: of this owner's jobs alone; None is of all.

        Raises:
            VideoNotFound: `after` is no job id.
        """
        return self._database.read(lambda c: listing.page(c, after, limit, newest_first, owner))

    def held_by(self, worker_prefix: str) -> tuple[Job, ...]:
        """The jobs in progress whose workers' names begin so."""
        return self._database.read(lambda c: listing.held_by(c, worker_prefix))

    def queue_position(self, job_id: str) -> int | None:
        """1 and the number of waiting jobs before this one; None for one that does not wait.

        By rank alone, among the jobs that share a pool with it: as if all owners were served alike, no card were
        kept for the jobs only it can hold, and no job came after this moment. In a long line (`places.LONG`) those
        before it are counted as of a second ago.
        """
        return self._database.read(lambda c: listing.queue_position(c, self._places, job_id))

    async def look_up_position(self, job_id: str) -> int | None:
        """`queue_position` for an event loop, which never waits for a lock."""
        return await self._database.look(lambda c: listing.queue_position(c, self._places, job_id))

    def standings(self, ids: Collection[str]) -> dict[str, Standing]:
        """Where these jobs stand, by id; those that there are. One look, however many they are."""
        return self._database.read(lambda c: standing.standings(c, ids))

    def backlog(self) -> Backlog:
        """The waiting work by the pools that can hold it, and what each pool has in hand."""
        return self._database.read(lambda c: backlog.backlog(c, self._clock))

    def cards_at_work(self, pool: str) -> int:
        """How many cards of the pool have a job, of their own or another card's; one whose clip is encoded has none."""
        return self._database.read(lambda c: backlog.cards_at_work(c, self._clock, pool))

    def outlook(
        self,
        model: str,
        pools: Collection[str],
        estimates: Mapping[str, float],
        *,
        priority: Priority = "interactive",
        owner: str = "",
        deadline_s: float | None = None,
    ) -> Outlook:
        """What a job, were it accepted at this moment, would find before it; writes nothing.

        Args:
            pools: all that serve `model`.
            estimates: GPU seconds of the job on each pool that can hold it.
            deadline_s: seconds from now.
        """
        job = (estimates, priority, owner, deadline_s)
        return self._database.read(lambda c: outlook.outlook(c, self._clock, model, pools, *job))

    def situation(self, model: str, pools: Collection[str], *, most: int) -> Situation | None:
        """The waiting jobs of `model`, one by one, and what they wait for; None where more than `most` wait.

        Args:
            pools: all that serve `model`.
        """
        return self._database.read(lambda c: outlook.situation(c, self._clock, model, pools, most))

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

    def claimable(self, pool: str, model: str) -> bool:
        """Whether `claim` may find work; cheap, and takes no lock."""
        return self._database.read(lambda c: claims.claimable(c, self._clock, pool, model))

    def claim(self, pool: str, model: str, worker: str, lease_s: float) -> Job | None:
        """Take the job that a free card of `pool`, which serves `model`, works on next, for `lease_s` seconds.

        It is under a new attempt. None when no job waits that the pool can hold. Which one goes next is
        `scheduling.queueing`'s to say.

        First takes back every job whose lease has lapsed: it waits again in its old place, or has ended when
        cancelled, or when this was the last of the crashes that it may have.
        """
        return self._database.write(
            lambda c: claims.claim(c, self._clock, self._turns, pool, model, worker, lease_s, self._max_attempts)
        )

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

    def held(self, job_id: str, attempt: int) -> Held:
        """What `renew` would answer; a cheap read that writes nothing."""
        return self._database.read(lambda c: fence.held(c, job_id, attempt))

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

    def workers(self, role: str | None = None, within_s: float = 15.0) -> tuple[Worker, ...]:
        """Those that beat within the last `within_s` seconds, by id."""
        return self._database.read(lambda c: roll.present(c, self._clock, role, within_s))

    def leave(self, worker_id: str) -> None:
        """Strike a worker off at once; unknown ones are no error."""
        self._database.write(lambda c: roll.leave(c, worker_id))
