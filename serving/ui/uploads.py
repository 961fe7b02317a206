"""What visitors left with the page: the only files that its controls take, whatever a request names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr


def take_uploads_alone(blocks: gr.Blocks) -> None:
    """A page that is mounted, and not launched, would read any path on its machine, and fetch any URL, for anybody."""
    blocks.has_launched = True  # from here on Gradio checks paths
    for block in blocks.blocks.values():
        move = block.async_move_resource_to_block_cache
        block.async_move_resource_to_block_cache = partial(_moved, move)  # type: ignore[method-assign]


async def _moved(move: Callable[[Any], Awaitable[str | None]], path: str | Path | None) -> str | None:
    if path is not None and "://" in str(path):
        raise gr.Error("Send the file itself.", print_exception=False)
    return await move(path)


def uploaded(picture: str | None) -> Path | None:
    """The file; None where there is none, and where it is gone, as uploads are not kept for ever."""
    return Path(picture) if picture is not None and Path(picture).is_file() else None
