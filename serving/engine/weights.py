"""Where a model's weights are, and whether they are whole.

A model setting is "builtin", a folder in the diffusers layout, a hub name such as "ali-vilab/i2vgen-xl", or
"random-i2vgen-xl" (the full architecture with random weights, for benchmarks alone). Only safetensors files are read.
Knows nothing of PyTorch: what looks for them alone need not wait for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub

from serving.engine import layout
from serving.errors import WeightsUnavailable
from serving.presets import BUILTIN, BUILTIN_FOLDER, PUBLISHED, RANDOM, ModelProfile, profile_for, read_profile

RANDOM_REVISION = "random-weights"

TWO_WAYS = (
    f"There are two ways to get the published weights: with network access, set I2V_MODEL={PUBLISHED} and the hub "
    f"downloads them; or run `hf download {PUBLISHED} --local-dir DIR` where there is a network, bring DIR here and "
    "set I2V_MODEL=DIR."
)

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Weights:
    """One model's weights, found and checked, not yet loaded."""

    name: str
    """The model setting as given."""
    folder: Path | None
    """The diffusers layout; None for random weights."""
    revision: str
    """The hub's commit; "sha256:" and 12 hex digits over a local folder's weight files; or "random-weights"."""
    profile: ModelProfile


def locate(model: str, revision: str | None = None, *, download: bool = True) -> Weights:
    """Find the weights of a model setting and check that every file is there and whole, without loading them.

    A hub name is looked up in the hub's cache first and used from there when it is complete; `download=False` looks
    nowhere else. A local folder's weight files are read once, to name their revision.

    Args:
        revision: a branch, tag or commit of a hub name; other settings ignore it.

    Raises:
        WeightsUnavailable: naming what is missing, and the ways to get the published weights.
    """
    if model == RANDOM:
        return Weights(model, None, RANDOM_REVISION, profile_for(RANDOM))
    folder = BUILTIN_FOLDER if model == BUILTIN else Path(model).expanduser()
    if model == BUILTIN or (model and folder.is_dir()):
        _require_whole(model, folder)
        return Weights(model, folder, layout.digest(folder), read_profile(folder))
    if not _HUB_NAME.fullmatch(model):
        raise unavailable(model, "there is no such folder, and it is not a hub name such as owner/name")
    folder = _from_hub(model, revision, download)
    return Weights(model, folder, folder.name, read_profile(folder))


def _from_hub(name: str, revision: str | None, download: bool) -> Path:
    try:
        cached = Path(huggingface_hub.snapshot_download(name, revision=revision, local_files_only=True))
        faults = layout.faults_in(cached)
    except (OSError, ValueError):  # not there; or not a name or revision the hub could have
        faults = ["nothing of it is in the hub's cache here"]
    else:
        if not faults:
            return cached
    if not download:
        raise unavailable(name, *faults)
    try:
        listing = huggingface_hub.HfApi().model_info(name, revision=revision)
        files = sorted(layout.needed({file.rfilename for file in listing.siblings}))
        folder = Path(huggingface_hub.snapshot_download(name, revision=listing.sha, allow_patterns=files))
    # The client's errors are its own, the HTTP library's and OSError, and change between its releases.
    except Exception as error:
        raise unavailable(name, *faults, f"the hub did not give it: {' '.join(str(error).split())}") from error
    _require_whole(name, folder)
    return folder


def _require_whole(name: str, folder: Path) -> None:
    faults = layout.faults_in(folder)
    if faults:
        raise unavailable(name, *faults)


def unavailable(name: str, *faults: str) -> WeightsUnavailable:
    """To be raised where the weights of a model setting have these faults."""
    return WeightsUnavailable(f"The weights of {name!r} cannot be used: {'; '.join(faults)}. {TWO_WAYS}")
