"""A product sheet, or a folder of pictures, as rows: what is asked of each picture. Knows nothing of the service."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.errors import I2VError, InvalidParameter
from serving.prompts.composing import laid_over
from serving.request import VideoParameters

PICTURE, NAME, SKU = "picture", "name", "sku"
PROMPT, TEMPLATE, TITLE, CATEGORY = "prompt", "template", "title", "category"
NOTE = "meta."
"""Begins the columns that come back with the video: "meta.shelf" is `metadata[shelf]`."""
FIELDS = frozenset(VideoParameters.model_fields) - {PROMPT, "metadata"}
COLUMNS = frozenset({PICTURE, NAME, SKU, PROMPT, TEMPLATE, TITLE, CATEGORY}) | FIELDS
SHEETS = (".csv", ".jsonl")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".avif")
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


def read_rows(source: Path, defaults: Defaults) -> tuple[list[Row], list[Problem]]:
    """The rows of a folder, a CSV or a JSONL, and those that are none.

    Raises:
        InvalidParameter: `source` is none of these, cannot be read, or names an unknown column.
    """
    rows: list[Row] = []
    problems: list[Problem] = []
    taken: dict[str, int] = {}
    for number, read in _records(source):
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


_Read = Callable[[], dict[str, Any]]
_Records = Iterator[tuple[int, _Read]]


def _records(source: Path) -> _Records:
    """Each row's number, and what gives its cells or raises InvalidParameter."""
    suffix = source.suffix.lower()
    try:
        if source.is_dir():
            yield from _from_folder(source)
        elif suffix == ".csv":
            yield from _from_csv(source.read_text("utf-8-sig"))
        elif suffix == ".jsonl":
            yield from _from_jsonl(source.read_text("utf-8-sig"))
        else:
            raise InvalidParameter(f"{source}: give a folder, or a sheet ({', '.join(SHEETS)}).", param="source")
    except UnicodeDecodeError:
        raise InvalidParameter(f"{source}: is not UTF-8; save it as such.", param="source") from None
    except (OSError, csv.Error) as error:
        raise InvalidParameter(f"{source}: cannot be read: {error}.", param="source") from None


def _from_folder(folder: Path) -> _Records:
    """One row a picture; a text file of its name holds its prompt, and its name's words are its title."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.is_file())
    stems = [path.stem for path in found]
    for number, path in enumerate(found, 1):
        beside = path.with_suffix(".txt")
        cells = {
            PICTURE: path.name,
            NAME: path.stem if stems.count(path.stem) == 1 else path.name,
            PROMPT: beside.read_text("utf-8-sig").strip() if beside.is_file() else None,
            TITLE: re.sub(r"[\W_]+", " ", path.stem),
        }
        yield number, lambda cells=cells: cells  # type: ignore[misc]


def _from_csv(text: str) -> _Records:
    head = text.partition("\n")[0]
    # Spreadsheets of many countries write ";" where the comma is their decimal point.
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = [cell.strip() for cell in next(reader, [])]
    while header and not header[-1]:
        header.pop()
    _check_columns(header, "source")
    for number, cells in enumerate(reader, 2):
        if any(cell.strip() for cell in cells):
            yield number, lambda cells=cells: _named(header, cells)  # type: ignore[misc]


def _named(header: list[str], cells: list[str]) -> dict[str, Any]:
    if any(cell.strip() for cell in cells[len(header) :]):
        raise InvalidParameter(f"There are {len(cells)} cells under {len(header)} columns; quote those with commas.")
    return dict(zip(header, cells, strict=False))


def _from_jsonl(text: str) -> _Records:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, lambda line=line: _parsed(line)  # type: ignore[misc]


def _parsed(line: str) -> dict[str, Any]:
    try:
        cells = json.loads(line, object_pairs_hook=_pairs)
    except (ValueError, RecursionError) as error:
        raise InvalidParameter(f"The line is not JSON: {error}.") from None
    if not isinstance(cells, dict):
        raise InvalidParameter("The line is not a JSON object.")
    notes = cells.pop("metadata", None) or {}
    if not isinstance(notes, dict):
        raise InvalidParameter("metadata: give an object.", param="metadata")
    cells |= {f"{NOTE}{name}": value for name, value in notes.items()}
    _check_columns(list(cells), None)
    return cells


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _check_unique([name for name, _ in pairs])
    return dict(pairs)


def _check_columns(names: list[str], param: str | None) -> None:
    _check_unique(names)
    for name in names:
        if name not in COLUMNS and not (name.startswith(NOTE) and len(name) > len(NOTE)):
            known = ", ".join(sorted(COLUMNS))
            raise InvalidParameter(
                f"{name[:100]}: unknown column; known are {known}, and {NOTE}NAME for notes of your own.",
                param=param or name[:100],
            )


def _check_unique(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidParameter(f"{name[:100]}: given twice.", param=name[:100])
        seen.add(name)


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
    if value is None or isinstance(value, str):
        return value.strip() if value else None
    if isinstance(value, bool) or not isinstance(value, int | float | list):
        raise InvalidParameter(f"{name[:100]}: {json.dumps(value)[:100]} given; give text or a number.", param=name)
    if isinstance(value, list):
        if name != "acceleration" or not all(isinstance(item, str) for item in value):
            raise InvalidParameter(f"{name[:100]}: a list given; give one value.", param=name)
        return ",".join(value)
    return str(value)
