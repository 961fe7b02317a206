"""`i2v batch`: a folder or a sheet in, clips, a manifest and a contact sheet out; a client of the API alone."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from serving.batch.checking import CheckedRow, check
from serving.batch.contact_sheet import cost_of, write_contact_sheet
from serving.batch.manifest import FILE, Manifest, read_entries
from serving.batch.running import carry_out
from serving.batch.sheet import Defaults, Problem
from serving.batch.telling import Teller
from serving.batch.wire import Wire
from serving.batch.work import Work, bad_entries, gpu_seconds, plan_work, standing, to_do
from serving.client import ApiError, api_key, default_server
from serving.clip_options import Fields, asks_for_a_clip
from serving.console import AsJson, err, fail, out
from serving.errors import I2VError, InvalidParameter
from serving.parameters import as_text

MOST_SEEDS = 16
MAX_SHOWN = 20


class Exit(IntEnum):
    """What cron is told."""

    DONE = 0
    SOME_FAILED = 1
    REFUSED = 2
    """Nothing was submitted: the command, the sheet or the folder is at fault."""
    STOPPED = 3
    """The service is out of reach or lets nobody in, or the folder is full; the same command goes on later."""
    INTERRUPTED = 130


@asks_for_a_clip
def batch(
    source: Annotated[Path, typer.Argument(help="A folder of pictures, or a sheet: .csv or .jsonl.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of clips, manifest and contact sheet.")],
    fields: Fields,
    prompt: Annotated[str | None, typer.Option(help="Of rows that say nothing of it.")] = None,
    template: Annotated[str | None, typer.Option(help="The same; filled with their titles.")] = None,
    category: Annotated[str | None, typer.Option(help="The same; their titles choose a template of it.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=MOST_SEEDS, help="Clips of each row, to pick the best of.")] = 1,
    priority: Annotated[str, typer.Option(help="batch or interactive.")] = "batch",
    limit: Annotated[int | None, typer.Option(min=1, help="No more than the first so many rows.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Go on without the bad rows.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all and say the cost; submit nothing.")] = False,
    price_per_hour: Annotated[float | None, typer.Option(min=0, help="Of a card; shows costs as money too.")] = None,
    in_flight: Annotated[int, typer.Option(min=1, max=1000, help="Jobs of it at the service at once.")] = 64,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait for a service out of reach.")] = 600,
    server: Annotated[str | None, typer.Option(help="The service's address; I2V_SERVER, else this machine.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make clips of every row of SOURCE; the same command goes on where the last run ended, whatever ended it.

    Exit code 0: all done; 1: some rows failed; 2: nothing submitted, as the command or the sheet is at fault; 3: the
    service is out of reach; 130: interrupted.
    """
    run = Run(output, skip_bad=skip_bad, price_per_hour=price_per_hour, in_flight=in_flight)
    given = {name: as_text(name, value) for name, value in fields.items() if value is not None} | {"priority": priority}
    exit_code = Exit.REFUSED
    try:
        if prompt is not None and not (template is None and category is None):
            raise InvalidParameter("prompt: cannot be given together with template or category.", param="prompt")
        defaults = Defaults(prompt, template, category, given)
        planned = partial(
            plan_work, source, defaults, seeds=seeds, limit=limit, folder=output, retry_failed=retry_failed
        )
        wire = Wire(server or default_server(), api_key(), patience_s=patience, on_wait=run.teller.wait)
        if dry_run:
            work = planned(entries=read_entries(output))
            exit_code = Exit.STOPPED
            done, told = asyncio.run(run.quote(wire, work))
        else:
            with Manifest(output) as manifest, _terminable():
                work = planned(entries=manifest.entries)
                exit_code = Exit.STOPPED
                done, told = run.carry_out(wire, manifest, work)
    except (ApiError, I2VError) as error:
        code, param = error.code, error.param
        raise fail(str(error), code=code, param=param, as_json=as_json, exit_code=exit_code) from None
    except OSError as error:
        raise fail(str(error), code="file_error", param=None, as_json=as_json, exit_code=exit_code) from None
    except KeyboardInterrupt:  # before anything was submitted, or again
        raise typer.Exit(Exit.INTERRUPTED) from None
    if as_json:
        out.print_json(json.dumps(told))
    else:
        err.print(told["summary"], soft_wrap=True, markup=False)
        if sheet := told.get("contact_sheet"):
            out.print(sheet, soft_wrap=True, highlight=False, markup=False)
    if done is not Exit.DONE:
        raise typer.Exit(done)


