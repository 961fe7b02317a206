"""Quotes for visitors who are still typing: a picture is sent once for each way it is framed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.client import Quote
from serving.remote_picture import FIELD
from serving.ui.api import Api, Row

FRAMING = ("model", "preset", "resolution", "aspect_ratio", "fit", "focus", "background")
"""The fields by which, together with the picture, a clip's size and the warnings of the picture are decided."""
BY_SIZE = ("resolution", "aspect_ratio")
"""Those that a size stands for."""
SQUARE = "1:1"
MOST = 1000


@dataclass(frozen=True)
class Seen:
    """What the service made of a picture."""

    size: str
    warnings: tuple[Row, ...]


class Quotes:
    """Quotes, and what was seen of pictures in them; use from one event loop."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[Any, ...], Seen] = OrderedDict()

    async def quote(self, api: Api, picture: Path | None, fields: Mapping[str, Any]) -> Quote:
        """The same as with the picture each time; of a square one where there is none yet.

        Raises:
            ApiError: the service refuses, or cannot be reached.
        """
        if picture is None:
            return await api.quote(None, {"aspect_ratio": SQUARE, **fields})
        key = (picture, *(fields.get(name) for name in FRAMING))
        seen = self._seen.get(key)
        if seen is None:
            found = await api.quote(picture, fields)
            about = tuple(row for row in found["warnings"] if row["field"] == FIELD)
            self._seen[key] = Seen(found["size"], about)
            if len(self._seen) > MOST:
                self._seen.popitem(last=False)
            return found
        rest = {name: value for name, value in fields.items() if name not in BY_SIZE}
        found = await api.quote(None, rest | {"size": seen.size})
        others = [row for row in found["warnings"] if row["field"] != FIELD]
        return found | {"warnings": [*seen.warnings, *others]}
