"""Options that several commands share, and what they mean: which requests, which promises, which cards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from loadtest import plan, trace
from loadtest.scenarios import SCENARIOS, Scenario
from loadtest.trace import Trace
from loadtest.twin import Cards
from serving.scheduling.cards import CARDS

T = TypeVar("T")

console = Console(width=130)
progress = Console(stderr=True, highlight=False)

ScenarioName = Annotated[str | None, typer.Option("--scenario", help=f"One of {', '.join(SCENARIOS)}.")]
TraceFile = Annotated[Path | None, typer.Option("--trace", help="Recorded requests in its place (`i2v trace export`).")]
Seed = Annotated[int, typer.Option(help="Of the arrivals; the same seed draws the same ones.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the plot and the figures as JSON.")]
Slo = Annotated[list[str] | None, typer.Option(help='Such as "p95=120s", "wait.p50=10s", "preview:p99=60s".')]
Prices = Annotated[list[str] | None, typer.Option("--price", help='Dollars a card hour, such as "rtx4090=0.35".')]


def source(scenario: str | None, recorded: Path | None) -> Scenario | Trace:
    """What is to be played: a row of the table, or a trace."""
    if (scenario is None) == (recorded is None):
        raise typer.BadParameter("name a scenario or a trace, one of the two.", param_hint="scenario")
    return parsed(trace.read, recorded) if recorded is not None else named(scenario or "")


def named(name: str) -> Scenario:
    if name not in SCENARIOS:
        raise typer.BadParameter(f"{name!r} given; allowed: {', '.join(SCENARIOS)}.", param_hint="scenario")
    return SCENARIOS[name]


def promises(slo: Sequence[str] | None) -> list[plan.Promise]:
    return [parsed(plan.promise, text) for text in slo or []]


def prices(given: Sequence[str] | None) -> dict[str, float]:
    return {**plan.PRICES, **dict(parsed(_price, text) for text in given or [])}


def card_class(name: str) -> str:
    known = [card for card in CARDS if card != "cpu"]
    if name not in known:
        raise typer.BadParameter(f"{name!r} given; allowed: {', '.join(known)}.", param_hint="cards")
    return name


def cards(text: str) -> Cards:
    card, _, bounds = text.partition("=")
    least, _, most = bounds.partition("-")
    found = Cards(card_class(card), int(least), int(most or least))
    if not 0 <= found.least <= found.most or found.most == 0:
        raise ValueError(f"pool: {text!r} given; allowed are such as rtx4090=0-12 and a100-80gb=2.")
    return found


def parsed(parse: Callable[..., T], given: object) -> T:
    """Raises typer.BadParameter where `parse` raises ValueError."""
    try:
        return parse(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _price(text: str) -> tuple[str, float]:
    card, _, dollars = text.partition("=")
    return card_class(card), float(dollars)
