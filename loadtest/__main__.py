"""Load tests and the digital twin: `python -m loadtest --help`."""

from __future__ import annotations

import typer
from rich.table import Table

from loadtest import load_commands, service_commands, twin_commands
from loadtest.options import console
from loadtest.scenarios import SCENARIOS

app = typer.Typer(no_args_is_help=True, help=__doc__, rich_markup_mode=None)


@app.command("scenarios")
def list_scenarios() -> None:
    """The table of scenarios."""
    table = Table("scenario", "requests", "hours", "what it is")
    for row in SCENARIOS.values():
        table.add_row(row.name, f"{row.requests:.0f}", f"{row.seconds / 3600:g}", row.title)
    console.print(table)


for command in (
    load_commands.run,
    load_commands.report,
    load_commands.compare,
    load_commands.knee,
    service_commands.validate,
    service_commands.overhead,
    service_commands.soak,
    twin_commands.plan,
    twin_commands.simulate,
    twin_commands.proof,
):
    app.command()(command)


if __name__ == "__main__":
    app()
