"""The `i2v` command, a client of the API: generate, quote, status, pools; doctor, calibrate, keys, prompts. No Ray."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import stamina
import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from serving.batch_commands import batch
from serving.client import ApiError, Client, Quote, api_key, default_server
from serving.clip_options import Fields, asks_for_a_clip
from serving.console import AsJson, err, fail, out, warn
from serving.doctor import Level, examine, model_of
from serving.encoding import ENCODERS
from serving.errors import I2VError, InvalidParameter
from serving.following import generate_at, progress_bar
from serving.key_commands import keys
from serving.overview import pools_table, videos_table
from serving.parameters import VideoParameters
from serving.prompt_commands import prompts
from serving.reproduce_commands import reproduce
from serving.scheduling.cost import Shape
from serving.settings import load_settings
from serving.trace_commands import trace

app = typer.Typer(no_args_is_help=True, help="Animate still pictures with I2VGen-XL.", rich_markup_mode=None)
app.command()(batch)
app.command()(reproduce)
app.add_typer(keys, name="keys")
app.add_typer(prompts, name="prompts")
app.add_typer(trace, name="trace")
MARKS = {Level.OK: "[green]ok  [/]", Level.WARN: "[yellow]warn[/]", Level.FAIL: "[red]fail[/]"}

Picture = Annotated[Path, typer.Argument(help="The still: JPEG, PNG, WEBP, BMP or AVIF.", exists=True, dir_okay=False)]
Prompt = Annotated[str, typer.Argument(help="What should move, and how, in English.")]
Server = Annotated[str | None, typer.Option(help="The service's address; I2V_SERVER, else this machine.")]


# Retries show in the progress, not as log lines between them.
stamina.instrumentation.set_on_retry_hooks([])


def connect(server: str | None) -> Client:
    """To `server` or the default one, with the key in I2V_API_KEY."""
    return Client(server or default_server(), api_key())


@app.command()
@asks_for_a_clip
def generate(
    picture: Picture,
    prompt: Prompt,
    fields: Fields,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the clip goes; clip.mp4 by default.")
    ] = None,
    server: Server = None,
    local: Annotated[bool, typer.Option("--local", help="Generate in this process, without a service.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn PICTURE and PROMPT into a clip."""
    path = output or Path(f"clip.{fields['format'] or 'mp4'}")
    suffix = path.suffix[1:].lower()
    model = fields["model"]
    fields |= {
        "prompt": prompt,
        "model": None if local else model,
        "format": fields["format"] or (suffix if suffix in ENCODERS else "mp4"),
    }
    if path.is_dir():
        raise fail(
            f"output: {path} is a folder; name a file.", code=InvalidParameter.code, param="output", as_json=as_json
        )
    try:
        if local:
            result = _generate_here(picture, fields, path, model)
        else:
            with connect(server) as client:
                result = generate_at(client, picture, fields, path)
    except (ApiError, I2VError) as error:
        raise fail(str(error), code=error.code, param=error.param, as_json=as_json) from None
    except OSError as error:
        raise fail(str(error), code="file_error", param=None, as_json=as_json) from None
    if as_json:
        out.print_json(json.dumps(result))
        return
    warn(result["warnings"])
    out.print(result["path"], soft_wrap=True, highlight=False, markup=False)
    for hint in result["hints"]:
        err.print(f"[dim]{hint['symptom'].replace('_', ' ')}? {escape(hint['message'])}[/]", soft_wrap=True)


@app.command()
@asks_for_a_clip
def quote(
    picture: Picture,
    prompt: Prompt,
    fields: Fields,
    server: Server = None,
    as_json: AsJson = False,
) -> None:
    """Say what a clip of PICTURE and PROMPT would cost, where it would run, and when; nothing is queued."""
    try:
        with connect(server) as client:
            found = client.quote(picture, {"prompt": prompt, **fields})
    except ApiError as error:
        raise fail(str(error), code=error.code, param=error.param, as_json=as_json) from None
    except OSError as error:
        raise fail(str(error), code="file_error", param=None, as_json=as_json) from None
    if as_json:
        out.print_json(json.dumps(found))
        return
    _show_quote(found)


