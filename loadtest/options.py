"""Options that several commands share, and what they mean: which requests, which promises, which cards."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from loadtest import plan, trace
from loadtest.rows import REQUESTS
from loadtest.scenarios import SCENARIOS, Scenario
from loadtest.trace import Trace
from loadtest.twin import Cards
from serving.scheduling.cards import CARDS

T = TypeVar("T")
_POOL = re.compile(r"(?P<card>[^=]+)=(?P<least>\d+)(?:-(?P<most>\d+))?")
_PRICE = re.compile(r"(?P<card>[^=]+)=(?P<dollars>\d*\.?\d+)")

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


def promises(slo: Sequence[str] | None, kinds: Collection[str]) -> list[plan.Promise]:
    """Of requests of these kinds: a promise to a kind that nobody asks for is kept whatever happens."""
    found = [parsed(plan.promise, text) for text in slo or []]
    for one in found:
        if one.kind not in (plan.INTERACTIVE, *kinds):
            raise typer.BadParameter(f"{one.kind!r} given; allowed: {', '.join(sorted(kinds))}.", param_hint="slo")
    return found


def prices(given: Sequence[str] | None) -> dict[str, float]:
    return {**plan.PRICES, **dict(parsed(_price, text) for text in given or [])}


def card_class(name: str) -> str:
    known = [card for card in CARDS if card != "cpu"]
    if name not in known:
        raise typer.BadParameter(f"{name!r} given; allowed: {', '.join(known)}.", param_hint="cards")
    return name


def pools(texts: Sequence[str]) -> list[Cards]:
    found = [parsed(_pool, text) for text in texts]
    names = [one.card for one in found]
    for name in names:
        if names.count(name) > 1:
            raise typer.BadParameter(f"{name} given twice; say all its cards in one.", param_hint="pool")
    return found


def folder(out: Path) -> None:
    """`out` made, and tried: what takes minutes should not fail at its end."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out) as probe:
            probe.write(b"probe")
    except OSError as error:
        raise typer.BadParameter(f"{out} cannot be written: {error.strerror}.", param_hint="out") from None


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """One line where the folder cannot be written any more."""
    try:
        yield
    except OSError as error:
        progress.print(f"[red]error[/] out: {out} cannot be written: {error.strerror}.", soft_wrap=True)
        rows = out / REQUESTS
        if rows.is_file():
            count = max(0, rows.read_bytes().count(b"\n") - 1)
            progress.print(f"{count} rows are kept in {rows}; `report` draws from them.", soft_wrap=True)
        raise typer.Exit(1) from None


def parsed(parse: Callable[..., T], given: object) -> T:
    """Raises typer.BadParameter where `parse` raises ValueError."""
    try:
        return parse(given)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _pool(text: str) -> Cards:
    found = _POOL.fullmatch(text.strip())
    if found is not None:
        least, most = int(found["least"]), int(found["most"] or found["least"])
        if least <= most and most > 0:
            return Cards(card_class(found["card"]), least, most)
    raise ValueError(f"pool: {text!r} given; allowed are such as rtx4090=0-12 and a100-80gb=2.")


def _price(text: str) -> tuple[str, float]:
    found = _PRICE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"price: {text!r} given; allowed are such as rtx4090=0.35.")
    return card_class(found["card"]), float(found["dollars"])
