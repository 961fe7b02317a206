"""What can be known of a row before anything is submitted: its picture opens, its fields are legal, what it will cost.

Knows nothing of manifests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.batch.records import CATEGORY, PICTURE, PROMPT, TEMPLATE, TITLE
from serving.batch.sheet import Problem, Row
from serving.batch.wire import Wire
from serving.client import LOST, REFUSED, ApiError
from serving.errors import I2VError, InvalidApiKey
from serving.preprocessing import upright_size
from serving.presets import ASPECT_LIMIT
from serving.prompts.composing import laid_over

AT_ONCE = 4
HOPELESS = (REFUSED, LOST, InvalidApiKey.code, "invalid_server")
"""What concerns every row, and not one alone."""
_UNSEEN = "picture_not_seen"


@dataclass(frozen=True)
class CheckedRow:
    """A row that would be taken, as it stands."""

    row: Row
    prompt: str
    fields: dict[str, str]
    """Its form's, without picture, prompt and seed."""
    gpu_seconds: float
    """Expected of one clip."""
    finishes_in_s: float
    """Of one clip, submitted now."""
    warnings: tuple[dict[str, Any], ...]


async def check(wire: Wire, rows: Iterable[Row], tell: Callable[[], object]) -> list[CheckedRow | Problem]:
    """Every row in turn; nothing is queued.

    Args:
        tell: told of every row that has been checked.

    Raises:
        ApiError: the service cannot be asked.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def one(row: Row) -> CheckedRow | Problem:
        async with room:
            found = await _checked(wire, row)
            tell()
            return found

    return list(await asyncio.gather(*(one(row) for row in rows)))


async def _checked(wire: Wire, row: Row) -> CheckedRow | Problem:
    try:
        size = None if row.url is not None else await asyncio.to_thread(_size_of, row.picture)
        usual: dict[str, Any] = {PROMPT: row.prompt}
        if row.prompt is None:
            asked = {TITLE: row.title, CATEGORY: row.category, TEMPLATE: row.template, "model": row.fields.get("model")}
            written = await wire.compose(asked)
            usual = {PROMPT: written["prompt"], "negative_prompt": written["negative_prompt"], **written["parameters"]}
        fields = {name: str(value) for name, value in laid_over(usual, row.fields).items()}
        if size is not None and not {"size", "aspect_ratio"} & fields.keys():
            quote = await wire.quote({**fields, "aspect_ratio": _aspect(*size)})
        else:
            quote = await wire.quote(fields, row.url)
    except ApiError as error:
        if error.code in HOPELESS:
            raise
        return Problem(row.number, str(error), error.code, error.param, row.name)
    except I2VError as error:
        return Problem(row.number, error.message, error.code, error.param, row.name)
    except OSError as error:
        message = f"picture: {row.picture} cannot be read: {error.strerror}."
        return Problem(row.number, message, param=PICTURE, name=row.name)
    fields.pop("seed", None)
    return CheckedRow(
        row=row,
        prompt=fields.pop(PROMPT),
        fields=fields,
        gpu_seconds=quote["gpu_seconds"],
        finishes_in_s=quote["finishes_in_s"],
        warnings=tuple(warning for warning in quote["warnings"] if warning["code"] != _UNSEEN),
    )


def _size_of(path: str) -> tuple[int, int]:
    return upright_size(Path(path).read_bytes())


def _aspect(width: int, height: int) -> str:
    """The picture's, as far as a clip can have it."""
    share = min(max(width / height, 1 / ASPECT_LIMIT), ASPECT_LIMIT)
    return f"{round(share * 1000)}:1000"
