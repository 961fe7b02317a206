"""Commands that load a server: `run`, `report`, `compare` and `knee`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from deployments.demo import PICTURE
from loadtest import knee as search
from loadtest import options, run_report
from loadtest.arrivals import HOUR
from loadtest.emulated import Pool, service
from loadtest.measured import Measured, measure
from loadtest.options import Prices, ScenarioName, Seed, Slo, TraceFile, console, progress
from loadtest.plan import Promise, promise
from loadtest.recording import record
from loadtest.rows import COMPLETED, REQUESTS, Recorded, read
from loadtest.scenarios import hastened
from loadtest.server import Target, reached, read_keys
from loadtest.watching import interruptible, shown

INTERRUPTED = 130
LEAST_REQUESTS = 5
Url = Annotated[str, typer.Option(help="Any server of /v1/videos.")]
Picture = Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The still that every request carries.")]
Keys = Annotated[Path | None, typer.Option("--api-keys", exists=True, help="File of keys, one a line; owners share.")]
Standard = Annotated[bool, typer.Option("--standard", help="For peers: size and seconds in place of our own fields.")]
Extra = Annotated[list[str] | None, typer.Option("--set", help="A field of every request, such as model=NAME.")]
Folder = Annotated[Path, typer.Argument(help="Folder of a run.", exists=True, file_okay=False)]
Times = Annotated[float, typer.Option(min=0.01, help="How many times as fast as the scenario requests are sent.")]


def run(
    url: Url,
    scenario: ScenarioName = None,
    trace: TraceFile = None,
    times: Times = 1.0,
    minutes: Annotated[float | None, typer.Option(min=0, help="How long to send; the whole scenario else.")] = None,
    from_hour: Annotated[float, typer.Option(min=0, help="Hour of the scenario to begin at.")] = 0.0,
    slo: Slo = None,
    picture: Picture = PICTURE,
    api_keys: Keys = None,
    standard: Standard = False,
    extra: Extra = None,
    download: Annotated[bool, typer.Option(help="Whether finished clips are fetched.")] = True,
    patience_s: Annotated[float, typer.Option(min=0, help="How long to wait for unfinished clips at the end.")] = 600.0,
    price: Prices = None,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of rows and report.")] = Path("run"),
) -> None:
    """Open-loop load on a server: each request is sent when it is due, whatever became of those before it."""
    row = options.source(scenario, trace)
    promised, prices = options.promises(slo, row.kinds), options.prices(price)
    requests = list(hastened(row.draw(seed), times, None if minutes is None else minutes * 60, from_hour * HOUR))
    if not requests:
        raise typer.BadParameter(f"{row.name} asks for nothing in that time.", param_hint="minutes")
    if (out / REQUESTS).exists():
        raise typer.BadParameter(f"{out} holds a run already; name another folder.", param_hint="out")
    target = target_of(url, picture, api_keys, standard, extra)
    about = {
        "scenario": row.name,
        "seed": seed,
        "times": times,
        "minutes": minutes,
        "from_hour": from_hour,
        "requests": len(requests),
        "slo": slo or [],
    }
    options.folder(out)
    progress.print(f"{row.name}: {row.title}", soft_wrap=True)
    with shown() as told, interruptible(told) as (looked, interrupted), options.writing(out):
        recorded = record(out, target, requests, about, looked, download=download, patience_s=patience_s)
    if interrupted.is_set():
        progress.print("interrupted: what was open is taken back, and counts as unfinished")
    kept = _report(out, recorded, options.parsed(lambda one: measure(one, promised, prices), recorded))
    if interrupted.is_set():
        raise typer.Exit(INTERRUPTED)
    if not kept:
        raise typer.Exit(1)


def report(folder: Folder, slo: Slo = None, price: Prices = None) -> None:
    """A run's report, from its rows: report.png and report.html; exit code 1 where a promise was not kept."""
    recorded = options.parsed(read, folder)
    promised = promised_of(recorded, slo)
    if not _report(
        folder, recorded, options.parsed(lambda one: measure(one, promised, options.prices(price)), recorded)
    ):
        raise typer.Exit(1)


def compare(
    before: Folder,
    after: Folder,
    slo: Slo = None,
    price: Prices = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")] = Path("comparison"),
) -> None:
    """Two runs side by side; by the promises of both, where none is named."""
    read_runs = [(letter, folder, options.parsed(read, folder)) for letter, folder in (("A", before), ("B", after))]
    promised = list(dict.fromkeys(one for _, _, recorded in read_runs for one in promised_of(recorded, slo)))
    runs: dict[str, tuple[Recorded, Measured]] = {}
    for letter, folder, recorded in read_runs:
        found = options.parsed(lambda one: measure(one, promised, options.prices(price)), recorded)
        runs[f"{letter} {folder.resolve().name}"] = recorded, found
    (first, (a, one)), (second, (b, two)) = runs.items()
    tables = run_report.comparison(one, two, (first, second))
    notes = [f"{name}: {note}" for name, (recorded, _) in runs.items() for note in run_report.notes(recorded)]
    if unlike := run_report.unlike(a.about, b.about):
        notes.append(f"NOT the same requests were sent to both: {'; '.join(unlike)}.")
    options.folder(out)
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    _say(tables)
    with options.writing(out):
        run_report.write(out, f"{first} and {second}", run_report.draw(runs), tables, notes)
    progress.print(f"report: {out / run_report.PAGE}", soft_wrap=True)


