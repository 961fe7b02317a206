"""The same proof on the clock: our service and a Serve application as it comes, each over emulated cards.

Both get the same part of a scenario, `times` as fast on cards that are `times` as fast, thinned to pools that fit on
one machine. What follows the wall clock is sped up by settings on both sides: our target wait, how long an idle card is
kept and a job put off, and all delays of Serve's autoscaling. Not sped up are the starts of processes, cards' looks for
shorter jobs, and what the queue's own rules say in seconds (how soon service is forgotten, how long batch jobs let
others pass). Cards count from the moment that their replica's process has a name until it is gone.

All figures are seconds of the scenario: those of the clock, times `times`.
"""

from __future__ import annotations

import json
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from deployments.child import ChildService
from loadtest import counted
from loadtest.arrivals import HOUR
from loadtest.emulated import Pool, child
from loadtest.openloop import Told
from loadtest.proof import Comparison, compared
from loadtest.recording import record
from loadtest.rows import Row
from loadtest.scenarios import SCENARIOS, Request, hastened
from loadtest.server import Target
from loadtest.twin import Cards
from serving.jobs.store import open_store
from serving.scheduling.capacity import HOLD_S
from serving.scheduling.preemption import MOST_S
from serving.scheduling.simulated import Outcome, Sample, Simulated

TARGET_WAIT_S = 60.0
"""As the simulation plays our side; of the scenario."""
LOOK_EVERY_S = 0.5
ASLEEP_WITHIN_S = 2400.0
"""Of the scenario: how long after the last request cards may stay up, and are counted."""
PATIENCE_S = 1800.0
GENERATORS = "Generator-"


@dataclass(frozen=True)
class Window:
    """The part of a scenario that is played, and on what."""

    cards: tuple[Cards, ...]
    times: float
    from_hour: float = 0.0
    minutes: float = 5.0
    """Of arrivals, by the clock."""
    share: float = 1.0
    """Of its requests that are sent: what the pools are smaller than in the simulated proof."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of kinds of which another share is sent."""
    load: float = 1.0
    """How many times as many requests as the table of scenarios says."""

    def requests(self, name: str, seed: int) -> list[Request]:
        whole = SCENARIOS[name].busier(self.load).draw(seed)
        part = hastened(whole, self.times, self.minutes * 60, self.from_hour * HOUR)
        chance = random.Random(f"{name} {seed}")
        return list(thinned(part, lambda kind: self.shares.get(kind, self.share), chance))


WINDOWS: Mapping[str, Window] = {
    "night": Window((Cards("rtx4090", 0, 3),), times=20.0, minutes=9.0, shares={"batch standard": 1 / 8}),
    "creators": Window((Cards("rtx4090", 0, 7),), times=6.0, from_hour=18.0, minutes=15.0),
    "sale": Window((Cards("rtx4090", 0, 6),), times=6.0, from_hour=1.0, share=6 / 9),
    "mix": Window((Cards("rtx4090", 0, 6), Cards("a100-80gb", 0, 2)), times=6.0, minutes=8.0, share=1 / 2),
    "abuse": Window((Cards("a100-80gb", 0, 4),), times=100.0, minutes=1.2, shares={"abuser's extreme": 1 / 16}),
}


def thinned(requests: Iterable[Request], share: Callable[[str], float], chance: random.Random) -> Iterator[Request]:
    """Each with a probability of its kind's share: of Poisson arrivals, Poisson arrivals again."""
    return (request for request in requests if chance.random() < share(request.kind))


