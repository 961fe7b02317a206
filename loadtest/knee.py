"""The highest arrival rate that a server holds with its promises, and what gives first beyond it.

Rates are doubled until one does not hold, and then halved in between; tries on the way are short. The rate that is
left has to hold for the whole time, and is lowered until it does. A try ends early once it is clear that it will not
hold, and what it leaves behind is deleted, so that the next one finds an empty line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.measured import open_at, spread
from loadtest.openloop import Progress, Told
from loadtest.plan import Promise
from loadtest.quantile import quantile
from loadtest.recording import record
from loadtest.rows import COMPLETED, REFUSED, Recorded, Row
from loadtest.scenarios import Scenario, steady_mix
from loadtest.server import Target

REFUSED_SHARE = 0.01
"""Of the requests: more of them refused is a limit of its own."""
LEAST_GROWTH = 5
HOPELESS = 3.0
"""Times as many open requests as arrive within the longest promise: the line will not shrink again in time."""


@dataclass(frozen=True)
class Limit:
    """What gave, and when."""

    name: str
    at_s: float
    detail: str


@dataclass(frozen=True)
class Trial:
    """One rate, for some time."""

    rate: float
    seconds: float
    limits: Sequence[Limit]
    """In the order in which they were reached; none where the rate held."""
    p50_s: float
    """Of the requests that something is promised of, as `p95_s`; of those that became clips."""
    p95_s: float
    refused: float
    """Of all requests."""
    open_at_end: int
    phases: dict[str, float]
    """The 95th percentile of each."""

    @property
    def held(self) -> bool:
        return not self.limits


@dataclass(frozen=True)
class Found:
    """The end of a search."""

    rate: float | None
    """That was held for the whole time; None where not even the least did."""
    trials: Sequence[Trial]
    hold_s: float

    @property
    def words(self) -> str:
        beyond = [one for one in self.trials if not one.held and (self.rate is None or one.rate > self.rate)]
        gave = min(beyond, key=lambda one: one.rate, default=None)
        held = "no rate held"
        if self.rate is not None:
            held = f"{self.rate:.3g} requests a second held for {self.hold_s:.0f} s"
        if gave is None:
            return f"{held}."
        first = gave.limits[0]
        return f"{held}; at {gave.rate:.3g} {first.name} gave first, after {first.at_s:.0f} s: {first.detail}."


Try = Callable[[float, float, int], Trial]
"""Of a rate, seconds and the try's number."""


def find(trial: Try, start: float, step_s: float, hold_s: float, precision: float) -> Found:
    """
    Args:
        start: requests a second to begin with.
        precision: how near, relatively, a rate that held and one that did not have to be.
    """
    trials: list[Trial] = []

    def held(rate: float, seconds: float) -> bool:
        trials.append(trial(rate, seconds, len(trials) + 1))
        return trials[-1].held

    low, high = 0.0, start
    while held(high, step_s):
        low, high = high, 2 * high
    while low == 0.0:
        high /= 2
        if high < start / 64:
            return Found(None, trials, hold_s)
        if held(high, step_s):
            low, high = high, 2 * high
    while high - low > precision * high:
        middle = (low + high) / 2
        low, high = (middle, high) if held(middle, step_s) else (low, middle)
    while not held(low, hold_s):
        low *= 1 - precision
        if low < start / 64:
            return Found(None, trials, hold_s)
    return Found(low, trials, hold_s)


def trial(
    folder: Path,
    target: Target,
    scenario: Scenario,
    rate: float,
    seconds: float,
    promises: Sequence[Promise],
    told: Told,
    *,
    seed: int = 0,
) -> Trial:
    """Send at `rate` for `seconds`, and say what gave."""
    longest_s = max(promise.seconds for promise in promises)

    def enough(progress: Progress) -> bool:
        told(progress)
        return not progress.over and progress.open > max(50.0, HOPELESS * rate * longest_s)

    mix = steady_mix(scenario, rate, seconds)
    about = {"scenario": scenario.name, "rate": rate, "seconds": seconds, "seed": seed}
    # Those that are sent last have the time that was promised them, and no more.
    recorded = record(folder, target, mix.draw(seed), about, enough, patience_s=1.2 * longest_s + 1)
    return judge(recorded, rate, seconds, promises)