class Run:
    """One run of the command, once its sheet is read."""

    def __init__(self, folder: Path, *, skip_bad: bool, price_per_hour: float | None, in_flight: int) -> None:
        self.teller = Teller(err)
        self._folder = folder
        self._skip_bad = skip_bad
        self._price = price_per_hour
        self._in_flight = in_flight

    async def quote(self, wire: Wire, work: Work) -> tuple[Exit, dict[str, Any]]:
        """What `carry_out` would cost; nothing is submitted or written."""
        async with wire:
            checked, problems = await self._check(wire, work)
        clips = Counter(new.clip.row.number for new in work.new if new.clip.row.number in checked)
        seconds = sum(row.gpu_seconds * clips[number] for number, row in checked.items())
        summary = f"{clips.total()} clips of {len(checked)} rows to make: {cost_of(seconds, self._price)}"
        return Exit.REFUSED if problems and not self._skip_bad else Exit.DONE, {
            "clips": clips.total(),
            "gpu_seconds": round(seconds, 1),
            "cost": None if self._price is None else round(seconds / 3600 * self._price, 4),
            "begun": len(work.begun),
            "bad_rows": [_bad(one) for one in problems],
            "summary": f"{summary}; {len(problems)} bad rows",
        }

    def carry_out(self, wire: Wire, manifest: Manifest, work: Work) -> tuple[Exit, dict[str, Any]]:
        """Do what is left to do.

        Raises:
            ApiError: the service cannot be reached, or refuses everything. OSError: the folder cannot be written.
        """
        problems: Sequence[Problem] = work.problems
        interrupted = False
        try:
            problems = asyncio.run(self._carry_out(wire, manifest, work))
        except KeyboardInterrupt:
            interrupted = True
        finally:
            title = f"{self._folder.resolve().name}: {cost_of(gpu_seconds(work.clips, manifest.entries), self._price)}"
            sheet = write_contact_sheet(self._folder, title, work.clips, manifest.entries, problems, self._price)
        counts = standing(work.clips, manifest.entries)
        summary = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        if interrupted:
            done = Exit.INTERRUPTED
            summary += ". Interrupted: what was submitted goes on at the service, and the same command goes on here."
        elif problems and not self._skip_bad:
            done = Exit.REFUSED
            summary += f". {len(problems)} bad rows, so nothing was submitted; --skip-bad goes on without them."
        else:
            done = Exit.SOME_FAILED if problems or counts["failed"] else Exit.DONE
        return done, {
            "clips": dict(counts),
            "gpu_seconds": round(gpu_seconds(work.clips, manifest.entries), 1),
            "bad_rows": [_bad(one) for one in problems],
            "manifest": str(self._folder / FILE),
            "contact_sheet": str(sheet),
            "summary": summary,
        }

    async def _carry_out(self, wire: Wire, manifest: Manifest, work: Work) -> list[Problem]:
        async with wire:
            checked, problems = await self._check(wire, work)
            if problems and not self._skip_bad:
                return problems
            for entry in bad_entries(work, problems):
                manifest.note(entry)
            new = [to_do(one, checked[one.clip.row.number]) for one in work.new if one.clip.row.number in checked]
            with self.teller.counting("clips", len(work.begun) + len(new)):
                await carry_out(wire, manifest, (*work.begun, *new), self._in_flight, self.teller.entry)
        return problems

    async def _check(self, wire: Wire, work: Work) -> tuple[dict[int, CheckedRow], list[Problem]]:
        """The rows that are new, by number, and those that are bad; tells of these and of warnings."""
        rows = work.rows
        with self.teller.counting("checking rows", len(rows)):
            found = await check(wire, rows.values(), self.teller.step)
        checked = {one.row.number: one for one in found if isinstance(one, CheckedRow)}
        bad = [*work.problems, *(one for one in found if isinstance(one, Problem))]
        bad.sort(key=lambda problem: problem.row)
        _show("bad rows", [f"{one.where}: {one.message}" for one in bad])
        warned = [(row.row, warning["message"]) for row in checked.values() for warning in row.warnings]
        _show("warnings", [f"row {row.number} ({row.name}), warning: {message}" for row, message in warned])
        return checked, bad


def _bad(problem: Problem) -> dict[str, Any]:
    return {"row": problem.row, "name": problem.name, "param": problem.param, "message": problem.message}


def _show(what: str, lines: Sequence[str]) -> None:
    for line in lines[:MAX_SHOWN]:
        err.print(line, soft_wrap=True, markup=False)
    if len(lines) > MAX_SHOWN:
        err.print(f"and {len(lines) - MAX_SHOWN} more {what}")


@contextmanager
def _terminable() -> Iterator[None]:
    """Have SIGTERM, which cron's host sends as it goes down, do what Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
