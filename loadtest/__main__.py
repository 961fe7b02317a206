"""Load tests and the digital twin: `python -m loadtest --help`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from loadtest import plan as planning
from loadtest import proof as proving
from loadtest import twin_report
from loadtest.scenarios import SCENARIOS, Scenario
from loadtest.twin import Cards, figures, ours, play
from serving.scheduling.cards import CARDS

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)
console = Console(width=130)
progress = Console(stderr=True, highlight=False)

ScenarioName = Annotated[str, typer.Option("--scenario", help=f"One of {', '.join(SCENARIOS)}.")]
Seed = Annotated[int, typer.Option(help="Of the arrivals; the same seed draws the same ones.")]
Out = Annotated[Path, typer.Option(help="Folder for the plot and the figures as JSON.")]


@app.command("scenarios")
def list_scenarios() -> None:
    """The table of scenarios."""
    table = Table("scenario", "requests", "hours", "what it is")
    for row in SCENARIOS.values():
        table.add_row(row.name, f"{row.requests:.0f}", f"{row.seconds / 3600:g}", row.title)
    console.print(table)


@app.command()
def plan(
    scenario: ScenarioName,
    slo: Annotated[list[str], typer.Option(help='Such as "p95=120s", "wait.p50=10s", "preview:p99=60s".')],
    cards: Annotated[str, typer.Option(help="Classes to choose from.")] = "rtx4090,a100-80gb,h100",
    price: Annotated[list[str] | None, typer.Option(help='Dollars a card hour, such as "rtx4090=0.35".')] = None,
    seed: Seed = 0,
    out: Out = Path("plan"),
) -> None:
    """The cheapest pools that keep the promises, by simulation."""
    row = _scenario(scenario)
    promises = [_parsed(planning.promise, text) for text in slo]
    classes = [_card(name) for name in cards.split(",")]
    prices = {**planning.PRICES, **dict(_parsed(_price, text) for text in price or [])}
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


@app.command()
def simulate(
    scenario: ScenarioName,
    pool: Annotated[list[str], typer.Option(help='Cards of a class, such as "rtx4090=0-12" or "a100-80gb=2".')],
    target_wait_s: Annotated[float, typer.Option(help="As I2V_TARGET_WAIT_S.")] = 60.0,
    seed: Seed = 0,
    out: Out = Path("simulation"),
) -> None:
    """A scenario on the pools that are named."""
    row = _scenario(scenario)
    cards = [_parsed(_cards, text) for text in pool]
    simulated = play(row.draw(seed), cards, ours(target_wait_s))
    console.print(
        twin_report.waits_table(figures(simulated.outcomes), f"{row.name} on {' and '.join(map(str, cards))}")
    )
    console.print(twin_report.cards_table(cards, simulated, planning.PRICES))
    out.mkdir(parents=True, exist_ok=True)
    twin_report.draw({"simulated": simulated}, f"{row.name}: {row.title}", out / "simulation.png")
    progress.print(f"plot: {out / 'simulation.png'}")


@app.command()
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


def _scenario(name: str) -> Scenario:
    if name not in SCENARIOS:
        raise typer.BadParameter(f"{name!r} given; allowed: {', '.join(SCENARIOS)}.", param_hint="scenario")
    return SCENARIOS[name]


def _card(name: str) -> str:
    known = [card for card in CARDS if card != "cpu"]
    if name not in known:
        raise typer.BadParameter(f"{name!r} given; allowed: {', '.join(known)}.", param_hint="cards")
    return name


def _price(text: str) -> tuple[str, float]:
    card, _, dollars = text.partition("=")
    return _card(card), float(dollars)


def _cards(text: str) -> Cards:
    card, _, bounds = text.partition("=")
    least, _, most = bounds.partition("-")
    found = Cards(_card(card), int(least), int(most or least))
    if not 0 <= found.least <= found.most or found.most == 0:
        raise ValueError(f"pool: {text!r} given; allowed are such as rtx4090=0-12 and a100-80gb=2.")
    return found


def _parsed(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


if __name__ == "__main__":
    app()
