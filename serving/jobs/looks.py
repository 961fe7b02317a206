"""What can be asked of the jobs and the workers: each question one look at the database, which writes nothing.

Every method but `look_up` and `look_up_position` may block for some seconds and be called from any thread. Knows
nothing of HTTP, Ray or video.

Every method raises StorageUnavailable when the database stays locked, full or out of reach.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import select

from serving.jobs import admission, backlog, claims, fence, listing, outlook, roll, spending, standing
from serving.jobs.admission import Bounds
from serving.jobs.backlog import Backlog
from serving.jobs.database import Database
from serving.jobs.job import Held, Job
from serving.jobs.line import Turns
from serving.jobs.outlook import Outlook, Situation
from serving.jobs.places import Places
from serving.jobs.standing import Standing
from serving.jobs.tables import jobs
from serving.jobs.worker import Worker
from serving.parameters import Priority


class Looks:
    """The half of `store.JobStore` that changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._clock = database.clock
        self._places = Places()
        self._looking = Turns()

    def ping(self) -> None:
        """Answer at once whether the store can be read.

        Raises:
            StorageUnavailable: it cannot.
        """
        self._database.read(lambda c: c.scalar(select(jobs.c.seq).limit(1)), patience_s=0)

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

    def backlog(self, leaving: Collection[str] = ()) -> Backlog:
        """The waiting work by the pools that can hold it, and what each pool has in hand."""
        return self._database.read(lambda c: backlog.backlog(c, self._clock, leaving))

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

    def claimable(self, pool: str, model: str) -> bool:
        """Whether `claim` may find work; cheap, and takes no lock."""
        return self._database.read(lambda c: claims.claimable(c, self._clock, pool, model))

    def waiting_within(self, pool: str, model: str, within_s: float) -> frozenset[str]:
        """Ids of the jobs that `claim` may find `within_s`: of each group the first; takes no lock."""
        return self._database.read(lambda c: claims.waiting_within(c, pool, model, self._looking, within_s))

    def held(self, job_id: str, attempt: int) -> Held:
        """What `renew` would answer; a cheap read that writes nothing."""
        return self._database.read(lambda c: fence.held(c, job_id, attempt))

    def workers(self, role: str | None = None, within_s: float = 15.0) -> tuple[Worker, ...]:
        """Those that beat within the last `within_s` seconds, by id."""
        return self._database.read(lambda c: roll.present(c, self._clock, role, within_s))
