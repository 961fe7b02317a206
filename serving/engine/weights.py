"""Where a model's weights are, whether they are whole, and the modules they fill.

A model setting is "builtin", a folder in the diffusers layout, a hub name such as "ali-vilab/i2vgen-xl", or
"random-i2vgen-xl" (the full architecture with random weights, for benchmarks alone). Only safetensors files are read.
Knows nothing of requests, prompts or the denoising loop.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import diffusers
import huggingface_hub
import torch
import transformers

from serving.engine import layout, random_weights
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


@dataclass(frozen=True)
class Modules:
    """A loaded model: each part on its device, in evaluation mode, without gradients."""

    tokenizer: Any
    text_encoder: Any
    image_encoder: Any
    feature_extractor: Any
    vae: Any
    unet: Any
    scheduler: Any
    """As loaded; a request steps a copy, never this one."""

    @property
    def latent_factor(self) -> int:
        """Pixels a latent cell spans along one side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))


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
        raise _unavailable(model, "there is no such folder, and it is not a hub name such as owner/name")
    folder = _from_hub(model, revision, download)
    return Weights(model, folder, folder.name, read_profile(folder))


def default_dtype(device: torch.device | str) -> torch.dtype:
    """float16 on CUDA, where the weights were published for it; float32 elsewhere."""
    return torch.float16 if torch.device(device).type == "cuda" else torch.float32


def load(weights: Weights, device: torch.device | str, dtype: torch.dtype) -> Modules:
    """Read every part onto `device` in `dtype`, whatever the files' own dtype is.

    Raises:
        WeightsUnavailable: a file does not fit its configuration.
        torch.OutOfMemoryError: the card cannot hold the weights.
    """
    # A service's log has no use for a bar for each file.
    transformers.utils.logging.disable_progress_bar()
    if weights.folder is None:
        parts = random_weights.build(random_weights.I2VGEN_XL, device)
    else:
        parts = {}
        for part in fields(Modules):
            try:
                parts[part.name] = _read(weights.folder, part.name, dtype)
            # The libraries raise OSError, ValueError, KeyError, RuntimeError and their own for a bad file.
            except Exception as error:
                raise _unavailable(weights.name, f"{part.name} does not load: {error}") from error
    for value in parts.values():
        if isinstance(value, torch.nn.Module):
            # torch's own `to`: that of diffusers warns of every cast.
            torch.nn.Module.to(value, device=device, dtype=dtype).eval().requires_grad_(False)
    return Modules(**parts)


def _read(folder: Path, part: str, dtype: torch.dtype) -> Any:
    if part == "tokenizer":
        return transformers.CLIPTokenizer.from_pretrained(folder / part, local_files_only=True)
    if part == "feature_extractor":
        # Only its numbers are used, and CLIPImageProcessor warns wherever torchvision is not installed.
        kind = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
        return kind.from_pretrained(folder / part, local_files_only=True)
    name = layout.class_names(folder)[part]
    if part == "scheduler":
        return getattr(diffusers, name).from_pretrained(folder / part, local_files_only=True)
    half = ".fp16." in layout.weight_file(part, layout.files_in(folder))
    library, keyword = (diffusers, "torch_dtype") if part in ("vae", "unet") else (transformers, "dtype")
    module, info = getattr(library, name).from_pretrained(
        folder / part,
        variant="fp16" if half else None,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        **{keyword: dtype},
    )
    # Both libraries fill what a file lacks with random numbers and say so in a log line only.
    if info["missing_keys"]:
        raise ValueError(f"its file lacks {', '.join(sorted(info['missing_keys'])[:3])}")
    return module


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
        raise _unavailable(name, *faults)
    try:
        listing = huggingface_hub.HfApi().model_info(name, revision=revision)
        files = sorted(layout.needed({file.rfilename for file in listing.siblings}))
        folder = Path(huggingface_hub.snapshot_download(name, revision=listing.sha, allow_patterns=files))
    # The client's errors are its own, the HTTP library's and OSError, and change between its releases.
    except Exception as error:
        raise _unavailable(name, *faults, f"the hub did not give it: {' '.join(str(error).split())}") from error
    _require_whole(name, folder)
    return folder


def _require_whole(name: str, folder: Path) -> None:
    faults = layout.faults_in(folder)
    if faults:
        raise _unavailable(name, *faults)


def _unavailable(name: str, *faults: str) -> WeightsUnavailable:
    return WeightsUnavailable(f"The weights of {name!r} cannot be used: {'; '.join(faults)}. {TWO_WAYS}")
