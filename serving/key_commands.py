"""`i2v keys`: create, list and revoke API keys, in the service's database itself. Knows nothing of HTTP or Ray."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from sqlalchemy import make_url

from serving.console import AsJson, err, fail, out
from serving.errors import ConfigurationInvalid, I2VError
from serving.jobs.keys import Key
from serving.jobs.store import JobStore, open_store
from serving.rates import parse_rate
from serving.settings import Settings, load_settings, read_config
from serving.webhooks import secret_of

keys = typer.Typer(no_args_is_help=True, help="API keys: who may use the service, and see which videos.")
Config = Annotated[Path, typer.Option(help="Deployment file, whose settings say which database.")]
Name = Annotated[str, typer.Argument(help="Whose key: letters, digits, '_', '.' and '-'.")]
CONFIG = Path("serve_config.yaml")


@keys.command()
def create(
    name: Name,
    rate: Annotated[str | None, typer.Option(help="Requests it may make, such as 60/minute.")] = None,
    daily_gpu_seconds: Annotated[
        float | None, typer.Option(min=1, help="GPU seconds its videos may have in a day (UTC).")
    ] = None,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once; from the first one on, no request is taken without a key."""
    with _opened(config, as_json) as (settings, store):
        if rate is not None:
            parse_rate(rate)
        key, token = store.keys.create(name, rate=rate, daily_gpu_s=daily_gpu_seconds)
    if as_json:
        out.print_json(json.dumps(_record(key) | {"key": token}))
        return
    err.print(f"{key.id}, in {_shown(settings)}. The key is shown this once:", soft_wrap=True)
    out.print(token, soft_wrap=True, highlight=False, markup=False)


@keys.command(name="webhook-secret")
def webhook_secret(name: Name, config: Config = CONFIG, as_json: AsJson = False) -> None:
    """Print what the webhooks of a key's videos are signed with; it follows from I2V_WEBHOOK_SECRET."""
    with _opened(config, as_json) as (settings, store):
        if settings.webhook_secret is None:
            raise ConfigurationInvalid("webhook_secret: is not set, so no webhooks are sent.")
        secret = secret_of(settings.webhook_secret, store.keys.named(name).id)
    if as_json:
        out.print_json(json.dumps({"name": name, "webhook_secret": secret}))
        return
    out.print(secret, soft_wrap=True, highlight=False, markup=False)


@keys.command(name="list")
def list_(config: Config = CONFIG, as_json: AsJson = False) -> None:
    """Show every key, the revoked ones too; never the tokens, which nobody has kept."""
    with _opened(config, as_json) as (settings, store):
        found, spent = store.keys.every(), store.spent_today()
    if as_json:
        out.print_json(json.dumps([_record(key) | {"gpu_seconds_today": spent.get(key.id, 0.0)} for key in found]))
        return
    columns = ("name", "id", "rate", "GPU seconds today", "created", "revoked")
    table = Table(*columns, title=f"API keys in {_shown(settings)}")
    for key in found:
        of = "" if key.daily_gpu_s is None else f" of {key.daily_gpu_s:.0f}"
        seconds = f"{spent.get(key.id, 0.0):.0f}{of}"
        table.add_row(key.name, key.id, key.rate, seconds, _moment(key.created_at), _moment(key.revoked_at))
    out.print(table)


@keys.command()
def revoke(name: Name, config: Config = CONFIG, as_json: AsJson = False) -> None:
    """End a key for good; the service lets it in for one more second at most."""
    with _opened(config, as_json) as (settings, store):
        key = store.keys.revoke(name)
    if as_json:
        out.print_json(json.dumps(_record(key)))
        return
    out.print(f"{key.name} ({key.id}) is revoked, in {_shown(settings)}", soft_wrap=True, highlight=False)


@contextmanager
def _opened(config: Path, as_json: bool) -> Iterator[tuple[Settings, JobStore]]:
    try:
        settings = load_settings(read_config(config))
        with closing(open_store(settings.database)) as store:
            yield settings, store
    except I2VError as error:
        raise fail(error.message, code=error.code, param=error.param, as_json=as_json) from None


def _shown(settings: Settings) -> str:
    """The database, without its password: a key in another one opens nothing here."""
    return make_url(settings.database).render_as_string(hide_password=True)


def _record(key: Key) -> dict[str, Any]:
    shown = ("id", "name", "created_at", "revoked_at", "rate", "daily_gpu_s")
    return {name: getattr(key, name) for name in shown}


def _moment(at: float | None) -> str:
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