def knee(
    slo: Annotated[list[str], typer.Option(help='Such as "p95=20s"; what has to hold.')],
    scenario: ScenarioName = None,
    url: Annotated[str | None, typer.Option(help="Any server of /v1/videos; a service on emulated cards else.")] = None,
    pool: Annotated[list[str] | None, typer.Option(help="Emulated cards, such as rtx4090=2; without --url.")] = None,
    speed: Annotated[float, typer.Option(min=1, help="How much faster than real ones emulated cards are.")] = 10.0,
    hold: Annotated[float, typer.Option(min=1, help="Seconds for which the rate has to hold.")] = 600.0,
    step: Annotated[float | None, typer.Option(min=1, help="Seconds of a try on the way; a fifth of --hold.")] = None,
    start: Annotated[float, typer.Option(min=0.001, help="Requests a second of the first try.")] = 0.1,
    precision: Annotated[float, typer.Option(min=0.01, max=0.5, help="When the search is good enough.")] = 0.1,
    picture: Picture = PICTURE,
    api_keys: Keys = None,
    standard: Standard = False,
    extra: Extra = None,
    seed: Seed = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all tries.")] = Path("knee"),
) -> None:
    """The highest rate of a scenario's mix that a server holds with its promises, and what gives first beyond it."""
    row = options.named(scenario or "mix")
    promised = options.promises(slo, row.kinds)
    found = options.pools(pool or ["rtx4090=2"])
    step_s = step or hold / 5
    if start * step_s < LEAST_REQUESTS:
        message = (
            f"{start:g} requests a second for {step_s:g} s are too few to judge by; at least {LEAST_REQUESTS} of them."
        )
        raise typer.BadParameter(message, param_hint="step")
    options.folder(out)

    def sought(at: str) -> search.Found:
        target = target_of(at, picture, api_keys, standard, extra)

        def trial(rate: float, seconds: float, number: int) -> search.Trial:
            progress.print(f"try {number}: {rate:.3g} requests a second for {seconds:.0f} s")
            with shown() as told:
                return search.trial(out / f"{number:02d}", target, row, rate, seconds, promised, told, seed=seed)

        return search.find(trial, start, step_s, hold, precision)

    if url is None:
        with service([Pool(c.card, c.most, c.least) for c in found], speed) as own:
            result = sought(own)
    else:
        result = sought(url)
    table = Table("requests/s", "seconds", "held", "p50 s", "p95 s", "refused", "open at the end", "what gave first")
    for one in sorted(result.trials, key=lambda one: one.rate):
        cells = (f"{one.p50_s:.1f}", f"{one.p95_s:.1f}", f"{one.refused:.0%}", str(one.open_at_end))
        gave = "; ".join(f"{limit.name} at {limit.at_s:.0f} s ({limit.detail})" for limit in one.limits)
        table.add_row(f"{one.rate:.3g}", f"{one.seconds:.0f}", "yes" if one.held else "NO", *cells, gave)
    console.print(table)
    console.print(result.words, highlight=False)
    if result.rate is None:
        raise typer.Exit(1)


def target_of(url: str, picture: Path, keys: Path | None, standard: bool, extra: Sequence[str] | None) -> Target:
    pairs = [text.partition("=") for text in extra or []]
    if any(not equals for _, equals, _ in pairs):
        raise typer.BadParameter("give name=value.", param_hint="set")
    fields = {name: value for name, _, value in pairs}
    return Target(options.parsed(reached, url), picture, read_keys(keys) if keys else (), standard, fields)


def promised_of(recorded: Recorded, slo: Sequence[str] | None) -> list[Promise]:
    """Those that are named, else those that the run was made with."""
    kinds = {row.kind for row in recorded.rows}
    if slo:
        return options.promises(slo, kinds)
    return [options.parsed(promise, text) for text in recorded.about.get("slo") or []]


def _report(folder: Path, recorded: Recorded, found: Measured) -> bool:
    """Whether every promise was kept, and any clip made."""
    tables, notes = run_report.tables(recorded, found), run_report.notes(recorded)
    _say(tables)
    for note in notes[1:]:
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    name = folder.resolve().name
    figure = run_report.draw({name: (recorded, found)})
    with options.writing(folder):
        run_report.write(folder, name, figure, tables, notes)
    progress.print(f"report: {folder / run_report.PAGE}", soft_wrap=True)
    return found.counts[COMPLETED] > 0 and all(one.kept for one in found.kept)


def _say(tables: Sequence[Table]) -> None:
    for table in tables:
        console.print(table)
