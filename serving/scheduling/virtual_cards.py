"""A pool's cards on virtual time: which work, at what, and what it costs. Knows nothing of who decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from serving.scheduling.capacity import PoolState
from serving.scheduling.preemption import room_s
from serving.scheduling.simulated import Fleet, Outcome


@dataclass(eq=False)
class AtWork:
    """A card with a job. Moments are seconds of virtual time."""

    outcome: Outcome
    """Of the job, if nothing puts it off any more."""
    free: float
    """When the card is free then."""
    estimate_s: float
    step_s: float
    """Of one denoising step, about."""
    preemptible: bool
    gives_way: float = 0.0
    """Until when it is at another job."""

    def room_s(self, now: float, most_s: float) -> float:
        """The longest job that it gives way to now."""
        if not self.preemptible or self.gives_way > now:
            return 0.0
        return room_s(self.estimate_s, self.outcome.ended - now, self.outcome.preempted_s, most_s)

    def put_off(self, begins: float, seconds: float) -> None:
        """Do another job from `begins` on."""
        self.gives_way = begins + seconds
        self.free += seconds
        was = self.outcome
        self.outcome = replace(was, ended=was.ended + seconds, preempted_s=was.preempted_s + seconds)


@dataclass
class Cards:
    """A pool's cards now."""

    fleet: Fleet
    idle: int = 0
    at_work: list[AtWork] = field(default_factory=list)
    starting: int = 0
    wanted: int = 0
    looks: bool = False
    """Whether those at work are about to look for shorter jobs."""
    changed: float = 0.0
    up_s: float = 0.0
    busy_s: float = 0.0

    @property
    def busy(self) -> int:
        return len(self.at_work)

    @property
    def up(self) -> int:
        return self.idle + self.busy + self.starting

    def account(self, now: float) -> None:
        """Before any count changes."""
        self.up_s += self.up * (now - self.changed)
        self.busy_s += self.busy * (now - self.changed)
        self.changed = now

    def state(self, now: float) -> PoolState:
        left_s = tuple(one.free - now for one in self.at_work)
        fleet = self.fleet
        return PoolState(fleet.pool.name, fleet.size, fleet.least, fleet.most, self.idle + self.busy, left_s)

    def stop_idle(self) -> None:
        """Those that are not wanted."""
        self.idle -= max(0, min(self.idle, self.up - self.wanted))

    def rooms(self, now: float, most_s: float) -> Iterator[tuple[float, AtWork]]:
        """The cards at work that give way, each with the longest job that it gives way to."""
        for one in self.at_work:
            if (room := one.room_s(now, most_s)) > 0:
                yield room, one
