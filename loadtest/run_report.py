"""A run's figures as tables, a plot, and one HTML page that holds both; and two runs side by side."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from itertools import chain, cycle
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from loadtest.measured import ALL, PHASES, Measured, open_at
from loadtest.rows import COMPLETED, REFUSED, Recorded
from loadtest.twin_report import COLOURS, coloured

PLOT, PAGE = "report.png", "report.html"
LATE_S = 0.1
"""A sender whose 99th percentile is later than this has measured itself too."""
ARRIVALS = ("scenario", "seed", "times", "from_hour", "minutes")
"""What of a run's first line says which requests were sent, and when."""
HOW = (
    "Open loop: each request was sent when it was due, whatever became of those before it, and every latency counts "
    "from when it was due. A server that stalls is not asked less, and does not look better for it."
)


def tables(run: Recorded, found: Measured) -> list[Table]:
    return [_counts(run, found), _phases(found), *([_promises(found)] if found.kept else []), *_reasons(found)]


def notes(run: Recorded) -> list[str]:
    """What a reader of the figures has to know besides."""
    meant = run.about.get("requests", len(run.rows))
    broken_off = f"Broken off: {len(run.rows)} of {meant} requests are in the rows, and the figures are of these alone."
    return [said(run.about), *([broken_off] if len(run.rows) < meant else [])]


def said(about: Mapping[str, Any]) -> str:
    """What was sent, where to and when, in a line."""
    speed = "" if about.get("times", 1) == 1 else f", {about['times']:g} times as fast"
    begin = f", from hour {about['from_hour']:g}" if about.get("from_hour") else ""
    long = "" if about.get("minutes") is None else f", for {about['minutes']:g} min"
    seed = f", seed {about['seed']}" if "seed" in about else ""
    when = f", {about['started']}" if "started" in about else ""
    return f"{about.get('scenario', '')}{speed}{begin}{long}{seed}: {about.get('url', '')}{when}"


def _counts(run: Recorded, found: Measured) -> Table:
    columns = ("requests", *found.counts, "seconds", "clips/min", "card s a clip", "dollars of work", "lag p99 ms")
    table = Table(*columns, title=said(run.about))
    table.add_row(
        str(len(run.rows)),
        *map(str, found.counts.values()),
        f"{found.seconds:.0f}",
        *_worth(found),
        f"{found.lag.p99 * 1000:.0f}" + (" LATE" if found.lag.p99 > LATE_S else ""),
    )
    return table


def _worth(found: Measured) -> tuple[str, str, str]:
    """Clips a minute, card seconds a clip, dollars."""
    cost = found.cost
    a_minute = f"{found.counts[COMPLETED] / found.seconds * 60:.1f}" if found.seconds else ""
    a_clip = f"{sum(cost.card_s.values()) / cost.clips:.2f}" if cost.card_s and cost.clips else "not told"
    return a_minute, a_clip, "" if cost.dollars is None else f"{cost.dollars:.4f}"


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
        verdict = ("yes" if row.kept else "NO") if row.asked else "none asked"
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


