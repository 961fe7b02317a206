"""The cells of a product sheet, or of a folder of pictures, by the names of their columns."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from serving.errors import InvalidParameter
from serving.parameters import VideoParameters

PICTURE, NAME, SKU = "picture", "name", "sku"
PROMPT, TEMPLATE, TITLE, CATEGORY = "prompt", "template", "title", "category"
NOTE = "meta."
"""Begins the columns that come back with the video: "meta.shelf" is `metadata[shelf]`."""
FIELDS = frozenset(VideoParameters.model_fields) - {PROMPT, "metadata"}
COLUMNS = frozenset({PICTURE, NAME, SKU, PROMPT, TEMPLATE, TITLE, CATEGORY}) | FIELDS
SHEETS = (".csv", ".jsonl")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".avif")

Read = Callable[[], dict[str, Any]]
Records = Iterator[tuple[int, Read]]


def records(source: Path) -> Records:
    """Each row's number, and what gives its cells or raises InvalidParameter.

    Raises:
        InvalidParameter: `source` is no such thing, cannot be read, or names an unknown column.
    """
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


def _from_folder(folder: Path) -> Records:
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


def _from_csv(text: str) -> Records:
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


def _from_jsonl(text: str) -> Records:
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
