"""The `i2v` command, a client of the HTTP API: generate, doctor, calibrate. Knows nothing of Ray."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import stamina
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from serving.client import ApiError, Client, Video
from serving.doctor import Level, examine, model_of
from serving.encoding import ENCODERS
from serving.errors import Cancelled, I2VError, InvalidParameter
from serving.request import VideoParameters
from serving.scheduling.cost import Shape
from serving.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Animate still pictures with I2VGen-XL.", rich_markup_mode=None)
out = Console()
err = Console(stderr=True, highlight=False)
MARKS = {Level.OK: "[green]ok  [/]", Level.WARN: "[yellow]warn[/]", Level.FAIL: "[red]fail[/]"}

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


# Retries show in the progress, not as log lines between them.
stamina.instrumentation.set_on_retry_hooks([])


def default_server() -> str:
    return os.environ.get("I2V_SERVER") or f"http://127.0.0.1:{os.environ.get('I2V_PORT') or 8000}"


@app.command()
def generate(
    picture: Annotated[
        Path, typer.Argument(help="The still: JPEG, PNG, WEBP, BMP or AVIF.", exists=True, dir_okay=False)
    ],
    prompt: Annotated[str, typer.Argument(help="What should move, and how, in English.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the clip goes; clip.mp4 by default.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model of the service; with --local a hub name, folder or builtin.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="preview, standard, high or extreme.")] = None,
    resolution: Annotated[str | None, typer.Option(help="Area class, such as 512p.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels, instead of --resolution.")] = None,
    aspect_ratio: Annotated[str | None, typer.Option(help="WIDTH:HEIGHT; the picture's own by default.")] = None,
    fit: Annotated[str | None, typer.Option(help="crop (default) or pad.")] = None,
    num_frames: Annotated[int | None, typer.Option(help="Frames in the clip.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Length, instead of --num-frames.")] = None,
    fps: Annotated[int | None, typer.Option(help="Frames a second.")] = None,
    num_inference_steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="Guidance; 1.0 turns it off.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What should not appear.")] = None,
    seed: Annotated[int | None, typer.Option(help="0 to 2**63 - 1; random by default.")] = None,
    format: Annotated[str | None, typer.Option(help="mp4, webm or gif; by the output's suffix by default.")] = None,
    server: Annotated[str | None, typer.Option(help="The service's address; I2V_SERVER, else this machine.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Generate in this process, without a service.")] = False,
    as_json: AsJson = False,
) -> None:
    """Turn PICTURE and PROMPT into a clip."""
    path = output or Path(f"clip.{format or 'mp4'}")
    fields = {
        "prompt": prompt,
        "model": None if local else model,
        "preset": preset,
        "resolution": resolution,
        "size": size,
        "aspect_ratio": aspect_ratio,
        "fit": fit,
        "num_frames": num_frames,
        "seconds": seconds,
        "fps": fps,
        "num_inference_steps": num_inference_steps,
        "guidance_scale": guidance_scale,
        "negative_prompt": negative_prompt,
        "seed": seed,
        "format": format or (suffix if (suffix := path.suffix[1:].lower()) in ENCODERS else "mp4"),
    }
    if path.is_dir():
        raise fail(
            f"output: {path} is a folder; name a file.", code=InvalidParameter.code, param="output", as_json=as_json
        )
    try:
        if local:
            result = _generate_here(picture, fields, path, model)
        else:
            with Client(server or default_server()) as client:
                result = generate_at(client, picture, fields, path)
    except (ApiError, I2VError) as error:
        raise fail(str(error), code=error.code, param=error.param, as_json=as_json) from None
    except OSError as error:
        raise fail(str(error), code="file_error", param=None, as_json=as_json) from None
    if as_json:
        out.print_json(json.dumps(result))
        return
    for warning in result["warnings"]:
        err.print(f"[yellow]warning[/] {escape(warning)}")
    out.print(result["path"], soft_wrap=True, highlight=False, markup=False)


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
        with _progress() as progress:
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


def generate_at(client: Client, picture: Path, fields: dict[str, Any], path: Path) -> dict[str, Any]:
    """Submit to a service, follow with a progress bar, download; Ctrl-C cancels the job there too."""
    video = client.submit(picture, fields)
    try:
        with _progress() as progress:
            task = progress.add_task("queued", total=100)
            video = client.follow(video, lambda now: _show(progress, task, now))
    except KeyboardInterrupt:
        client.cancel(video["id"])
        raise ApiError(f"{video['id']}: cancelled.", code=Cancelled.code) from None
    if video["status"] == "failed":
        raise ApiError(f"{video['id']}: {video['error']['message']}", code=video["error"]["code"])
    client.download(video["id"], path)
    return {**video, "path": str(path)}


def fail(message: str, *, code: str, param: str | None, as_json: bool) -> typer.Exit:
    """Print one error, and give the exit to raise."""
    if as_json:
        out.print_json(json.dumps({"error": {"message": message, "code": code, "param": param}}))
    else:
        err.print(f"[red]error[/] {escape(message)}", soft_wrap=True)
    return typer.Exit(1)


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

    with _progress() as progress:
        task = progress.add_task("preprocessing", total=None)

        def on_stage(stage: str, step: int, steps: int) -> None:
            progress.update(task, description=stage, completed=step, total=steps or None)

        recipe, warnings = generate_locally(
            picture.read_bytes(),
            parameters,
            path,
            model=model or model_of(settings),
            revision=settings.revision,
            on_stage=on_stage,
        )
    return {"path": str(path), "recipe": recipe, "warnings": warnings}


def _progress() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
    )
    return Progress(*columns, TimeElapsedColumn(), console=err, transient=True)


def _show(progress: Progress, task: TaskID, video: Video) -> None:
    text = str(video["stage"] or video["status"]).replace("_", " ")
    if video["queue_position"]:
        text += f", place {video['queue_position']}"
    if video["stage"] == "denoising":
        text += f" {video['step']}/{video['steps']}"
    if video["eta_s"] is not None:
        text += f", {video['eta_s']:.0f} s left"
    progress.update(task, description=text, completed=video["progress"])
