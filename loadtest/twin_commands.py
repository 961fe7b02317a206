"""The digital twin's commands: `plan`, `simulate` and `proof`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from deployments.demo import PICTURE
from loadtest import options, twin_report
from loadtest import plan as planning
from loadtest import proof as proving
from loadtest import proof_on_cards as racing
from loadtest.baseline import ServeDefaults
from loadtest.options import Out, Prices, ScenarioName, Seed, Slo, TraceFile, console, progress, source
from loadtest.scenarios import Request, Scenario
from loadtest.twin import START_S, figures, ours, play, shape_of
from loadtest.watching import shown
from serving.errors import I2VError
from serving.presets import I2VGEN_XL

OTHER_DAYS = 5
SERVE = ServeDefaults()


def plan(
    scenario: ScenarioName = None,
    trace: TraceFile = None,
    slo: Slo = None,
    cards: Annotated[str, typer.Option(help="Classes to choose from.")] = "rtx4090,a100-80gb,h100",
    price: Prices = None,
    seed: Seed = 0,
    out: Out = Path("plan"),
) -> None:
    """The cheapest pools that keep the promises, by simulation."""
    row = source(scenario, trace)
    promises = options.promises(slo, row.kinds)
    if not promises:
        raise typer.BadParameter("name a promise, such as p95=120s.", param_hint="slo")
    classes = [options.card_class(name) for name in cards.split(",")]
    prices = options.prices(price)
    options.folder(out)
    began = time.monotonic()
    requests = options.parsed(simulated_as, row.draw(seed))
    progress.print(f"{row.name}: {row.title}; {len(requests)} requests", soft_wrap=True)
    found = []
    for one in planning.plans(requests, promises, classes, prices, progress.print):
        found.append(one)
        progress.print(f"  {' and '.join(map(str, one.cards))}: {one.dollars:.2f} dollars")
    if not found:
        progress.print(f"[red]error[/] slo: no number of {' or '.join(classes)} keeps {'; '.join(map(str, promises))}.")
        raise typer.Exit(1)
    best = min(found, key=lambda one: one.dollars)
    console.print(twin_report.waits_table(best.figures, f"{row.name} on the cheapest pools"))
    console.print(twin_report.cards_table(best.cards, best.simulated, prices))
    pools = [{"name": c.card, "card": c.card, "min_replicas": c.least, "max_replicas": c.most} for c in best.cards]
    console.print("I2V_POOLS=" + json.dumps(pools), soft_wrap=True, highlight=False)
    if isinstance(row, Scenario):
        days = [planning.kept(list(row.draw(seed + n)), promises, best.cards) for n in range(1, OTHER_DAYS + 1)]
        console.print(f"on {sum(days)} of {OTHER_DAYS} other days of the same rates they keep the promises too")
    title = f"{row.name} on {' and '.join(map(str, best.cards))}, {best.dollars:.2f} dollars"
    twin_report.draw({"the cheapest": best.simulated}, title, out / "plan.png")
    rows = [{"cards": [asdict(c) for c in one.cards], "dollars": one.dollars} for one in found]
    (out / "plan.json").write_text(json.dumps({"scenario": row.name, "slo": slo, "plans": rows}, indent=2) + "\n")
    progress.print(f"{time.monotonic() - began:.0f} s; plot: {out / 'plan.png'}", soft_wrap=True)


def simulate(
    pool: Annotated[list[str], typer.Option(help='Cards of a class, such as "rtx4090=0-12" or "a100-80gb=2".')],
    scenario: ScenarioName = None,
    trace: TraceFile = None,
    target_wait_s: Annotated[float, typer.Option(help="As I2V_TARGET_WAIT_S.")] = 60.0,
    start_s: Annotated[float, typer.Option(min=0, help="From the wish for a card until it works.")] = START_S,
    seed: Seed = 0,
    out: Out = Path("simulation"),
) -> None:
    """A scenario on the pools that are named."""
    row = source(scenario, trace)
    cards = options.pools(pool)
    options.folder(out)
    requests = options.parsed(simulated_as, row.draw(seed))
    simulated = play(requests, cards, ours(target_wait_s), start_s=start_s)
    console.print(
        twin_report.waits_table(figures(simulated.outcomes), f"{row.name} on {' and '.join(map(str, cards))}")
    )
    console.print(twin_report.cards_table(cards, simulated, planning.PRICES))
    twin_report.draw({"simulated": simulated}, f"{row.name}: {row.title}", out / "simulation.png")
    progress.print(f"plot: {out / 'simulation.png'}")


def proof(
    scenario: Annotated[list[str] | None, typer.Option(help="Of the table; all that have pools by default.")] = None,
    load: Annotated[float, typer.Option(min=0.01, help="How many times as many requests.")] = 1.0,
    ongoing: Annotated[
        float, typer.Option(min=0.1, help="Requests a card that Serve aims at; 2 is its default.")
    ] = SERVE.target_ongoing_requests,
    real: Annotated[
        bool, typer.Option("--real", help="On emulated cards by the clock, in place of virtual time.")
    ] = False,
    times: Annotated[float | None, typer.Option(min=1, help="With --real: how many times as fast.")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.1, help="With --real: of arrivals, by the clock.")] = None,
    seed: Seed = 0,
    out: Out = Path("proof"),
) -> None:
    """Resolution-aware scheduling beside Serve's defaults; a table, and a plot for each scenario."""
    fleets = {name: one.cards for name, one in racing.WINDOWS.items()} if real else proving.FLEETS
    compared = {}
    for name in scenario or fleets:
        if name not in fleets:
            raise typer.BadParameter(f"{name!r} given; allowed: {', '.join(fleets)}.", param_hint="scenario")
    by_default = ongoing == SERVE.target_ongoing_requests
    theirs = "Serve's defaults" if by_default else f"Serve at {ongoing:g} requests a card"
    if real and not by_default:
        raise typer.BadParameter("by the clock Serve has its default.", param_hint="ongoing")
    options.folder(out)
    for name in scenario or fleets:
        if real:
            window = racing.WINDOWS[name]
            window = replace(window, load=load, times=times or window.times, minutes=minutes or window.minutes)
            progress.print(f"{name}: Serve's defaults, then ours, {window.times:g} times as fast")
            with shown() as told:
                found = racing.compare(name, window, seed, PICTURE, out / name, told)
        else:
            found = proving.compare(name, seed, load, replace(SERVE, target_ongoing_requests=ongoing))
        compared[name] = found
        for side, one in ((theirs, found.serves), ("ours", found.ours)):
            lost = sum(bool(outcome.refused) for outcome in one.simulated.outcomes)
            if lost:
                progress.print(f"{name}, {side}: {lost} of {len(one.simulated.outcomes)} requests came to nothing")
        sides = {theirs: found.serves.simulated, "ours": found.ours.simulated}
        twin_report.draw(sides, f"{name}: {found.scenario.title}", out / f"{name}.png")
    console.print(twin_report.proof_table({name: (fleets[name], found) for name, found in compared.items()}))
    progress.print(f"plots: {out}")


def simulated_as(requests: Iterable[Request]) -> list[Request]:
    """The same, once each shape is one that the simulations know.

    Raises:
        ValueError: I2VGen-XL, whose clips they take time for, does not allow a request's fields.
    """
    found = list(requests)
    for one in {str(request.fields): request for request in found}.values():
        try:
            shape_of(one.fields)
        except I2VError as error:
            raise ValueError(f"{one.kind}: {error.message} Simulations know {I2VGEN_XL.name} alone.") from None
    return found
