"""Scenarios on virtual time: requests as the simulator wants them, pools by their cards' classes, waits by kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from loadtest.baseline import RequestCounting, ServeDefaults
from loadtest.quantile import quantile
from loadtest.scenarios import Fields, Request
from serving.parameters import VideoParameters
from serving.presets import I2VGEN_XL, ModelProfile
from serving.request import resolve
from serving.scheduling.capacity import HOLD_S, Target
from serving.scheduling.cards import CARDS
from serving.scheduling.cost import Shape
from serving.scheduling.placement import Pool
from serving.scheduling.policies import Policy, ResolutionAware
from serving.scheduling.simulated import Arrival, Fleet, Outcome, Rules, Simulated
from serving.scheduling.simulator import simulate

START_S = 60.0
SLACK = 0.03
"""Standard deviation of a job's seconds around what is expected, in logarithms: assumed."""


@dataclass(frozen=True)
class Cards:
    """A pool of one class of cards; it bears the class's name."""

    card: str
    least: int
    most: int

    def __str__(self) -> str:
        bounds = str(self.most) if self.least == self.most else f"{self.least}-{self.most}"
        return f"{bounds} x {self.card}"


def arrivals(requests: Iterable[Request], profile: ModelProfile = I2VGEN_XL) -> Iterator[Arrival]:
    """Requests of square pictures."""
    shapes: dict[tuple[tuple[str, str | int | float], ...], Shape] = {}
    for request in requests:
        key = tuple(request.fields.items())
        if key not in shapes:
            shapes[key] = shape_of(request.fields, profile)
        priority = str(request.fields.get("priority", "interactive"))
        deadline = request.fields.get("deadline")
        due = None if deadline is None else request.at + float(deadline)
        yield Arrival(request.at, shapes[key], request.kind, request.owner, priority, due)


def shape_of(fields: Fields, profile: ModelProfile = I2VGEN_XL) -> Shape:
    """Raises InvalidParameter where the model does not allow the fields."""
    parameters = VideoParameters.model_validate({"prompt": "pan left", **fields})
    return resolve(parameters, profile, seed=0).shape


def fleets(cards: Iterable[Cards], start_s: float = START_S) -> list[Fleet]:
    rows = []
    for one in cards:
        row = CARDS[one.card]
        pool = Pool(one.card, I2VGEN_XL.name, row.tflops, row.memory_gib, compute_capability=row.compute_capability)
        rows.append(Fleet(pool, row.memory_gib, one.least, one.most, start_s))
    return rows


def ours(target_wait_s: float = 60.0, hold_s: float = HOLD_S) -> Policy:
    """The service's policy, by its settings."""
    return ResolutionAware(Target(target_wait_s, 10 * target_wait_s), hold_s)


def serves(cards: Iterable[Cards], rules: ServeDefaults | None = None) -> Policy:
    """Serve's defaults, or such rules."""
    return RequestCounting({one.card: CARDS[one.card].memory_gib for one in cards}, rules)


def play(
    requests: Iterable[Request],
    cards: Sequence[Cards],
    policy: Policy,
    rules: Rules | None = None,
    profile: ModelProfile = I2VGEN_XL,
    start_s: float = START_S,
    enough: Callable[[Outcome], bool] = lambda outcome: False,
) -> Simulated:
    """The requests on virtual time, until the last one is done or `enough` was seen."""
    coming = arrivals(requests, profile)
    found, decided = fleets(cards, start_s), rules or Rules(noise=SLACK)
    return simulate(coming, found, policy, I2VGEN_XL.name, profile.cost, decided, enough)


@dataclass(frozen=True)
class Figures:
    """What happened to the requests of one kind. Seconds."""

    count: int
    refused: int
    wait_p50: float
    wait_p95: float
    latency_p50: float
    latency_p95: float
    latency_p99: float


def figures(outcomes: Iterable[Outcome]) -> Mapping[str, Figures]:
    """By kind, and of all that are not batch under "interactive"."""
    kinds: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        kinds[outcome.arrival.kind].append(outcome)
        if outcome.arrival.priority != "batch":
            kinds["interactive"].append(outcome)
    return {kind: _figures(found) for kind, found in sorted(kinds.items())}


def _figures(outcomes: Sequence[Outcome]) -> Figures:
    done = [one for one in outcomes if not one.refused]
    waits, latencies = ([getattr(one, name) for one in done] for name in ("wait_s", "latency_s"))
    return Figures(
        len(outcomes),
        len(outcomes) - len(done),
        *(quantile(waits, share) for share in (0.5, 0.95)),
        *(quantile(latencies, share) for share in (0.5, 0.95, 0.99)),
    )
