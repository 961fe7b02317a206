"""What a request would cost, where it would run, and when, by what waits now. Knows nothing of HTTP or Ray."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from serving.cautions import Caution
from serving.errors import I2VError
from serving.jobs.backlog import Load
from serving.jobs.outlook import Situation
from serving.jobs.store import JobStore
from serving.pools import ServedPool
from serving.request import VideoRequest
from serving.scheduling.capacity import Waiting
from serving.scheduling.forecast import Cards, Opening, starts
from serving.scheduling.pairing import pays
from serving.scheduling.placement import Placement, Pool, lacks
from serving.scheduling.plans import MemoryPlan, decode_chunk, needed_gib
from serving.settings import AUTO, Settings
from serving.sizing import target, wanted


@dataclass(frozen=True)
class PoolQuote:
    """One pool that serves the model."""

    name: str
    card: str
    """Its class; of an "auto" pool, what its cards call themselves."""
    memory_gib: float | None
    """Of one card; None where memory is no limit, or not known yet."""
    needed_gib: float
    """Memory a card must have: by the plan, or where none fits by the smallest."""
    cold: bool
    """No card of it is up."""
    plan: MemoryPlan | None = None
    """How it would run there; None where no plan fits."""
    decode_chunk: int | None = None
    """Frames decoded at once, as far as can be told before."""
    gpu_seconds: float | None = None
    lacks: str | None = None
    """What of the clip's accelerations its cards cannot do."""
    starts_in_s: float | None = None
    """When one of its cards would take the job, did no other pool take it before; None where it does not fit, or
    where no card is up and none would be started for it."""
    shared_seconds: float | None = None
    """What two of its cards take together, where the deadline asks for both and the second would have nothing to do."""

    @property
    def finishes_in_s(self) -> float | None:
        if self.starts_in_s is None or self.gpu_seconds is None:
            return None
        return self.starts_in_s + (self.gpu_seconds if self.shared_seconds is None else self.shared_seconds)

    @property
    def reason(self) -> str | None:
        """Why it does not fit."""
        if self.plan is not None:
            return None
        if self.lacks is not None:
            return self.lacks
        return f"needs {self.needed_gib:.1f} GiB; a card has {self.memory_gib:.3g} GiB"


@dataclass(frozen=True)
class Quote:
    """The answer to one request, which was not queued."""

    request: VideoRequest
    now: float
    """Epoch seconds."""
    gpu_seconds: float
    """Of one card."""
    starts_in_s: float
    finishes_in_s: float
    """When its cards would be free again; encoding comes after."""
    pools: tuple[PoolQuote, ...]
    """Those that serve its model; it would go to the first."""
    queue: Load
    """All that waits, of every model."""
    warnings: tuple[Caution, ...]
    refusal: I2VError | None
    """What a submission would be answered now; None where it would be taken."""


class Quoter:
    """Quotes over one store; reads only."""

    def __init__(self, store: JobStore, settings: Settings, pools: Sequence[ServedPool]) -> None:
        self._store = store
        self._aim = target(settings)
        self._preempt_s = settings.preempt_s
        self._pools = pools

    def quote(
        self,
        request: VideoRequest,
        placement: Placement,
        known: Sequence[Pool],
        warnings: tuple[Caution, ...],
        owner: str,
        refusal: I2VError | None,
    ) -> Quote:
        """`known` are all pools with their cards' memory.

        Raises:
            StorageUnavailable: the store is out of reach.
        """
        serving = [pool for pool in self._pools if pool.profile.name == request.model]
        workers = self._store.workers(role="generator")
        up = Counter(worker.pool or "" for worker in workers)
        outlook = self._store.outlook(
            request.model,
            [pool.name for pool in serving],
            placement.seconds,
            priority=request.priority,
            owner=owner,
            deadline_s=request.deadline_s,
        )
        backlog = self._store.backlog()
        will_be = wanted(self._pools, backlog, up, self._aim, also=[Waiting(placement.seconds)])
        cards = [expected_cards(pool, up[pool.name], will_be[pool.name], outlook, self._preempt_s) for pool in serving]
        starting = starts(cards, outlook.waiting, outlook.job, outlook.now)
        shared = {
            one.pool: placement.shared[one.pool]
            for one in cards
            if one.pool in starting and _shares(one, starting[one.pool], request, placement, outlook)
        }
        placeable = {pool.name: pool for pool in known}
        named = {worker.pool: str(worker.card["name"]) for worker in workers if worker.card is not None}
        rows = []
        for pool in serving:
            cost, plan, gib = pool.profile.cost, placement.plans.get(pool.name), placeable[pool.name].memory_gib
            rows.append(
                PoolQuote(
                    name=pool.name,
                    card=named.get(pool.name, AUTO) if pool.settings.card == AUTO else pool.settings.card,
                    cold=up[pool.name] == 0,
                    memory_gib=gib,
                    needed_gib=needed_gib(plan, request.shape, cost),
                    plan=plan,
                    decode_chunk=None if plan is None else decode_chunk(plan, request.shape, cost, gib),
                    gpu_seconds=placement.seconds.get(pool.name),
                    lacks=lacks(request.shape, placeable[pool.name]),
                    starts_in_s=starting.get(pool.name),
                    shared_seconds=shared.get(pool.name),
                )
            )
        start_s, seconds, first = min((at, placement.seconds[name], name) for name, at in starting.items())
        end_s = start_s + shared.get(first, seconds)
        rows.sort(key=lambda row: (_or_never(row.starts_in_s), _or_never(row.gpu_seconds)))
        late_s = end_s - (request.deadline_s or math.inf)
        if late_s > 0:
            message = f"The clip is expected {late_s:.0f} s after its deadline."
            warnings += (Caution(code="late", field="deadline", message=message),)
        return Quote(request, outlook.now, seconds, start_s, end_s, tuple(rows), backlog.total, warnings, refusal)


def expected_cards(pool: ServedPool, up: int, will_be: int, found: Situation, preempt_s: float) -> Cards:
    """The cards that are up, those at work first, and those that are started.

    Args:
        preempt_s: how long a job at work may be put off, in all.
    """
    at_work = sorted(found.at_work.get(pool.name, ()), key=lambda one: one.left_s, reverse=True)[:up]
    openings = (Opening(card, one.another_s, one.room_s(preempt_s)) for card, one in enumerate(at_work))
    left_s, idle = [one.left_s for one in at_work], [0.0] * (up - len(at_work))
    return Cards(
        pool.name,
        (*left_s, *idle, *[pool.settings.start_s] * (will_be - up)),
        found.usage[pool.name],
        tuple(opening for opening in openings if opening.within_s > 0),
    )


def _shares(cards: Cards, start_s: float, request: VideoRequest, placement: Placement, outlook: Situation) -> bool:
    """Whether a second one of these cards would help from the start."""
    return pays(
        left_s=None if request.deadline_s is None else request.deadline_s - start_s,
        alone_s=placement.seconds[cards.pool],
        shared_s=placement.shared.get(cards.pool),
        idle=sum(free_s <= start_s for free_s in cards.free_in_s) - 1,
        # Of what waits now, some may be gone by then; a promise counts with all of it.
        waiting=any(not one.fit or cards.pool in one.fit for one in outlook.waiting),
    )


def _or_never(seconds: float | None) -> float:
    return math.inf if seconds is None else seconds
