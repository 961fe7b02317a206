"""What `loadtest.engine` measured, as rows, tables and a plot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.table import Table


@dataclass(frozen=True)
class Exactness:
    """Relative errors, ||x - exact|| / ||exact||, worst of the seeds."""

    shape: str
    what: str
    stock: float
    ours: float

    @property
    def ratio(self) -> float:
        return self.ours / self.stock


@dataclass(frozen=True)
class Speed:
    """Medians of one guided step, milliseconds, by path; peaks without the weights, GiB."""

    shape: str
    floor_ms: float
    stock_ms: float
    compiled_ms: float | None
    plain_ms: float
    replayed_ms: float
    stock_gib: float
    ours_gib: float
    compile_s: float | None


def table_of(rows: list[Exactness]) -> Table:
    table = Table("shape", "what", "diffusers", "ours", "ratio", title="error in float16, against diffusers in float32")
    for row in rows:
        table.add_row(row.shape, row.what, f"{row.stock:.2e}", f"{row.ours:.2e}", f"{row.ratio:.2f}")
    return table


def speed_table(rows: list[Speed], rate: float, sustained: float) -> Table:
    """
    Args:
        rate: of a large product, TFLOP/s, which the floor goes by.
        sustained: the same after seconds of nothing else.
    """
    heads = ("shape", "diffusers", "compiled", "ours, plain", "ours", "floor", "of floor", "faster", "GiB", "ours GiB")
    title = f"ms of one guided step; floor at {rate:.0f} TFLOP/s ({sustained:.0f} sustained); GiB without weights"
    table = Table(*heads, title=title)
    for row in rows:
        table.add_row(
            row.shape,
            f"{row.stock_ms:.1f}",
            "" if row.compiled_ms is None else f"{row.compiled_ms:.1f} ({row.compile_s:.0f} s to compile)",
            f"{row.plain_ms:.1f}",
            f"{row.replayed_ms:.1f}",
            f"{row.floor_ms:.1f}",
            f"{row.floor_ms / row.replayed_ms:.0%}",
            f"{row.stock_ms / row.replayed_ms:.2f} x",
            f"{row.stock_gib:.2f}",
            f"{row.ours_gib:.2f}",
        )
    return table


def plot(rows: list[Speed], card: str, path: Path) -> None:
    from matplotlib.figure import Figure

    paths = {"diffusers": "stock_ms", "diffusers, compiled": "compiled_ms", "ours": "replayed_ms", "floor": "floor_ms"}
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for index, (label, field) in enumerate(paths.items()):
        there = [(place, value) for place, row in enumerate(rows) if (value := getattr(row, field)) is not None]
        if there:
            axes.bar([place + 0.2 * index for place, _ in there], [value for _, value in there], 0.2, label=label)
    axes.set_xticks([place + 0.3 for place in range(len(rows))], [row.shape for row in rows])
    axes.set_yscale("log")
    axes.set_ylabel("ms of one guided step")
    axes.set_title(card)
    axes.legend()
    figure.savefig(path, dpi=120)
