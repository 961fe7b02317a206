"""`i2v trace`: what the service was asked for, out of its database itself, to be played again. Knows no HTTP."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.console import AsJson, err, fail, out
from serving.errors import I2VError
from serving.jobs.store import open_store
from serving.key_commands import CONFIG, Config
from serving.settings import load_settings, read_config
from serving.tracing import trace as rows_of

trace = typer.Typer(no_args_is_help=True, help="Recorded requests, for load tests and planning.")
HOUR = 3600.0


@trace.callback()
def only_export() -> None:
    """Recorded requests, for load tests and planning."""


@trace.command()
def export(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where the rows go; the output else.")] = None,
    hours: Annotated[float | None, typer.Option(min=0, help="Only those of the last hours.")] = None,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Write a row of JSON for each job: when, what shape, whose (hashed), and how it went; no prompts, no pictures."""
    since = 0.0 if hours is None else time.time() - hours * HOUR
    try:
        settings = load_settings(read_config(config))
        with closing(open_store(settings.database)) as store:
            count = _write(output, rows_of(store, since=since))
    except I2VError as error:
        raise fail(error.message, code=error.code, param=error.param, as_json=as_json) from None
    except OSError as error:
        raise fail(str(error), code="file_error", param="output", as_json=as_json) from None
    if output is None:
        return
    if as_json:
        out.print_json(json.dumps({"path": str(output), "jobs": count}))
    else:
        err.print(f"{count} jobs in {output}", soft_wrap=True, highlight=False, markup=False)


def _write(output: Path | None, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with nullcontext(sys.stdout) if output is None else output.open("w") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
            count += 1
    return count
