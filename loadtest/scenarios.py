"""Who asks for what, and when: one row a scenario. The same rows drive a real service and the simulator."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import dropwhile, takewhile

from loadtest.arrivals import Process, Rates, expected, hourly, moments, steady

Fields = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Stream:
    """Requests of one sort, of `owners` users who ask alike."""

    kind: str
    """What reports call it."""
    fields: Fields
    """Of `POST /v1/videos`, besides picture and prompt."""
    rates: Rates
    """Of all its users together."""
    owners: tuple[str, ...] = ("creators",)
    process: Process = "poisson"

    @property
    def priority(self) -> str:
        return str(self.fields.get("priority", "interactive"))


@dataclass(frozen=True)
class Request:
    """One request; `at` in seconds since the scenario's start."""

    at: float
    kind: str
    owner: str
    fields: Fields = field(compare=False)


@dataclass(frozen=True)
class Scenario:
    """One row of the table."""

    name: str
    title: str
    streams: tuple[Stream, ...]

    @property
    def requests(self) -> float:
        """How many, on the average."""
        return sum(expected(stream.rates) for stream in self.streams)

    @property
    def kinds(self) -> set[str]:
        return {stream.kind for stream in self.streams}

    @property
    def seconds(self) -> float:
        return max(stream.rates[-1][0] for stream in self.streams)

    def busier(self, load: float) -> Scenario:
        """The same with `load` times as many requests."""
        streams = (replace(one, rates=[(at, load * rate) for at, rate in one.rates]) for one in self.streams)
        return replace(self, streams=tuple(streams))

    def draw(self, seed: int = 0) -> Iterator[Request]:
        """Its requests in order; the same seed gives the same ones."""
        streams = [_requests(stream, random.Random(f"{self.name} {n} {seed}")) for n, stream in enumerate(self.streams)]
        return heapq.merge(*streams, key=lambda request: request.at)


def hastened(
    requests: Iterable[Request], times: float = 1.0, seconds: float | None = None, begin: float = 0.0
) -> Iterator[Request]:
    """The same requests in a `times`-th of the time, deadlines too.

    Args:
        seconds: how long it lasts then; what is due later is left out.
        begin: seconds of the scenario that are left out before.
    """
    later = dropwhile(lambda one: one.at < begin, requests)
    for request in takewhile(lambda one: seconds is None or (one.at - begin) / times < seconds, later):
        fields = request.fields
        if "deadline" in fields:
            fields = {**fields, "deadline": float(fields["deadline"]) / times}
        yield replace(request, at=(request.at - begin) / times, fields=fields)


def steady_mix(scenario: Scenario, rate: float, seconds: float) -> Scenario:
    """The scenario's streams in their proportions, at `rate` requests a second of all together, as Poisson arrivals."""
    streams = [
        replace(stream, rates=steady(rate * expected(stream.rates) / scenario.requests, seconds), process="poisson")
        for stream in scenario.streams
    ]
    return Scenario(scenario.name, f"{scenario.name} at {rate:.3g} requests a second", tuple(streams))


def _requests(stream: Stream, chance: random.Random) -> Iterator[Request]:
    for at in moments(stream.rates, stream.process, chance):
        yield Request(at, stream.kind, chance.choice(stream.owners), stream.fields)


PREVIEW: Fields = {"preset": "preview"}
STANDARD: Fields = {"preset": "standard"}
HIGH: Fields = {"preset": "high"}
EXTREME: Fields = {"preset": "extreme"}
SMALL: Fields = {"resolution": "256p", "num_frames": 8, "num_inference_steps": 30}
BATCH: Fields = {"preset": "standard", "priority": "batch"}

_CREATORS = tuple(f"creator-{n}" for n in range(20))
_SHOPS = ("apparel", "electronics", "home")

SCENARIOS: Mapping[str, Scenario] = {
    row.name: row
    for row in (
        Scenario(
            "night",
            "three shops hand in 4,800 stills at ten in the evening, to be done by six; a few creators are awake",
            (
                Stream("batch standard", BATCH, hourly((0, 9600), (0.5, 9600)), _SHOPS, "constant"),
                Stream("preview", PREVIEW, hourly((0, 40), (4, 10), (8, 40)), _CREATORS),
            ),
        ),
        Scenario(
            "creators",
            "a creators' day: quiet at night, busy at noon and after dinner",
            (
                Stream(
                    "preview", PREVIEW, hourly((0, 60), (5, 15), (12, 240), (16, 150), (21, 360), (24, 60)), _CREATORS
                ),
                Stream(
                    "standard", STANDARD, hourly((0, 30), (5, 8), (12, 120), (16, 80), (21, 180), (24, 30)), _CREATORS
                ),
                Stream("high", HIGH, hourly((0, 4), (5, 1), (12, 16), (21, 24), (24, 4)), _CREATORS),
            ),
        ),
        Scenario(
            "sale",
            "four hours around a sale: ten times the usual requests within five minutes, for half an hour",
            (
                Stream(
                    "preview",
                    PREVIEW,
                    hourly((0, 60), (1, 60), (1.08, 600), (1.5, 600), (1.75, 120), (4, 60)),
                    _CREATORS,
                ),
                Stream(
                    "standard",
                    STANDARD,
                    hourly((0, 40), (1, 40), (1.08, 400), (1.5, 400), (1.75, 80), (4, 40)),
                    _CREATORS,
                ),
                Stream("batch standard", BATCH, hourly((0, 120), (4, 120)), _SHOPS, "constant"),
            ),
        ),
        Scenario(
            "mix",
            "two hours of every resolution at a steady rate",
            (
                Stream("256p", SMALL, hourly((0, 300), (2, 300)), _CREATORS),
                Stream("512p", STANDARD, hourly((0, 120), (2, 120)), _CREATORS),
                Stream("768p", HIGH, hourly((0, 40), (2, 40)), _CREATORS),
                Stream("1024p", EXTREME, hourly((0, 20), (2, 20)), _CREATORS),
            ),
        ),
        Scenario(
            "abuse",
            "one client asks for forty times as much as all others together, for an hour",
            (
                Stream("preview", PREVIEW, hourly((0, 60), (2, 60)), _CREATORS),
                Stream("abuser's extreme", EXTREME, hourly((0.5, 2400), (1.5, 2400)), ("abuser",), "constant"),
            ),
        ),
    )
}
