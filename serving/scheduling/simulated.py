"""What a simulation is given, and what it gives. Standard library only; knows nothing of how it is done."""

from __future__ import annotations

from dataclasses import dataclass

from serving.scheduling.cost import Shape
from serving.scheduling.placement import Pool
from serving.scheduling.preemption import MOST_S


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request. Moments are seconds since the simulation's start."""

    at: float
    shape: Shape
    kind: str = ""
    """What the report calls it."""
    owner: str = ""
    priority: str = "interactive"
    deadline: float | None = None


@dataclass(frozen=True)
class Fleet:
    """One pool of a simulation."""

    pool: Pool
    size: float
    """What a card costs, in any unit."""
    least: int
    most: int
    """Bounds of its cards."""
    start_s: float = 60.0
    """From the wish for a card until it works."""


@dataclass(frozen=True)
class Rules:
    """What is not decided by a policy."""

    decide_every_s: float = 0.5
    gap_s: float = 0.03
    """Between two jobs of a card."""
    start_beside_s: float = 0.0
    """How much longer a card takes to start for each other that is starting then: those of one machine share its
    processors."""
    preempt_s: float = MOST_S
    """Seconds that a job at work is put off for shorter ones; none where 0."""
    look_s: float = 0.3
    """How long a card at work takes to see such a one, before it ends the step that it is at."""
    most_waiting: int | None = 10_000
    most_waiting_s: float | None = None
    """Bounds of the line: jobs, GPU seconds; beyond, a request is refused."""
    noise: float = 0.0
    """Standard deviation of the logarithm of what a job takes, around what it is expected to."""
    sample_every_s: float = 60.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an arrival."""

    arrival: Arrival
    refused: str = ""
    """The error's code; empty where it was done."""
    pool: str = ""
    started: float = 0.0
    ended: float = 0.0
    preempts: bool = False
    """Whether a card put another job off for it."""
    preempted_s: float = 0.0
    """How long it was put off itself."""

    @property
    def wait_s(self) -> float:
        return self.started - self.arrival.at

    @property
    def latency_s(self) -> float:
        return self.ended - self.arrival.at


@dataclass(frozen=True, slots=True)
class Sample:
    """One pool at one moment."""

    at: float
    pool: str
    up: int
    """Cards that are paid for: at work, idle or starting."""
    busy: int
    waiting: int
    """Jobs in line, of all pools."""
    waiting_s: float


@dataclass(frozen=True)
class Simulated:
    """What a simulation gave."""

    outcomes: list[Outcome]
    """In order of ends and refusals."""
    samples: list[Sample]
    up_s: dict[str, float]
    """Card seconds paid for, by pool."""
    busy_s: dict[str, float]
    ended: float
    """The last event."""