@app.command()
def status(
    server: Server = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Newest videos to show.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Say whether a service can take work, what waits, and how its newest videos are; exit code 1 if it cannot."""
    try:
        with connect(server) as client:
            reason, queue, videos = client.not_ready(), client.pools()["queue"], client.newest(limit)
    except ApiError as error:
        raise fail(str(error), code=error.code, param=error.param, as_json=as_json) from None
    if as_json:
        out.print_json(json.dumps({"ready": reason is None, "reason": reason, "queue": queue, "videos": videos}))
    else:
        out.print(f"{MARKS[Level.OK]} ready" if reason is None else f"{MARKS[Level.FAIL]} {escape(reason)}")
        out.print(f"{queue['jobs']} jobs wait, {queue['gpu_seconds']:g} GPU seconds", highlight=False)
        if videos:
            out.print(videos_table(videos))
    if reason is not None:
        raise typer.Exit(1)


@app.command()
def pools(server: Server = None, as_json: AsJson = False) -> None:
    """Show a service's pools: their cards, what these do now, and which clips they can hold."""
    try:
        with connect(server) as client:
            found = client.pools()
    except ApiError as error:
        raise fail(str(error), code=error.code, param=error.param, as_json=as_json) from None
    if as_json:
        out.print_json(json.dumps(found))
    else:
        out.print(pools_table(found["data"]))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check whether the service could run here; exit code 1 if not."""
    try:
        settings = load_settings()
    except I2VError as error:
        raise fail(error.message, code=error.code, param=None, as_json=as_json) from None
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            out.print(
                f"{MARKS[finding.level]} {finding.check:<10} {escape(finding.detail)}",
                soft_wrap=True,
                highlight=False,
            )
    if as_json:
        rows = [{"check": f.check, "level": f.level.value, "detail": f.detail} for f in findings]
        out.print_json(json.dumps(rows))
    if any(finding.level == Level.FAIL for finding in findings):
        raise typer.Exit(1)


@app.command()
def calibrate(
    model: Annotated[str | None, typer.Option(help="Hub name, folder or builtin; I2V_MODEL by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure this machine's card, so that estimates are true; best while nothing else runs on it."""
    from serving.calibrating import calibrate_here

    try:
        settings = load_settings()
        with progress_bar() as progress:
            task = progress.add_task("loading", total=None)

            def on_trial(shape: Shape, done: int, total: int) -> None:
                progress.update(task, description=shape.words, completed=done, total=total)

            report = calibrate_here(settings, model or model_of(settings), on_trial)
    except I2VError as error:
        raise fail(error.message, code=error.code, param=error.param, as_json=as_json) from None
    if as_json:
        out.print_json(json.dumps(report.to_json()))
    else:
        out.print(report.to_table())
        out.print(report.summary, soft_wrap=True, highlight=False)


def _generate_here(picture: Path, fields: dict[str, Any], path: Path, model: str | None) -> dict[str, Any]:
    settings = load_settings()
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        parameters = VideoParameters(**given)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0])
        raise ApiError(
            f"{field}: {first['input']!r} given; {first['msg']}.", code="invalid_parameter", param=field
        ) from None
    from serving.local import generate_locally

    with progress_bar() as progress:
        task = progress.add_task("preprocessing", total=None)

        def on_stage(stage: str, step: int, steps: int) -> None:
            progress.update(task, description=stage, completed=step, total=steps or None)

        recipe, warnings, hints = generate_locally(
            picture.read_bytes(),
            parameters,
            path,
            model=model or model_of(settings),
            revision=settings.revision,
            on_stage=on_stage,
        )
    return {
        "path": str(path),
        "recipe": recipe,
        "warnings": [warning.model_dump() for warning in warnings],
        "hints": [hint.model_dump() for hint in hints],
    }


def _show_quote(found: Quote) -> None:
    warn(found["warnings"])
    table = Table("pool", "card", "memory", "plan", "GPU seconds", "starts in", "finishes in", title=_title(found))
    for pool in found["pools"]:
        has = "" if pool["memory_gib"] is None else f" of {pool['memory_gib']:g}"
        memory = f"{pool['memory_needed_gib']:g}{has} GiB"
        plan = pool["plan"]
        how = f"{plan['name']}, decodes {plan['decode_chunk']} at once" if plan else pool["reason"]
        name = f"{pool['name']} (asleep)" if pool["cold"] else pool["name"]
        took, *times = (_seconds(pool[key]) for key in ("gpu_seconds", "starts_in_s", "finishes_in_s"))
        if pool["cards"] > 1:
            took += f", on two cards {_seconds(pool['shared_seconds'])}"
        table.add_row(name, escape(pool["card"]), memory, how, took, *times)
    out.print(table)
    queue = found["queue"]
    out.print(f"{queue['jobs']} jobs wait, {queue['gpu_seconds']:g} GPU seconds", highlight=False)
    if not found["admitted"]:
        err.print(f"[yellow]not now[/] {escape(found['refusal']['message'])}", soft_wrap=True)


def _title(found: Quote) -> str:
    done = time.strftime("%H:%M:%S", time.localtime(found["finishes_at"]))
    clip = f"{found['size']}, {found['num_frames']} frames"
    return f"{clip}: {found['gpu_seconds']:g} GPU seconds on {found['pool']}, done about {done}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:g} s"
