"""Commands that load a server: `run`, `report`, `compare` and `knee`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from loadtest.openloop import Progress, Told
from loadtest.options import Prices, ScenarioName, Seed, Slo, TraceFile, console, progress
from loadtest.recording import record, words
from loadtest.rows import Recorded, read
from loadtest.scenarios import hastened
from loadtest.server import Target, read_keys

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
    promised, prices = options.promises(slo), options.prices(price)
    row = options.source(scenario, trace)
    requests = hastened(row.draw(seed), times, None if minutes is None else minutes * 60, from_hour * HOUR)
    target = target_of(url, picture, api_keys, standard, extra)
    about = {
        "scenario": row.name,
        "seed": seed,
        "times": times,
        "minutes": minutes,
        "from_hour": from_hour,
        "slo": slo or [],
    }
    progress.print(f"{row.name}: {row.title}")
    with shown() as told:
        recorded = record(out, target, requests, about, told, download=download, patience_s=patience_s)
    _report(out, recorded, options.parsed(lambda one: measure(one, promised, prices), recorded))


def report(folder: Folder, slo: Slo = None, price: Prices = None) -> None:
    """A run's report, from its rows: report.png and report.html; exit code 1 where a promise was not kept."""
    recorded = options.parsed(read, folder)
    promised = options.promises(slo or recorded.about.get("slo"))
    _report(folder, recorded, options.parsed(lambda one: measure(one, promised, options.prices(price)), recorded))


def compare(
    before: Folder,
    after: Folder,
    slo: Slo = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")] = Path("comparison"),
) -> None:
    """Two runs side by side."""
    promised = options.promises(slo)
    runs: dict[str, tuple[Recorded, Measured]] = {}
    for letter, folder in (("A", before), ("B", after)):
        recorded = options.parsed(read, folder)
        found = options.parsed(lambda one: measure(one, promised), recorded)
        runs[f"{letter} {folder.name}"] = recorded, found
    (first, (_, one)), (second, (_, two)) = runs.items()
    tables = run_report.comparison(one, two, (first, second))
    out.mkdir(parents=True, exist_ok=True)
    _say(tables)
    run_report.write(out, f"{first} and {second}", run_report.draw(runs), tables)
    progress.print(f"report: {out / run_report.PAGE}")


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
    row, promised = options.named(scenario or "mix"), options.promises(slo)
    found = [options.parsed(options.cards, text) for text in pool or ["rtx4090=2"]]

    def sought(at: str) -> search.Found:
        target = target_of(at, picture, api_keys, standard, extra)

        def trial(rate: float, seconds: float, number: int) -> search.Trial:
            progress.print(f"try {number}: {rate:.3g} requests a second for {seconds:.0f} s")
            with shown() as told:
                return search.trial(out / f"{number:02d}", target, row, rate, seconds, promised, told, seed=seed)

        return search.find(trial, start, step or hold / 5, hold, precision)

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
    return Target(url, picture, read_keys(keys) if keys else (), standard, fields)


@contextmanager
def shown() -> Iterator[Told]:
    """Counts on the terminal while it goes on; lines now and then where there is none."""
    last = 0.0
    with progress.status("") as status:

        def told(now: Progress) -> bool:
            nonlocal last
            status.update(words(now))
            if not progress.is_terminal and time.monotonic() - last > 30:
                last = time.monotonic()
                progress.print(words(now))
            return False

        yield told


def _report(folder: Path, recorded: Recorded, found: Measured) -> None:
    tables = run_report.tables(recorded, found)
    _say(tables)
    title = f"{recorded.about.get('scenario', '')}, {folder.name}"
    run_report.write(folder, title, run_report.draw({folder.name: (recorded, found)}), tables)
    progress.print(f"report: {folder / run_report.PAGE}")
    if not all(one.kept for one in found.kept):
        raise typer.Exit(1)


def _say(tables: Sequence[Table]) -> None:
    for table in tables:
        console.print(table)
