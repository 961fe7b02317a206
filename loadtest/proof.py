"""Resolution-aware scheduling beside Serve's defaults: the same arrivals, the same cards, on virtual time.

    python -m loadtest proof [--scenario NAME] [--load 1.5] [--out FOLDER]

Serve's side is as good as routes by hand make it: each request goes to the smallest cards that can hold it, first come,
first served there, and every pool is scaled on its ongoing requests by the defaults that Serve documents. Ours is the
service's own code at its default settings. Short and long are a scenario's kinds of the least and the most expected
seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtest.arrivals import HOUR
from loadtest.baseline import ServeDefaults
from loadtest.scenarios import SCENARIOS, Scenario
from loadtest.twin import Cards, figures, ours, play, serves, shape_of
from serving.presets import I2VGEN_XL
from serving.scheduling.cost import tflop
from serving.scheduling.simulated import Simulated

SHORT_GAIN, LONG_LOSS = 3.0, 1.2

FLEETS: Mapping[str, Sequence[Cards]] = {
    "night": (Cards("rtx4090", 0, 12),),
    "creators": (Cards("rtx4090", 0, 7),),
    "sale": (Cards("rtx4090", 0, 9),),
    "mix": (Cards("rtx4090", 0, 12), Cards("a100-80gb", 0, 3)),
    "abuse": (Cards("a100-80gb", 0, 8),),
}


@dataclass(frozen=True)
class Side:
    """One policy's figures on one scenario."""

    short_p95_s: float
    long_p95_s: float
    hours: float
    """That cards were up."""
    simulated: Simulated


@dataclass(frozen=True)
class Comparison:
    """A scenario by both policies."""

    scenario: Scenario
    short: str
    long: str
    serves: Side
    ours: Side

    @property
    def short_gain(self) -> float:
        """How many times as long short requests take by Serve's defaults, at the 95th percentile."""
        return self.serves.short_p95_s / self.ours.short_p95_s

    @property
    def long_loss(self) -> float:
        return self.ours.long_p95_s / self.serves.long_p95_s

    @property
    def more_hours(self) -> float:
        return self.ours.hours / self.serves.hours

    @property
    def kept(self) -> bool:
        return self.short_gain >= SHORT_GAIN and self.long_loss <= LONG_LOSS and self.more_hours <= 1.0


def compare(name: str, seed: int = 0, load: float = 1.0, rules: ServeDefaults | None = None) -> Comparison:
    """With `load` times as many requests as the table of scenarios says, and other rules than Serve's defaults."""
    scenario, cards = SCENARIOS[name].busier(load), FLEETS[name]
    requests = list(scenario.draw(seed))
    by_serve, by_us = (play(requests, cards, policy) for policy in (serves(cards, rules), ours()))
    return compared(scenario, by_serve, by_us)


def compared(scenario: Scenario, serves: Simulated, ours: Simulated) -> Comparison:
    work = {stream.kind: tflop(shape_of(stream.fields), I2VGEN_XL.cost) for stream in scenario.streams}
    # Of two kinds of the same work the interactive one is compared: batch jobs are there to wait.
    batch = {stream.kind: stream.priority == "batch" for stream in scenario.streams}
    short, *_, long = sorted(work, key=lambda kind: (work[kind], not batch[kind]))
    sides = []
    for simulated in (serves, ours):
        found = figures(simulated.outcomes)
        hours = sum(simulated.up_s.values()) / HOUR
        sides.append(Side(found[short].latency_p95, found[long].latency_p95, hours, simulated))
    return Comparison(scenario, short, long, *sides)
