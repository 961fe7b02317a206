"""Commands that start a service of their own: `validate`, `overhead` and `soak`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from deployments.demo import PICTURE
from loadtest import options
from loadtest import overhead as measuring
from loadtest import soak as soaking
from loadtest import validation as validating
from loadtest.arrivals import HOUR
from loadtest.options import Out, Seed, console, progress
from loadtest.scenarios import hastened
from loadtest.watching import shown


def validate(
    scenario: Annotated[str, typer.Option(help="Of the table.")] = "sale",
    case: Annotated[str | None, typer.Option(help="fixed or scaling; both by default.")] = None,
    speed: Annotated[float, typer.Option(min=1, help="How much faster than real ones the cards are.")] = 8.0,
    minutes: Annotated[float, typer.Option(min=0.1, help="Of arrivals, by the clock.")] = 1.0,
    from_hour: Annotated[float, typer.Option(min=0, help="Hour of the scenario to begin at.")] = 1.1,
    seed: Seed = 0,
    out: Out = Path("validation"),
) -> None:
    """The digital twin's waits beside a real service's on emulated cards; exit code 1 if more than 15% off."""
    row = options.named(scenario)
    cases = [one for one in validating.CASES if case in (None, one.name)]
    if not cases:
        allowed = ", ".join(one.name for one in validating.CASES)
        raise typer.BadParameter(f"{case!r} given; allowed: {allowed}.", param_hint="case")
    options.folder(out)
    requests = list(hastened(row.draw(seed), speed, minutes * 60, from_hour * HOUR))
    progress.print(f"cards {speed:g} times as fast as real ones; measuring what the twin does not count")
    overheads = validating.probe(cases[0], speed, PICTURE, out)
    found = []
    for one in cases:
        progress.print(f"{one.name}: {' and '.join(map(str, one.cards))}")
        with shown() as told:
            found.append(validating.validate(one, overheads, requests, speed, PICTURE, out, told))
    table = Table("cards", "waits of", "measured s", "twin s", "by seeds", "off", "within 15%")
    for result in found:
        for kept, rows in ((True, result.all_kinds), (False, result.by_kind)):
            for value in rows:
                verdict = ("yes" if value.kept else "NO") if kept else ""
                span = f"{value.low_s:.2f} to {value.high_s:.2f}"
                seconds = (f"{value.measured_s:.2f}", f"{value.predicted_s:.2f}")
                name = f"all, {value.what}" if kept else value.what
                table.add_row(result.case.name, name, *seconds, span, f"{value.off:+.0%}", verdict)
        table.add_section()
    console.print(table)
    for result in found:
        console.print(f"{result.case.name}: {result.requests} requests, {result.unfinished} not completed")
    console.print(
        f"measured before: {overheads.intake_s * 1000:.0f} ms from a request to an idle card, cards "
        f"{overheads.slowness - 1:+.1%} slow, {overheads.gap_s * 1000:.0f} ms between two jobs, "
        f"{overheads.start_s:.1f} s to start a card, and {overheads.start_beside_s:.1f} for each that starts beside it",
        highlight=False,
    )
    (out / "validation.json").write_text(json.dumps([asdict(result) for result in found], indent=2) + "\n")
    _verdict([(f"{result.case.name}: waits within 15%", result.kept) for result in found])


def overhead(
    turns: Annotated[int, typer.Option(min=1, help="Of reads, of each server.")] = 3,
    turn_s: Annotated[float, typer.Option(min=0.5, help="Seconds of one turn.")] = 4.0,
    submit_s: Annotated[float, typer.Option(min=1, help="Seconds of submissions, three times.")] = 20.0,
    alike: Annotated[bool, typer.Option(help="Give the bare handler the service's settings of Serve.")] = False,
    out: Out = Path("overhead"),
) -> None:
    """What the service costs beside a bare Serve handler, with listeners and long lines; exit code 1 if too much."""
    options.folder(out)
    found = measuring.measure(turns, turn_s, submit_s, out, progress.print, alike=alike)
    table = Table("measured", "reads/s", "turns", "CPU ms", "submit p50 ms", "p90", "p99", "worst", "refused", "CPU ms")
    for row in (found.bare, *found.rows):
        each = " ".join(f"{value:.0f}" for value in row.reads)
        took = row.submit
        times = () if took is None else (took.p50, took.p90, took.p99, took.worst)
        cells = [f"{value * 1000:.0f}" for value in times] or [""] * 4
        refused = "" if took is None else str(row.refused)
        table.add_row(row.name, f"{row.read_rate:.0f}", each, _cost(row.read_ms), *cells, refused, _cost(row.submit_ms))
    console.print(table)
    console.print("CPU ms: processor time for each request, of all the server's processes + of the load generator")
    _verdict(found.promises)


def soak(
    minutes: Annotated[float, typer.Option(min=0.5, help="Of load.")] = 120.0,
    rate: Annotated[float, typer.Option(min=0.1, help="Requests a second.")] = soaking.RATE,
    out: Out = Path("soak"),
) -> None:
    """Hours of steady load on a service of its own; exit code 1 if a process grows, or a clip is missing."""
    options.folder(out)
    with shown() as told:
        found = soaking.soak(minutes * 60, rate, out, told)
    table = Table("process", "MiB, third quarter", "MiB, last quarter", "MiB an hour", "flat")
    for row in found.grown:
        figures = (f"{row.before_mib:.0f}", f"{row.after_mib:.0f}", f"{row.mib_an_hour:+.1f}")
        table.add_row(row.kind, *figures, "yes" if row.flat else "NO")
    console.print(table)
    _verdict(
        [
            (f"{found.requests} requests, {found.completed} clips", found.completed == found.requests),
            ("memory flat", all(row.flat for row in found.grown)),
        ]
    )


def _cost(cost: measuring.Cost | None) -> str:
    return "" if cost is None else f"{cost[0]:.1f} + {cost[1]:.1f}"


def _verdict(promises: Sequence[tuple[str, bool]]) -> None:
    for told, kept in promises:
        console.print(f"promised: {told}: {'kept' if kept else 'BROKEN'}", highlight=False)
    if not all(kept for _, kept in promises):
        raise typer.Exit(1)