def unlike(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What was not the same about the requests of two runs, by their first lines: such as "times: 6.0 and 3.0"."""
    pairs = ((name, before.get(name), after.get(name)) for name in ARRIVALS)
    return [f"{name}: {one} and {two}" for name, one, two in pairs if one != two]


def comparison(before: Measured, after: Measured, names: tuple[str, str]) -> list[Table]:
    """Phases of all kinds that both runs have, and how many times as long the second took."""
    first, second = names
    totals = Table("requests", first, second, title="outcomes")
    for outcome, count in before.counts.items():
        totals.add_row(outcome, str(count), str(after.counts[outcome]))
    for cells in zip(("clips/min", "card s a clip", "dollars of work"), _worth(before), _worth(after), strict=True):
        totals.add_row(*cells)
    columns = ("requests", "phase", f"{first} p50", f"{second} p50", "times", f"{first} p99", f"{second} p99", "times")
    table = Table(*columns, title="seconds")
    for kind in [kind for kind in before.phases if kind in after.phases]:
        for phase in [phase for phase in before.phases[kind] if phase in after.phases[kind]]:
            one, two = before.phases[kind][phase], after.phases[kind][phase]
            pairs = (_pair(one.p50, two.p50), _pair(one.p99, two.p99))
            table.add_row(kind, phase, *chain(*pairs), end_section=phase == "whole")
    kept = Table("promise", first, second, "goodput/min", "goodput/min", title="in time")
    for a, b in zip(before.kept, after.kept, strict=True):
        kept.add_row(str(a.promise), f"{a.share:.1%}", f"{b.share:.1%}", f"{a.goodput:.1f}", f"{b.goodput:.1f}")
    reasons = Table("what", "code", first, second, title="refusals and failures")
    for what, ours, theirs in (
        ("refused", before.refusals, after.refusals),
        ("failed", before.failures, after.failures),
    ):
        for code in sorted({*ours, *theirs}):
            reasons.add_row(what, code, str(ours.get(code, 0)), str(theirs.get(code, 0)))
    return [totals, table, *(one for one in (kept, reasons) if one.row_count)]


def _pair(one: float, two: float) -> tuple[str, str, str]:
    return f"{one:.3f}", f"{two:.3f}", f"{two / one:.2f}" if one > 0 else ""


def draw(runs: Mapping[str, tuple[Recorded, Measured]]) -> Figure:
    """One column a run: what is sent and refused, what is open, each request's whole latency, phases' percentiles."""
    figure = Figure(figsize=(7.0 * len(runs), 12.0), layout="constrained")
    grid = figure.subplots(4, len(runs), sharey="row", squeeze=False)
    colours = coloured(row.kind for run, _ in runs.values() for row in run.rows)
    every_s = max(0.5, *(found.seconds / 60 for _, found in runs.values()))
    for column, (name, (run, found)) in enumerate(runs.items()):
        arriving, waiting, latency, phases = grid[:, column]
        arriving.set_title(name)
        _arrivals(arriving, run, every_s)
        _open(waiting, run, every_s)
        _latencies(latency, run, found, colours)
        _phase_bars(phases, found)
        for axes in (arriving, waiting, latency, phases):
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
    # The same moments above each other, and in both runs.
    end = max(found.seconds for _, found in runs.values())
    for axes in grid[:3].flat:
        axes.set_xlim(-0.02 * end, 1.02 * end)
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
    counts = open_at(run.rows, every_s)
    axes.plot([at for at, _ in counts], [count for _, count in counts], color="0.25")
    axes.set_ylabel("accepted and not done")


def _latencies(axes: Axes, run: Recorded, found: Measured, colours: Mapping[str, tuple[str, str]]) -> None:
    for name, colour in dict.fromkeys(colours.values()):
        mine = (row for row in run.rows if colours[row.kind][0] == name)
        if points := [(row.at, row.whole_s) for row in mine if row.whole_s is not None]:
            moments, latencies = zip(*points, strict=True)
            axes.scatter(moments, latencies, s=6, color=colour, label=name, alpha=0.7)
    promised = [one.promise for one in found.kept if one.promise.of == "latency"]
    for promise, style in zip(promised, cycle(("--", ":", "-."))):
        axes.axhline(promise.seconds, color="0.4", linestyle=style, linewidth=1, label=str(promise))
    axes.set_yscale("log")
    axes.set_ylabel("whole latency, s")
    axes.set_xlabel("seconds since the start, by when each was due")
    if axes.get_legend_handles_labels()[0]:
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


def write(folder: Path, title: str, figure: Figure, shown: Sequence[Table], told: Sequence[str]) -> None:
    """`report.png`, and `report.html`, which needs no other file."""
    figure.savefig(folder / PLOT, dpi=110)
    console = Console(record=True, width=130, file=io.StringIO())
    for table in shown:
        console.print(table)
    text = html.escape(console.export_text())
    picture = base64.b64encode((folder / PLOT).read_bytes()).decode()
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in [*told, HOW])
    (folder / PAGE).write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        "<style>body{font-family:sans-serif;margin:2em auto;max-width:80em}pre{line-height:1.1;overflow-x:auto}"
        f"img{{max-width:100%}}</style><h1>{html.escape(title)}</h1>{lines}<pre>{text}</pre>"
        f'<img alt="requests, open jobs, latencies and phases" src="data:image/png;base64,{picture}"></html>\n'
    )
