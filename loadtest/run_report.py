"""A run's figures as tables, a plot, and one HTML page that holds both; and two runs side by side."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from loadtest.measured import ALL, PHASES, Measured, open_at
from loadtest.rows import COMPLETED, REFUSED, Recorded
from loadtest.twin_report import COLOURS

PLOT, PAGE = "report.png", "report.html"
LATE_S = 0.1
"""A sender whose 99th percentile is later than this has measured itself too."""


def tables(run: Recorded, found: Measured) -> list[Table]:
    return [_counts(run, found), _phases(found), *([_promises(found)] if found.kept else []), *_reasons(found)]


def _counts(run: Recorded, found: Measured) -> Table:
    about = run.about
    speed = "" if about.get("times", 1) == 1 else f", {about['times']:g} times as fast"
    columns = ("requests", *found.counts, "seconds", "clips/min", "card s a clip", "dollars", "lag p99 ms")
    table = Table(*columns, title=f"{about.get('scenario', '')}{speed}: {about.get('url', '')}")
    done, cost = found.counts[COMPLETED], found.cost
    per_clip = f"{sum(cost.card_s.values()) / cost.clips:.2f}" if cost.card_s and cost.clips else "not told"
    table.add_row(
        str(len(run.rows)),
        *map(str, found.counts.values()),
        f"{found.seconds:.0f}",
        f"{done / found.seconds * 60:.1f}" if found.seconds else "",
        per_clip,
        "" if cost.dollars is None else f"{cost.dollars:.4f}",
        f"{found.lag.p99 * 1000:.0f}" + (" LATE" if found.lag.p99 > LATE_S else ""),
    )
    return table


def _phases(found: Measured) -> Table:
    table = Table("requests", "phase", "known of", "p50 s", "p90 s", "p99 s", "worst s", title="latency by phase")
    for kind, phases in found.phases.items():
        for phase, row in phases.items():
            seconds = (f"{value:.3f}" for value in (row.p50, row.p90, row.p99, row.worst))
            table.add_row(kind, phase, str(row.count), *seconds, end_section=phase == "whole")
    return table


def _promises(found: Measured) -> Table:
    table = Table("promise", "requests", "in time", "share", "goodput/min", "kept", title="goodput")
    for row in found.kept:
        verdict = "yes" if row.kept else "NO"
        table.add_row(
            str(row.promise), str(row.asked), str(row.good), f"{row.share:.1%}", f"{row.goodput:.1f}", verdict
        )
    return table


def _reasons(found: Measured) -> list[Table]:
    if not (found.refusals or found.failures):
        return []
    table = Table("what", "code", "requests", title="refusals and failures")
    for what, counts in (("refused", found.refusals), ("failed", found.failures)):
        for code, count in sorted(counts.items(), key=lambda item: -item[1]):
            table.add_row(what, code, str(count))
    return [table]


def comparison(before: Measured, after: Measured, names: tuple[str, str]) -> list[Table]:
    """Phases of all kinds that both runs have, and how many times as long the second took."""
    first, second = names
    totals = Table("requests", first, second, title="outcomes")
    for outcome, count in before.counts.items():
        totals.add_row(outcome, str(count), str(after.counts[outcome]))
    columns = ("requests", "phase", f"{first} p50", f"{second} p50", "times", f"{first} p99", f"{second} p99", "times")
    table = Table(*columns, title="seconds")
    for kind in [kind for kind in before.phases if kind in after.phases]:
        for phase in [phase for phase in before.phases[kind] if phase in after.phases[kind]]:
            one, two = before.phases[kind][phase], after.phases[kind][phase]
            cells = [cell for pair in ((one.p50, two.p50), (one.p99, two.p99)) for cell in _pair(*pair)]
            table.add_row(kind, phase, *cells, end_section=phase == "whole")
    kept = Table("promise", first, second, title="in time")
    for a, b in zip(before.kept, after.kept, strict=True):
        kept.add_row(str(a.promise), f"{a.share:.1%}", f"{b.share:.1%}")
    return [totals, table, *([kept] if before.kept else [])]


def _pair(one: float, two: float) -> tuple[str, str, str]:
    return f"{one:.3f}", f"{two:.3f}", f"{two / one:.2f}" if one > 0 else ""


def draw(runs: Mapping[str, tuple[Recorded, Measured]]) -> Figure:
    """One column a run: what is sent and refused, what is open, each request's whole latency, phases' percentiles."""
    figure = Figure(figsize=(7.0 * len(runs), 12.0), layout="constrained")
    grid = figure.subplots(4, len(runs), sharey="row", squeeze=False)
    for column, (name, (run, found)) in enumerate(runs.items()):
        arriving, waiting, latency, phases = grid[:, column]
        arriving.set_title(name)
        every_s = max(0.5, found.seconds / 60)
        _arrivals(arriving, run, every_s)
        _open(waiting, run, every_s)
        _latencies(latency, run)
        _phase_bars(phases, found)
        for axes in (arriving, waiting, latency, phases):
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
    return figure


def _arrivals(axes: Axes, run: Recorded, every_s: float) -> None:
    due = [row.at for row in run.rows]
    refused = [row.at for row in run.rows if row.outcome == REFUSED]
    bins = max(1, int(max(due) / every_s) + 1)
    edges = [n * every_s for n in range(bins + 1)]
    axes.hist(due, bins=edges, color="0.8", label="due")
    if refused:
        axes.hist(refused, bins=edges, color=COLOURS[1], label="refused")
    axes.set_ylabel(f"requests in {every_s:.1f} s")
    axes.legend(frameon=False)


def _open(axes: Axes, run: Recorded, every_s: float) -> None:
    moments, counts = zip(*open_at(run.rows, every_s), strict=True)
    axes.plot(moments, counts, color="0.25")
    axes.set_ylabel("accepted and not done")


def _latencies(axes: Axes, run: Recorded) -> None:
    for colour, kind in zip(COLOURS, sorted({row.kind for row in run.rows}), strict=False):
        points = [(row.at, row.whole_s) for row in run.rows if row.kind == kind and row.whole_s is not None]
        if points:
            axes.scatter(*zip(*points, strict=True), s=6, color=colour, label=kind, alpha=0.7)
    axes.set_yscale("log")
    axes.set_ylabel("whole latency, s")
    axes.set_xlabel("seconds since the start, by when each was due")
    axes.legend(frameon=False, markerscale=2)


def _phase_bars(axes: Axes, found: Measured) -> None:
    rows = [(phase, found.phases[ALL][phase]) for phase in PHASES if phase in found.phases[ALL]]
    for place, (share, colour) in enumerate(zip(("p50", "p90", "p99"), COLOURS, strict=False)):
        heights = [max(getattr(row, share), 1e-3) for _, row in rows]
        axes.bar([n + (place - 1) * 0.27 for n in range(len(rows))], heights, 0.25, color=colour, label=share)
    axes.set_xticks(range(len(rows)), [phase for phase, _ in rows])
    axes.set_yscale("log")
    axes.set_ylabel("seconds")
    axes.legend(frameon=False)


def write(folder: Path, title: str, figure: Figure, shown: Sequence[Table]) -> None:
    """`report.png`, and `report.html`, which needs no other file."""
    figure.savefig(folder / PLOT, dpi=110)
    console = Console(record=True, width=130, file=io.StringIO())
    for table in shown:
        console.print(table)
    text = html.escape(console.export_text())
    picture = base64.b64encode((folder / PLOT).read_bytes()).decode()
    (folder / PAGE).write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        "<style>body{font-family:sans-serif;margin:2em auto;max-width:80em}pre{line-height:1.1;overflow-x:auto}"
        f"img{{max-width:100%}}</style><h1>{html.escape(title)}</h1><pre>{text}</pre>"
        f'<img alt="requests, open jobs, latencies and phases" src="data:image/png;base64,{picture}"></html>\n'
    )
