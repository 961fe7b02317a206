"""The raw rows of `loadtest.burst` as a table of waits and cards, a plot, and a verdict on each promise."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from loadtest.quantile import quantile

Row = dict[str, Any]
POOL_COLOURS = {"rtx4060": "#1b9e77", "rtx4090": "#d95f02", "a100-80gb": "#7570b3"}
KIND_COLOURS = {"256p": "#386cb0", "1024p/32": "#bf5b17"}


@dataclass
class Played:
    """One scenario's rows."""

    scenario: Row
    samples: list[Row] = field(default_factory=list)
    jobs: list[Row] = field(default_factory=list)

    @property
    def pools(self) -> list[str]:
        return [pool["card"] for pool in self.scenario["pools"]]

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(job["kind"] for job in self.jobs))

    def waits(self, kind: str) -> list[float]:
        """Seconds from acceptance to the last claim by a card, of the kind's finished jobs."""
        return sorted(job["wait_s"] for job in self.jobs if job["kind"] == kind and job["wait_s"] is not None)

    def peak(self, pool: str, before_s: float = float("inf")) -> int:
        return int(max((row["replicas"][pool] for row in self.samples if row["t"] < before_s), default=0))

    def card_seconds(self, pool: str) -> float:
        """Seconds that cards of the pool were up, all together."""
        pairs = zip(self.samples, self.samples[1:], strict=False)
        return float(sum(now["replicas"][pool] * (after["t"] - now["t"]) for now, after in pairs))

    def busy_seconds(self, pool: str) -> float:
        return sum(job["card_s"] or 0.0 for job in self.jobs if job["pool"] == pool)


def report(folder: Path) -> bool:
    """Print the tables and write burst.png beside burst.jsonl; whether every promise was kept."""
    played = read(folder / "burst.jsonl")
    console = Console()
    kept = True
    for one in played:
        console.print(_waits_table(one), _pools_table(one))
        for promise, held in promises(one):
            kept = kept and held
            console.print(f"  [{'green]kept  ' if held else 'red]BROKEN'}[/] {promise}", highlight=False)
        console.print()
    draw(played, folder / "burst.png")
    console.print(f"plot: {folder / 'burst.png'}, samples: {folder / 'burst.jsonl'}", highlight=False, soft_wrap=True)
    return kept


def read(path: Path) -> list[Played]:
    played: dict[str, Played] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        if row["row"] == "scenario":
            played[row["name"]] = Played(row)
        elif row["row"] == "sample":
            played[row["scenario"]].samples.append(row)
        elif row["row"] == "job":
            played[row["scenario"]].jobs.append(row)
    return list(played.values())


def promises(played: Played) -> Iterator[tuple[str, bool]]:
    """What the scenario promises, and whether it was so."""
    scenario = played.scenario
    expected = sum(burst["jobs"] for burst in scenario["bursts"])
    completed = sum(job["status"] == "completed" for job in played.jobs)
    yield f"all {expected} jobs completed ({completed} did)", completed == expected
    for pool, until_s in scenario["asleep_until"].items():
        when = f"before {until_s:.0f} s" if until_s < 1e9 else "throughout"
        yield f"{pool} asleep {when}", played.peak(pool, until_s) == 0
    for pool in scenario["wake"]:
        yield f"{pool} woken", played.peak(pool) > 0
    for kind, pool in scenario["only_on"].items():
        done_on = {job["pool"] for job in played.jobs if job["kind"] == kind}
        yield f"every {kind} job done by {pool}", done_on == {pool}
    yield "every pool asleep at the start", not any(played.samples[0]["replicas"].values())
    yield "every pool asleep at the end", not any(played.samples[-1]["replicas"].values())


def _waits_table(played: Played) -> Table:
    speed = played.scenario["speed"]
    title = f"{played.scenario['name']} (cards {speed:g} times as fast as real ones)"
    table = Table("jobs", "count", "card s each", "wait p50 s", "wait p95 s", "longest s", title=title)
    for kind in played.kinds:
        waits = played.waits(kind)
        each = [job["card_s"] for job in played.jobs if job["kind"] == kind and job["card_s"] is not None]
        spread = f"{min(each):.1f}-{max(each):.1f}" if each else ""
        figures = [f"{quantile(waits, share):.1f}" for share in (0.5, 0.95, 1.0)] if waits else [""] * 3
        table.add_row(kind, str(len(waits)), spread, *figures)
    return table


def _pools_table(played: Played) -> Table:
    table = Table("pool", "bounds", "most cards up", "card s up", "card s busy")
    for pool in played.scenario["pools"]:
        name = pool["card"]
        up, busy = played.card_seconds(name), played.busy_seconds(name)
        table.add_row(name, f"{pool['least']}-{pool['most']}", str(played.peak(name)), f"{up:.0f}", f"{busy:.0f}")
    return table


def draw(played: Sequence[Played], path: Path) -> None:
    """One column a scenario: backlog and cards of each pool, and each job's wait, over the same seconds."""
    figure = Figure(figsize=(5.6 * len(played), 9.5), layout="constrained")
    grid = figure.subplots(3, len(played), sharex="col", squeeze=False)
    for column, one in enumerate(played):
        backlog, cards, waits = grid[:, column]
        backlog.set_title(f"{one.scenario['name']}\ncards {one.scenario['speed']:g} times as fast as real ones")
        moments = [row["t"] for row in one.samples]
        for number, pool in enumerate(one.pools):
            # The later line is the thinner one: where both lie on each other, both are seen.
            style = {"color": POOL_COLOURS.get(pool), "label": pool, "linewidth": 4.5 - 2.5 * number}
            backlog.plot(moments, [row["backlog_s"][pool] for row in one.samples], **style)
            cards.step(moments, [row["replicas"][pool] for row in one.samples], where="post", **style)
        for kind in one.kinds:
            claimed = [job for job in one.jobs if job["kind"] == kind and job["wait_s"] is not None]
            moments = [job["submitted_s"] + job["wait_s"] for job in claimed]
            waits.scatter(moments, [job["wait_s"] for job in claimed], s=18, color=KIND_COLOURS.get(kind), label=kind)
        _label(one, backlog, cards, waits)
    figure.savefig(path, dpi=110)


def _label(played: Played, backlog: Axes, cards: Axes, waits: Axes) -> None:
    backlog.set_ylabel("card seconds waiting\nthat the pool can hold")
    cards.set_ylabel("cards up")
    cards.set_yticks(range(max(pool["most"] for pool in played.scenario["pools"]) + 1))
    waits.set_ylabel("wait of each job, s\n(where a card took it)")
    waits.set_xlabel("seconds since the scenario's start")
    for axes in (backlog, cards, waits):
        # Room above for the legend, and below so that a line at zero is seen.
        top = max(axes.get_ylim()[1], 1.0)
        axes.set_ylim(-0.04 * top, 1.35 * top)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper right", frameon=False)
        for burst in played.scenario["bursts"]:
            axes.axvline(burst["at_s"], color="0.6", linewidth=0.8, linestyle=":")
    for number, burst in enumerate(played.scenario["bursts"]):
        place = (burst["at_s"], backlog.get_ylim()[1])
        text = f"{burst['jobs']} x {burst['kind']}"
        backlog.annotate(text, place, (3, -3 - 11 * number), textcoords="offset points", va="top", fontsize=8)
