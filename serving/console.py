"""How the `i2v` command speaks: results on standard output, all else on standard error, and its one kind of error."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

out = Console()
err = Console(stderr=True, highlight=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def fail(message: str, *, code: str, param: str | None, as_json: bool, exit_code: int = 1) -> typer.Exit:
    """Print one error, and give the exit to raise."""
    if as_json:
        out.print_json(json.dumps({"error": {"message": message, "code": code, "param": param}}))
    else:
        err.print(f"[red]error[/] {escape(message)}", soft_wrap=True)
    return typer.Exit(exit_code)


def warn(warnings: Iterable[Mapping[str, Any]]) -> None:
    """Print the wire's warnings."""
    for warning in warnings:
        said = " ".join(text for text in (warning["message"], warning["suggestion"]) if text)
        err.print(f"[yellow]warning[/] {escape(said)}", soft_wrap=True)
