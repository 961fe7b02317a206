"""The digital twin's commands: `plan`, `simulate` and `proof`."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from loadtest import options, twin_report
from loadtest import plan as planning
from loadtest import proof as proving
from loadtest.options import Out, Prices, ScenarioName, Seed, Slo, TraceFile, console, progress, source
from loadtest.twin import START_S, figures, ours, play


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
    promises = options.promises(slo)
    if not promises:
        raise typer.BadParameter("name a promise, such as p95=120s.", param_hint="slo")
    classes = [options.card_class(name) for name in cards.split(",")]
    prices = options.prices(price)
    began = time.monotonic()
    requests = list(row.draw(seed))
    progress.print(f"{row.name}: {row.title}; {len(requests)} requests")
    found = []
    for one in planning.plans(requests, promises, classes, prices, lambda names: progress.print(f"trying {names}")):
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
    out.mkdir(parents=True, exist_ok=True)
    title = f"{row.name} on {' and '.join(map(str, best.cards))}, {best.dollars:.2f} dollars"
    twin_report.draw({"the cheapest": best.simulated}, title, out / "plan.png")
    rows = [{"cards": [asdict(c) for c in one.cards], "dollars": one.dollars} for one in found]
    (out / "plan.json").write_text(json.dumps({"scenario": row.name, "slo": slo, "plans": rows}, indent=2) + "\n")
    progress.print(f"{time.monotonic() - began:.0f} s; plot: {out / 'plan.png'}")


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
    cards = [options.parsed(options.cards, text) for text in pool]
    simulated = play(row.draw(seed), cards, ours(target_wait_s), start_s=start_s)
    console.print(
        twin_report.waits_table(figures(simulated.outcomes), f"{row.name} on {' and '.join(map(str, cards))}")
    )
    console.print(twin_report.cards_table(cards, simulated, planning.PRICES))
    out.mkdir(parents=True, exist_ok=True)
    twin_report.draw({"simulated": simulated}, f"{row.name}: {row.title}", out / "simulation.png")
    progress.print(f"plot: {out / 'simulation.png'}")


def proof(seed: Seed = 0, out: Out = Path("proof")) -> None:
    """Resolution-aware scheduling beside Serve's defaults, on virtual time; a plot for each scenario."""
    out.mkdir(parents=True, exist_ok=True)
    columns = ("scenario", "cards", "short", "serve p95 s", "ours p95 s", "times", "long", "serve p95 s", "ours p95 s")
    table = Table(*columns, "times", "card hours", "kept")
    compared = []
    for name, cards in proving.FLEETS.items():
        found = proving.compare(name, seed)
        compared.append(found)
        theirs, mine = found.serves, found.ours
        table.add_row(
            name,
            ", ".join(map(str, cards)),
            *(found.short, f"{theirs.short_p95_s:.0f}", f"{mine.short_p95_s:.0f}", f"{found.short_gain:.1f}"),
            *(found.long, f"{theirs.long_p95_s:.0f}", f"{mine.long_p95_s:.0f}", f"{found.long_loss:.2f}"),
            f"{theirs.hours:.1f} -> {mine.hours:.1f}",
            "yes" if found.kept else "NO",
        )
        sides = {"Serve's defaults": theirs.simulated, "ours": mine.simulated}
        twin_report.draw(sides, f"{name}: {found.scenario.title}", out / f"{name}.png")
    console.print(table)
    progress.print(f"plots: {out}")
