"""`i2v prompts`: templates, prompts from titles, and lint. Needs no service. Knows nothing of pictures."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from serving.console import AsJson, fail, out, warn
from serving.doctor import model_of
from serving.errors import I2VError
from serving.parameters import VideoParameters
from serving.presets import ModelProfile, profile_for
from serving.prompts.composing import templates_of, write
from serving.prompts.lint import lint
from serving.prompts.tokens import tokenizer_of
from serving.request import resolve
from serving.settings import load_settings

prompts = typer.Typer(no_args_is_help=True, help="Templates, prompts from titles, and what a prompt lacks.")

Model = Annotated[str | None, typer.Option(help="Hub name, folder or builtin; I2V_MODEL by default.")]


@prompts.command()
def templates(
    category: Annotated[str | None, typer.Option(help="Of this category alone.")] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """List the templates."""
    try:
        rows = [written.row() for written in templates_of(category, _profile(model)[1])]
    except I2VError as error:
        raise fail(error.message, code=error.code, param=error.param, as_json=as_json) from None
    if as_json:
        out.print_json(json.dumps(rows))
        return
    table = Table("template", "prompt", "parameters")
    for row in rows:
        table.add_row(
            row["template"], row["prompt"], " ".join(f"{name}={value}" for name, value in row["parameters"].items())
        )
    out.print(table)


@prompts.command("write")
def write_(
    title: Annotated[str, typer.Option(help="The product's title, in English.")],
    category: Annotated[str | None, typer.Option(help="Its category; not needed with --template.")] = None,
    template: Annotated[str | None, typer.Option(help="A template's name; by the title's words by default.")] = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Write a prompt for a product, with the parameters that suit it."""
    try:
        _, profile = _profile(model)
        written = write(title, category, profile, template)
    except I2VError as error:
        raise fail(error.message, code=error.code, param=error.param, as_json=as_json) from None
    if as_json:
        out.print_json(json.dumps(written.row()))
        return
    for name, value in written.fields().items():
        out.print(f"{name}: {value}", soft_wrap=True, highlight=False, markup=False)


@prompts.command("lint")
def lint_(
    prompt: Annotated[str, typer.Argument(help="What should move, and how, in English.")],
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Say what of PROMPT seldom gives a good clip; nothing to say is no output."""
    try:
        setting, profile = _profile(model)
        request = resolve(VideoParameters(prompt=prompt), profile, seed=0)
        found = [caution.model_dump() for caution in lint(request, profile, tokenizer_of(setting))]
    except I2VError as error:
        raise fail(error.message, code=error.code, param=error.param, as_json=as_json) from None
    if as_json:
        out.print_json(json.dumps(found))
    else:
        warn(found)


def _profile(model: str | None) -> tuple[str, ModelProfile]:
    """The model setting, and its profile."""
    setting = model or model_of(load_settings())
    return setting, profile_for(setting)
