"""`i2v reproduce`: a clip made again by its own recipe, and the difference."""

from __future__ import annotations

import json
import math
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from serving.client import ApiError, Client, api_key, default_server
from serving.clip import read_frames, read_recipe
from serving.comparing import CODEC_DB, FrameDifference, Verdict, compare_frames, compare_recipes, verdict
from serving.console import AsJson, err, fail, out
from serving.errors import I2VError, InvalidParameter, VideoExpired, VideoNotFound
from serving.following import generate_at, obtain, progress_bar
from serving.parameters import VideoParameters


class Exit(IntEnum):
    SAME = 0
    DIFFERENT = 1
    NOT_MADE = 2
    """There is nothing to compare."""


def reproduce(
    clip: Annotated[Path, typer.Argument(help="The clip, with its recipe inside, or beside as .json.", exists=True)],
    picture: Annotated[
        Path | None, typer.Option(help="Its still; by default the one that the service keeps.", exists=True)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where the new clip goes; NAME.again.SUFFIX by default.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="Worst frame's PSNR, dB, from which clips count as equal.")
    ] = CODEC_DB,
    local: Annotated[bool, typer.Option("--local", help="Generate in this process; needs --picture.")] = False,
    model: Annotated[
        str | None, typer.Option(help="With --local: hub name, folder or builtin; the recipe's by default.")
    ] = None,
    server: Annotated[str | None, typer.Option(help="The service's address; I2V_SERVER, else this machine.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make CLIP again by its recipe and say how far the two are apart.

    Exit code 0: identical, or equal within the tolerance; 1: different; 2: it could not be made.
    """
    path = output or clip.with_name(f"{clip.stem}.again{clip.suffix}")
    try:
        recipe = recipe_of(clip)
        before = read_frames(clip)
        if local:
            made = _made_here(recipe, picture, path, model)
        else:
            with Client(server or default_server(), api_key()) as client:
                made = _made_at(client, recipe, picture, path)
        told = compared(before, recipe, path, made, tolerance)
    except (ApiError, I2VError) as error:
        message, code, param = str(error), error.code, error.param
        raise fail(message, code=code, param=param, as_json=as_json, exit_code=Exit.NOT_MADE) from None
    except OSError as error:
        message = str(error)
        raise fail(message, code="file_error", param=None, as_json=as_json, exit_code=Exit.NOT_MADE) from None
    if as_json:
        out.print_json(json.dumps(told))
    else:
        _show(told)
    if told["verdict"] == Verdict.DIFFERENT:
        raise typer.Exit(Exit.DIFFERENT)


def recipe_of(clip: Path) -> dict[str, Any]:
    """The recipe in the clip, else in the JSON beside it.

    Raises:
        InvalidParameter: there is none.
    """
    recipe = read_recipe(clip)
    beside = clip.with_suffix(".json")
    if recipe is None and beside.is_file():
        try:
            recipe = json.loads(beside.read_text())
        except ValueError:
            recipe = None
    if not isinstance(recipe, dict) or not isinstance(recipe.get("parameters"), dict):
        raise InvalidParameter(f"clip: {clip.name} carries no recipe, and {beside.name} holds none.", param="clip")
    return recipe


def fields_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """A submission's fields by the API's names: every value as it was decided.

    Raises:
        InvalidParameter: a parameter is of another version of this software.
    """
    given = {name: value for name, value in recipe["parameters"].items() if value is not None}
    # The size says what the resolution was, and each parameter what the preset was.
    given.pop("preset", None)
    if "width" in given and "height" in given:
        given["size"] = f"{given.pop('width')}x{given.pop('height')}"
    for name in given:
        if name not in VideoParameters.model_fields:
            raise InvalidParameter(f"{name}: in the recipe, and unknown here; it is of another version.", param=name)
    return given


def compared(
    before: Any, recipe: dict[str, Any], path: Path, made: dict[str, Any], tolerance_db: float
) -> dict[str, Any]:
    """What is reported: the verdict, each frame's distance, and what of the recipes differs."""
    frames: list[FrameDifference] = []
    try:
        frames = compare_frames(before, read_frames(path))
        found, reason = verdict(frames, tolerance_db), None
    except ValueError as error:
        found, reason = Verdict.DIFFERENT, str(error)
    return {
        "verdict": found,
        "reason": reason,
        "tolerance_db": tolerance_db,
        "psnr_db": _finite(min((frame.psnr_db for frame in frames), default=math.inf)),
        "levels": max((frame.levels for frame in frames), default=None),
        "frames": [{"psnr_db": _finite(frame.psnr_db), "levels": frame.levels} for frame in frames],
        "differences": [vars(one) for one in compare_recipes(recipe, made)],
        "path": str(path),
    }


def _made_at(client: Client, recipe: dict[str, Any], picture: Path | None, path: Path) -> dict[str, Any]:
    """The recipe of the clip that a service made at `path`."""
    if picture is not None:
        made = generate_at(client, picture, fields_of(recipe), path)
    else:
        made = obtain(client, _again(client, recipe), path)
    found: dict[str, Any] = made["recipe"]
    return found


def _again(client: Client, recipe: dict[str, Any]) -> dict[str, Any]:
    """The same picture, parameters and seed, as the service keeps them."""
    way_out = "give its still with --picture"
    if recipe.get("id") is None:
        raise InvalidParameter(f"picture: the clip was made without a service; {way_out}.", param="picture")
    try:
        return client.remix(recipe["id"], recipe["parameters"]["prompt"])
    except ApiError as error:
        if error.code in (VideoNotFound.code, VideoExpired.code):
            message = f"picture: this service does not keep that of {recipe['id']}; {way_out}."
            raise ApiError(message, code=error.code, param="picture") from None
        raise


def _made_here(recipe: dict[str, Any], picture: Path | None, path: Path, model: str | None) -> dict[str, Any]:
    """The recipe of the clip that this process made at `path`, by the very weights where they have a revision."""
    if picture is None:
        raise InvalidParameter("picture: is needed with --local.", param="picture")
    fields = fields_of(recipe)
    del fields["model"]
    from serving.local import generate_locally

    source = recipe["model"]
    hashed = model is not None or source["revision"].startswith("sha256:")
    with progress_bar() as progress:
        task = progress.add_task("preprocessing", total=None)
        made, _, _ = generate_locally(
            picture.read_bytes(),
            VideoParameters(**fields),
            path,
            model=model or source["source"],
            revision=None if hashed else source["revision"],
            on_stage=lambda stage, step, steps: progress.update(
                task, description=stage, completed=step, total=steps or None
            ),
        )
    found: dict[str, Any] = json.loads(json.dumps(made))  # as it is read from a file
    return found


def _finite(value: float) -> float | None:
    """JSON has no infinity: None says that there is no difference."""
    return value if math.isfinite(value) else None


def _show(told: dict[str, Any]) -> None:
    near = "" if told["psnr_db"] is None else f", worst frame {told['psnr_db']:g} dB, {told['levels']} of 255 levels"
    out.print(f"{told['verdict']}{near}", highlight=False)
    if told["reason"] is not None:
        out.print(told["reason"], highlight=False, markup=False)
    if told["differences"]:
        table = Table("not the same", "before", "now")
        for row in told["differences"]:
            table.add_row(row["name"], str(row["before"]), str(row["now"]))
        out.print(table)
    err.print(told["path"], soft_wrap=True, markup=False)
