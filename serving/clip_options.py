"""The options of every command that asks for a clip, written once. Knows nothing of the commands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

FIELDS = "fields"
"""The parameter of a command that stands for all of them."""
Fields = dict[str, Any]
"""Their values by the API's names; None where not given."""


def _clip(
    *,
    model: Annotated[
        str | None, typer.Option(help="Model of the service; with --local a hub name, folder or builtin.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="preview, standard, high or extreme.")] = None,
    resolution: Annotated[str | None, typer.Option(help="Area class, such as 512p.")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels, instead of --resolution.")] = None,
    aspect_ratio: Annotated[str | None, typer.Option(help="WIDTH:HEIGHT; the picture's own by default.")] = None,
    fit: Annotated[str | None, typer.Option(help="crop (default) or pad.")] = None,
    focus: Annotated[str | None, typer.Option(help="What a crop keeps: auto (the subject) or center.")] = None,
    background: Annotated[
        str | None, typer.Option(help="What padding shows: a colour such as #ffffff, edge or blur.")
    ] = None,
    num_frames: Annotated[int | None, typer.Option(help="Frames in the clip, or in each of its parts.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Length, instead of --num-frames.")] = None,
    fps: Annotated[int | None, typer.Option(help="Frames a second.")] = None,
    num_inference_steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="Guidance; 1.0 turns it off.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What should not appear.")] = None,
    seed: Annotated[int | None, typer.Option(help="0 to 2**63 - 1; random by default.")] = None,
    acceleration: Annotated[
        str | None, typer.Option(help="Faster, and not the exact clip: names with commas between; none by default.")
    ] = None,
    segments: Annotated[
        int | None, typer.Option(help="Parts, up to 8, each begun with the last frame of the one before.")
    ] = None,
    angles: Annotated[
        list[str] | None,
        typer.Option("--angle", help="What one of 2 to 6 parts adds to the prompt, each begun with the picture."),
    ] = None,
    loop: Annotated[str | None, typer.Option(help="none (default), or pingpong: forward, then backward.")] = None,
    format: Annotated[str | None, typer.Option(help="mp4, webm or gif; by the output's suffix by default.")] = None,
    deadline: Annotated[float | None, typer.Option(help="Seconds from now by which the clip is wanted.")] = None,
) -> None:
    """Its parameters are the options."""


def asks_for_a_clip(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` the options in place of its parameter `fields`, which it is called with instead."""
    options = inspect.signature(_clip).parameters

    @functools.wraps(command)
    def with_options(**given: Any) -> None:
        command(fields={name: given.pop(name) for name in options}, **given)

    hints = get_type_hints(command, include_extras=True) | get_type_hints(_clip, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        parameters += options.values() if parameter.name == FIELDS else [parameter]
    with_options.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [one.replace(kind=one.KEYWORD_ONLY, annotation=hints[one.name]) for one in parameters]
    )
    with_options.__annotations__ = {one.name: hints[one.name] for one in parameters}
    return with_options
