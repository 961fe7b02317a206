"""The recipe of a clip: everything needed to make it again, and how it went. Knows nothing of jobs or files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from serving.request import VideoRequest

LIBRARIES = ("i2v-serve", "torch", "diffusers", "transformers")


def make_recipe(
    request: VideoRequest,
    *,
    picture: bytes,
    model: str,
    revision: str,
    card: str,
    dtype: str,
    kernels: str,
    scheduler: str,
    timings_s: Mapping[str, float],
    video_id: str | None = None,
    attempt: int = 1,
) -> dict[str, Any]:
    """The recipe as a JSON object.

    Args:
        picture: the conditioning picture as it was stored; its SHA-256 goes in.
        model: hub name, folder name or "builtin", with its `revision`: a commit, or a hash of the weights.
        card: the card's name as its driver gives it.
        kernels: which implementation of the UNet's kernels ran: "triton" or "torch".
        scheduler: the class of the model's own; an acceleration among the parameters may have replaced it.
        timings_s: seconds by stage.
    """
    return {
        "id": video_id,
        "parameters": request.model_dump(exclude={"metadata", "priority", "deadline_s"}),
        "picture_sha256": hashlib.sha256(picture).hexdigest(),
        "model": {"source": model, "revision": revision, "dtype": dtype, "scheduler": scheduler},
        "card": card,
        "kernels": kernels,
        "versions": versions(),
        "timings_s": {stage: round(seconds, 3) for stage, seconds in timings_s.items()},
        "attempt": attempt,
    }


def versions() -> dict[str, str]:
    """What renders here: each installed library and its version."""
    return {name: found for name in LIBRARIES if (found := _version(name)) is not None}


@cache  # a card waits for the recipe, and a version is looked up on disk
def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
