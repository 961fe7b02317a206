"""A product sheet, or a folder of pictures, as rows: what is asked of each picture. Knows nothing of the service."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.batch.records import CATEGORY, FIELDS, NAME, NOTE, PICTURE, PROMPT, SKU, TEMPLATE, TITLE, records
from serving.errors import I2VError, InvalidParameter
from serving.parameters import as_text
from serving.prompts.composing import laid_over

ANGLES = "angles"
LISTS = ("acceleration", ANGLES)
"""Fields of several values: a list in JSON; in a cell accelerations with commas, angles with "|" or lines between."""
MAX_NAME_CHARACTERS = 60

Fields = Mapping[str, str]
"""A submission's form fields, without the picture and the prompt."""


@dataclass(frozen=True)
class Defaults:
    """What is asked of rows that do not say otherwise."""

    prompt: str | None = None
    template: str | None = None
    category: str | None = None
    fields: Fields = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One picture, and what is asked of it: a prompt, or what a prompt can be composed from."""

    number: int
    """As a spreadsheet counts: the header of a CSV is row 1."""
    name: str
    """Fit to be a file's name, and no other row's."""
    picture: str
    """A path, or a URL as given."""
    prompt: str | None
    template: str | None
    title: str | None
    category: str | None
    fields: Fields

    @property
    def url(self) -> str | None:
        """The picture's address, where it is no file."""
        return self.picture if self.picture.startswith(("http://", "https://", "data:")) else None


@dataclass(frozen=True)
class Problem:
    """Why a row cannot be submitted."""

    row: int
    message: str
    code: str = InvalidParameter.code
    param: str | None = None
    name: str | None = None
    """The row's, where it could be read so far: nobody counts the pictures of a folder."""

    @property
    def where(self) -> str:
        return f"row {self.row}" if self.name is None else f"row {self.row} ({self.name})"


def read_rows(source: Path, defaults: Defaults) -> tuple[list[Row], list[Problem]]:
    """The rows of a folder, a CSV or a JSONL, and those that are none.

    Raises:
        InvalidParameter: `source` is none of these, cannot be read, or names an unknown column.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    taken: dict[str, int] = {}
    for number, read in records(source):
        try:
            row = _row(number, read(), source if source.is_dir() else source.parent, defaults)
            before = taken.setdefault(row.name.casefold(), number)
            if before != number:
                message = f"{row.name!r} is row {before}'s too; add a column {NAME}"
                raise InvalidParameter(f"{NAME}: {message}.", param=NAME)
            rows.append(row)
        except I2VError as error:
            problems.append(Problem(number, error.message, error.code, error.param))
    if not rows and not problems:
        raise InvalidParameter(f"{source}: holds no rows.", param="source")
    return rows, problems


def file_name(name: str) -> str:
    """`name` as it can stand in a file's name: letters, digits, "_", "." and "-".

    Raises:
        InvalidParameter: nothing is left, or it is too long.
    """
    plain = re.sub(r"[^\w.-]+", "-", unicodedata.normalize("NFC", name.strip())).strip("-.")
    if not plain or len(plain) > MAX_NAME_CHARACTERS:
        allowed = f"1 to {MAX_NAME_CHARACTERS} letters, digits, '_', '.' and '-'"
        raise InvalidParameter(f"{NAME}: {name[:100]!r} given; allowed: {allowed}.", param=NAME)
    return plain


def _row(number: int, cells: Mapping[str, Any], base: Path, defaults: Defaults) -> Row:
    given = {name: text for name, value in cells.items() if (text := _text(name, value))}
    if NAME in given and SKU in given:
        raise InvalidParameter(f"{NAME}: cannot be given together with {SKU}.", param=NAME)
    picture = given.get(PICTURE)
    if picture is None:
        raise InvalidParameter(f"{PICTURE}: is missing; give a path from the sheet's folder, or a URL.", param=PICTURE)
    if "://" not in picture and not picture.startswith("data:"):
        picture = str(base / picture)
    name = given.get(NAME) or given.get(SKU)
    if name is None:
        if picture.startswith("data:"):
            raise InvalidParameter(f"{NAME}: is missing; a data URL has none of its own.", param=NAME)
        name = Path(picture.split("?")[0]).stem
    fields = {f: text for f, text in given.items() if f in FIELDS}
    notes = {f"metadata[{f[len(NOTE) :]}]": text for f, text in given.items() if f.startswith(NOTE)}
    prompt, template, category = _wording(given, defaults)
    return Row(
        number=number,
        name=file_name(name),
        picture=picture,
        prompt=prompt,
        template=template,
        title=given.get(TITLE) if prompt is None else None,
        category=category,
        fields=laid_over(defaults.fields, fields | notes),
    )


def _wording(given: Mapping[str, str], defaults: Defaults) -> tuple[str | None, str | None, str | None]:
    """Prompt, template and category: the row's own, and only where it says nothing the defaults."""
    prompt, template, category = (given.get(name) for name in (PROMPT, TEMPLATE, CATEGORY))
    if prompt is not None and template is not None:
        raise InvalidParameter(f"{TEMPLATE}: cannot be given together with {PROMPT}.", param=TEMPLATE)
    if prompt is not None:
        return prompt, None, None
    if template is None and (category is None or TITLE not in given):
        if defaults.prompt is not None:
            return defaults.prompt, None, None
        template = defaults.template
        category = None if template is not None else category or defaults.category
    if template is None and category is None:
        message = f"is missing; give it, or a {TITLE} with a {CATEGORY} or a {TEMPLATE}"
        raise InvalidParameter(f"{PROMPT}: {message}.", param=PROMPT)
    if TITLE not in given:
        raise InvalidParameter(f"{TITLE}: is missing; a prompt is written about it.", param=TITLE)
    return None, template, category


def _text(name: str, value: object) -> str | None:
    """A cell as a form's field; None where there is nothing in it."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        return as_text(name, _lines(text)) if name == ANGLES and text and not text.startswith("[") else text or None
    if isinstance(value, bool) or not isinstance(value, int | float | list):
        raise InvalidParameter(f"{name[:100]}: {json.dumps(value)[:100]} given; give text or a number.", param=name)
    if isinstance(value, list):
        if name not in LISTS or not all(isinstance(item, str) for item in value):
            raise InvalidParameter(f"{name[:100]}: a list given; give one value.", param=name)
        return as_text(name, value) if value else None
    return str(value)


def _lines(text: str) -> list[str]:
    return [line for part in re.split(r"[|\n]", text) if (line := part.strip())]