def judge(recorded: Recorded, rate: float, seconds: float, promises: Sequence[Promise]) -> Trial:
    """What gave, in order: a promise, a line that grows, refusals."""
    rows = recorded.rows
    if not rows:
        # By chance, at a low rate: nothing is known of it.
        return Trial(rate, seconds, [Limit("nothing", 0.0, "no request was due")], math.inf, math.inf, 0.0, 0, {})
    promised = [row for row in rows if any(promise.applies(row.kind, row.priority) for promise in promises)]
    whole = [row.whole_s for row in promised if row.whole_s is not None]
    last = max((row.at for row in rows), default=0.0)
    counts = open_at(rows, max(last / 100, 0.1))
    at_end = next((count for at, count in reversed(counts) if at <= last), 0)
    found = [*(_broken(promise, rows) for promise in promises), _refusals(rows), _growth(counts, last, rate)]
    limits = sorted((limit for limit in found if limit is not None), key=lambda limit: limit.at_s)
    names = {name for row in rows for name in row.phases}
    phases = {name: quantile([row.phases[name] for row in rows if name in row.phases], 0.95) for name in names}
    refused = sum(row.outcome == REFUSED for row in rows) / max(1, len(rows))
    return Trial(rate, seconds, limits, quantile(whole, 0.5), quantile(whole, 0.95), refused, at_end, phases)


def _broken(promise: Promise, rows: Sequence[Row]) -> Limit | None:
    """When as many had broken it as may of all; which phase those that were late spent most on, more than others."""
    mine = [row for row in rows if promise.applies(row.kind, row.priority)]
    allowed = len(mine) * (100 - promise.percent) // 100
    bad = [row for row in mine if promise.broken(row.outcome_on_virtual_time)]
    if len(bad) <= allowed:
        return None
    at = sorted(row.at + promise.seconds if row.outcome != REFUSED else row.answered or row.at for row in bad)[allowed]
    late = [row for row in bad if row.outcome == COMPLETED]
    detail = f"{len(bad)} of {len(mine)} broke it"
    if late:
        spent = {phase for row in late for phase in row.phases}
        most = {phase: spread([row.phases.get(phase, 0.0) for row in late]).p50 for phase in spent}
        phase = max(most, key=lambda name: most[name])
        detail += f", and those late spent {most[phase]:.1f} s on {phase}"
    return Limit(str(promise), at, detail)


def _refusals(rows: Sequence[Row]) -> Limit | None:
    refused = sorted((row for row in rows if row.outcome == REFUSED), key=lambda row: row.at)
    allowed = int(REFUSED_SHARE * len(rows))
    if len(refused) <= allowed:
        return None
    codes = [row.reason for row in refused]
    most = max(set(codes), key=codes.count)
    return Limit("refusals", refused[allowed].at, f"{len(refused)} of {len(rows)}, most with {most}")


def _growth(counts: Sequence[tuple[float, int]], last: float, rate: float) -> Limit | None:
    """Where the second half's line is longer than the first's, and ends longer still."""
    while_sent = [(at, count) for at, count in counts if at <= last]
    quarter = len(while_sent) // 4
    if quarter < 4:
        return None
    means = [sum(count for _, count in while_sent[n * quarter : (n + 1) * quarter]) / quarter for n in range(1, 4)]
    grown = means[2] - means[0]
    # By chance alone a line of Poisson arrivals varies by a few roots of its length.
    if not (means[0] < means[1] < means[2] and grown > max(LEAST_GROWTH, 3 * (means[0] + 1) ** 0.5, 0.1 * rate * last)):
        return None
    crossed = next(at for at, count in while_sent if count > means[0] + grown / 2)
    return Limit("the line", crossed, f"it grew from {means[0]:.0f} to {means[2]:.0f} open requests")