def compare(name: str, window: Window, seed: int, picture: Path, folder: Path, told: Told) -> Comparison:
    """Play Serve's side and then ours; `folder` gets the rows and the cards of both."""
    requests = window.requests(name, seed)
    sides = []
    for side, started in (("serve", _serves), ("ours", _ours)):
        with started(window, sorted({request.owner for request in requests})) as (service, keys):
            target = Target(service.url, picture, keys)
            about = {"scenario": name, "side": side, "seed": seed, "window": asdict(window)}
            with _Watch(service, window.cards) as watch:
                recorded = record(folder / side, target, requests, about, told, patience_s=PATIENCE_S)
                watch.until_asleep(ASLEEP_WITHIN_S / window.times)
        looks = watch.looks
        (folder / side / "cards.json").write_text(json.dumps([asdict(look) for look in looks]) + "\n")
        sides.append(on_virtual_time(recorded.rows, looks, [one.card for one in window.cards], window.times))
    return compared(SCENARIOS[name], *sides)


@contextmanager
def _serves(window: Window, owners: Sequence[str]) -> Iterator[tuple[ChildService, Sequence[str]]]:
    del owners
    with counted.child(window.cards, window.times) as started:
        yield started, ()


@contextmanager
def _ours(window: Window, owners: Sequence[str]) -> Iterator[tuple[ChildService, Sequence[str]]]:
    """With a key for each owner: without, all would be one, and share nothing."""
    with tempfile.TemporaryDirectory(prefix="i2v-loadtest-") as folder:
        database = f"sqlite:///{Path(folder) / 'jobs.sqlite3'}"
        with closing(open_store(database)) as store:
            keys = [store.keys.create(owner)[1] for owner in owners]
        pools = [Pool(one.card, one.most, one.least) for one in window.cards]
        settings = {
            "I2V_DATABASE_URL": database,
            "I2V_TARGET_WAIT_S": str(TARGET_WAIT_S / window.times),
            "I2V_SCALE_DOWN_AFTER_S": str(HOLD_S / window.times),
            "I2V_PREEMPT_S": str(MOST_S / window.times),
        }
        with child(pools, window.times, **settings) as started:
            yield started, keys


@dataclass(frozen=True)
class Look:
    """The cards that were up at one moment, seconds since the first request was due."""

    at: float
    up: Mapping[str, int] = field(default_factory=dict)


class _Watch:
    """Counts the processes of replicas twice a second."""

    def __init__(self, service: ChildService, cards: Sequence[Cards]) -> None:
        self._service, self._cards = service, [one.card for one in cards]
        self._stop, self._asleep = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.looks: list[Look] = []

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()

    def until_asleep(self, seconds: float) -> None:
        self._asleep.clear()
        self._asleep.wait(seconds)

    def _look(self) -> None:
        began = time.monotonic()
        while not self._stop.wait(LOOK_EVERY_S):
            up = {card: len(self._service.replicas(f"{GENERATORS}{card}")) for card in self._cards}
            self.looks.append(Look(time.monotonic() - began, up))
            if not any(up.values()):
                self._asleep.set()


def on_virtual_time(rows: Sequence[Row], looks: Sequence[Look], cards: Sequence[str], times: float) -> Simulated:
    """What was measured, as if it had been simulated, so that figures, tables and plots are the same."""
    outcomes = [_slower(row.outcome_on_virtual_time, times) for row in rows]
    ended = max((outcome.ended for outcome in outcomes), default=0.0)
    done = [outcome for outcome in outcomes if not outcome.refused]
    samples, up_s, before = [], dict.fromkeys(cards, 0.0), 0.0
    for look in looks:
        at = look.at * times
        waiting = sum(one.arrival.at <= at < one.started for one in done)
        for card in cards:
            busy = sum(one.pool == card and one.started <= at < one.ended for one in done)
            samples.append(Sample(at, card, look.up[card], min(busy, look.up[card]), waiting, 0.0))
            up_s[card] += look.up[card] * (at - before)
        before = at
    busy_s = {card: sum((row.card_s or 0.0) * times for row in rows if row.card == card) for card in cards}
    return Simulated(outcomes, samples, up_s, busy_s, ended)


def _slower(outcome: Outcome, times: float) -> Outcome:
    arrival = replace(outcome.arrival, at=outcome.arrival.at * times)
    return replace(outcome, arrival=arrival, started=outcome.started * times, ended=outcome.ended * times)
