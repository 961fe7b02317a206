"""What a simulation gave: a table of waits by kind, one of cards, and a plot over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.table import Table

from loadtest.arrivals import HOUR
from loadtest.proof import Comparison
from loadtest.twin import Cards, Figures
from serving.scheduling.simulated import Sample, Simulated

COLOURS = ("#1b9e77", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#e6ab02", "#a6761d")
OTHERS = "others", "0.6"
WIDE = 64
"""Letters of a title above one column."""


def coloured(kinds: Iterable[str]) -> Mapping[str, tuple[str, str]]:
    """(what the legend calls it, colour) of every kind that occurs; the rarest share one where there are many."""
    counts = Counter(kinds)
    most = sorted(kind for kind, _ in counts.most_common(len(COLOURS)))
    own = {kind: (kind, colour) for kind, colour in zip(most, COLOURS, strict=False)}
    return {kind: own.get(kind, OTHERS) for kind in [*most, *counts]}


def waits_table(found: Mapping[str, Figures], title: str | None = None) -> Table:
    columns = ("requests", "count", "refused", "wait p50 s", "wait p95 s", "whole p50 s", "whole p95 s", "whole p99 s")
    table = Table(*columns, title=title)
    for kind, row in found.items():
        seconds = (row.wait_p50, row.wait_p95, row.latency_p50, row.latency_p95, row.latency_p99)
        table.add_row(kind, str(row.count), str(row.refused), *(f"{value:.1f}" for value in seconds))
    return table


def cards_table(cards: Iterable[Cards], simulated: Simulated, prices: Mapping[str, float]) -> Table:
    table = Table("cards", "bounds", "most up", "hours up", "busy", "all at work", "dollars")
    for one in cards:
        up_s, busy_s = simulated.up_s[one.card], simulated.busy_s[one.card]
        mine = [sample for sample in simulated.samples if sample.pool == one.card]
        most = max((sample.up for sample in mine), default=0)
        full = sum(sample.busy >= one.most for sample in mine) / max(1, len(mine))
        share = f"{busy_s / up_s:.0%}" if up_s else ""
        dollars = f"{up_s / HOUR * prices[one.card]:.2f}"
        table.add_row(
            one.card, f"{one.least}-{one.most}", str(most), f"{up_s / HOUR:.1f}", share, f"{full:.0%}", dollars
        )
    return table


def proof_table(found: Mapping[str, tuple[Sequence[Cards], Comparison]]) -> Table:
    columns = ("scenario", "cards", "short", "serve p95 s", "ours p95 s", "times", "long", "serve p95 s", "ours p95 s")
    table = Table(*columns, "times", "card hours", "kept")
    for name, (cards, one) in found.items():
        theirs, mine = one.serves, one.ours
        table.add_row(
            name,
            ", ".join(map(str, cards)),
            *(one.short, f"{theirs.short_p95_s:.0f}", f"{mine.short_p95_s:.0f}", f"{one.short_gain:.1f}"),
            *(one.long, f"{theirs.long_p95_s:.0f}", f"{mine.long_p95_s:.0f}", f"{one.long_loss:.2f}"),
            f"{theirs.hours:.2f} -> {mine.hours:.2f}",
            "yes" if one.kept else "NO",
        )
    return table


def draw(simulations: Mapping[str, Simulated], title: str, path: Path) -> None:
    """One column a simulation: jobs that wait, cards that are up, and each job's wait, over the same hours."""
    figure = Figure(figsize=(6.2 * len(simulations), 9.0), layout="constrained")
    figure.suptitle("\n".join(wrap(title, WIDE * len(simulations))))
    grid = figure.subplots(3, len(simulations), sharex=True, sharey="row", squeeze=False)
    for column, (name, simulated) in enumerate(simulations.items()):
        waiting, cards, waits = grid[:, column]
        waiting.set_title(name)
        _waiting(waiting, simulated.samples)
        _cards(cards, simulated.samples)
        _waits(waits, simulated)
        for axes in (waiting, cards, waits):
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        waits.set_xlabel("hours since the start")
    figure.savefig(path, dpi=110)


def _waiting(axes: Axes, samples: Sequence[Sample]) -> None:
    first = [sample for sample in samples if sample.pool == samples[0].pool]
    axes.plot([sample.at / HOUR for sample in first], [sample.waiting for sample in first], color="0.25")
    axes.set_ylabel("jobs waiting")


def _cards(axes: Axes, samples: Sequence[Sample]) -> None:
    for colour, pool in zip(COLOURS, dict.fromkeys(sample.pool for sample in samples), strict=False):
        mine = [sample for sample in samples if sample.pool == pool]
        hours = [sample.at / HOUR for sample in mine]
        axes.step(hours, [sample.up for sample in mine], where="post", color=colour, label=f"{pool}, up")
        axes.fill_between(hours, [sample.busy for sample in mine], step="post", color=colour, alpha=0.25, linewidth=0)
    axes.set_ylabel("cards (shaded: at work)")
    axes.legend(frameon=False)


def _waits(axes: Axes, simulated: Simulated) -> None:
    done = [outcome for outcome in simulated.outcomes if not outcome.refused]
    colours = coloured(outcome.arrival.kind for outcome in simulated.outcomes)
    for name, colour in dict.fromkeys(colours.values()):
        mine = [outcome for outcome in done if colours[outcome.arrival.kind][0] == name]
        hours = [outcome.arrival.at / HOUR for outcome in mine]
        axes.scatter(hours, [outcome.wait_s + 1 for outcome in mine], s=4, color=colour, label=name, alpha=0.6)
    axes.set_yscale("log")
    axes.set_ylabel("1 s + wait of each job")
    axes.legend(frameon=False, markerscale=3)
