"""Where a model's weights are, whether they are whole, and the modules they fill.

A model setting is "builtin", a folder in the diffusers layout, a hub name such as "ali-vilab/i2vgen-xl", or
"random-i2vgen-xl" (the full architecture with random weights, for benchmarks alone). Only safetensors files are read.
Knows nothing of requests, prompts or the denoising loop.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

import serving
from serving.engine import random_weights
from serving.errors import WeightsUnavailable
from serving.presets import I2VGEN_XL, PROFILE_FILE, ModelProfile, read_profile

PUBLISHED = "ali-vilab/i2vgen-xl"
BUILTIN = "builtin"
RANDOM = "random-i2vgen-xl"
RANDOM_REVISION = "random-weights"

TWO_WAYS = (
    f"There are two ways to get the published weights: with network access, set I2V_MODEL={PUBLISHED} and the hub "
    f"downloads them; or run `hf download {PUBLISHED} --local-dir DIR` where there is a network, bring DIR here and "
    "set I2V_MODEL=DIR."
)

_INDEX = "model_index.json"
_WEIGHTS = {
    "text_encoder": "model",
    "image_encoder": "model",
    "vae": "diffusion_pytorch_model",
    "unet": "diffusion_pytorch_model",
}
_SETTINGS = {
    "tokenizer": "tokenizer_config.json",
    "text_encoder": "config.json",
    "image_encoder": "config.json",
    "feature_extractor": "preprocessor_config.json",
    "vae": "config.json",
    "unet": "config.json",
    "scheduler": "scheduler_config.json",
}
_CLASSES = {
    "tokenizer": r"CLIPTokenizer(Fast)?",
    "text_encoder": r"CLIPTextModel",
    "image_encoder": r"CLIPVisionModelWithProjection",
    "feature_extractor": r"CLIP(ImageProcessor(Fast|Pil)?|FeatureExtractor)",
    "vae": r"AutoencoderKL",
    "unet": r"I2VGenXLUNet",
    "scheduler": r"\w+Scheduler",
}
_VOCABULARIES = ({"tokenizer/tokenizer.json"}, {"tokenizer/vocab.json", "tokenizer/merges.txt"})
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
        return Weights(model, None, RANDOM_REVISION, I2VGEN_XL.model_copy(update={"name": RANDOM}))
    if model == BUILTIN:
        folder = Path(serving.__file__).parent / "models" / "builtin"
    else:
        folder = Path(model).expanduser()
    if model == BUILTIN or folder.is_dir():
        _require_whole(model, folder)
        return Weights(model, folder, _digest(folder), read_profile(folder))
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
            except WeightsUnavailable:
                raise
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
        return transformers.CLIPTokenizer.from_pretrained(folder / part)
    if part == "feature_extractor":
        # Only its numbers are used, and CLIPImageProcessor warns wherever torchvision is not installed.
        kind = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
        return kind.from_pretrained(folder / part)
    name = json.loads((folder / _INDEX).read_text())[part][1]
    if part == "scheduler":
        return getattr(diffusers, name).from_pretrained(folder / part)
    diffusers_part = part in ("vae", "unet")
    module, info = getattr(diffusers if diffusers_part else transformers, name).from_pretrained(
        folder / part,
        variant="fp16" if (folder / _weight_file(part, "fp16")).is_file() else None,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        **{"torch_dtype" if diffusers_part else "dtype": dtype},
    )
    # Both libraries fill what a file lacks with random numbers and say so in a log line only.
    if info["missing_keys"]:
        raise _unavailable(str(folder), f"{part} lacks the tensors {', '.join(sorted(info['missing_keys'])[:3])}")
    return module


def _from_hub(name: str, revision: str | None, download: bool) -> Path:
    # Imported here: it reads HF_HUB_OFFLINE and the cache's place from the environment at import.
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        cached = Path(huggingface_hub.snapshot_download(name, revision=revision, local_files_only=True))
        faults = _faults(cached)
    except LocalEntryNotFoundError:
        faults = ["nothing of it is in the hub's cache here"]
    else:
        if not faults:
            return cached
    if not download:
        raise _unavailable(name, *faults)
    try:
        listing = huggingface_hub.HfApi().model_info(name, revision=revision)
        names = {file.rfilename for file in listing.siblings}
        needed = sorted(_needed(names)) + [file for file in (PROFILE_FILE,) if file in names]
        folder = Path(huggingface_hub.snapshot_download(name, revision=listing.sha, allow_patterns=needed))
    # The client's errors are its own, the HTTP library's and OSError, and change between its releases.
    except Exception as error:
        raise _unavailable(name, *faults, f"the hub did not give it ({_first_line(error)})") from error
    _require_whole(name, folder)
    return folder


def _require_whole(name: str, folder: Path) -> None:
    faults = _faults(folder)
    if faults:
        raise _unavailable(name, *faults)


def _faults(folder: Path) -> list[str]:
    """What keeps `folder` from being loaded; cheap, since of a weight file only the header is read."""
    names = {f"{part}/{file.name}" for part in _SETTINGS for file in folder.glob(f"{part}/*") if file.is_file()}
    names |= {_INDEX} if (folder / _INDEX).is_file() else set()
    needed = _needed(names)
    faults = [f"{file} is missing" for file in sorted(needed - names)]
    for part in _WEIGHTS:
        for file in sorted(needed & names & set(_weight_files(part))):
            size, stated = (folder / file).stat().st_size, _stated_size(folder / file)
            if size != stated:
                faults.append(f"{file} is {'not a safetensors file' if stated is None else 'truncated'}")
    return faults + (_unknown_classes(folder) if _INDEX in names else [])


def _needed(names: Collection[str]) -> set[str]:
    """The files to read of a model whose files are `names`: float16 weights where there are any."""
    present = set(names)
    needed = {_INDEX} | {f"{part}/{file}" for part, file in _SETTINGS.items()}
    needed |= next((files for files in _VOCABULARIES if files <= present), _VOCABULARIES[0])
    needed |= {"tokenizer/special_tokens_map.json"} & present
    for part in _WEIGHTS:
        half, plain = _weight_files(part)
        needed.add(half if half in present else plain)
    return needed


def _weight_files(part: str) -> tuple[str, str]:
    return _weight_file(part, "fp16"), _weight_file(part, None)


def _weight_file(part: str, variant: str | None) -> str:
    return f"{part}/{_WEIGHTS[part]}{f'.{variant}' if variant else ''}.safetensors"


def _stated_size(path: Path) -> int | None:
    """The size in bytes that a safetensors header promises; None where there is no such header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length < 100_000_000:
            return None
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
    return 8 + length + int(max(ends, default=0))


def _unknown_classes(folder: Path) -> list[str]:
    try:
        index = json.loads((folder / _INDEX).read_text())
        classes = {part: str(index[part][1]) for part in _SETTINGS}
    except (ValueError, TypeError, KeyError, IndexError) as error:
        return [f"{_INDEX} is not an I2VGen-XL's ({_first_line(error)})"]
    return [
        f"{part} is a {name}, which is not supported"
        for part, name in classes.items()
        if not re.fullmatch(_CLASSES[part], name) or (part == "scheduler" and not hasattr(diffusers, name))
    ]


def _digest(folder: Path) -> str:
    names = {f"{part}/{file.name}" for part in _WEIGHTS for file in folder.glob(f"{part}/*.safetensors")}
    digest = hashlib.sha256()
    for part in sorted(_WEIGHTS):
        half, plain = _weight_files(part)
        with (folder / (half if half in names else plain)).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{digest.hexdigest()[:12]}"


def _unavailable(name: str, *faults: str) -> WeightsUnavailable:
    return WeightsUnavailable(f"The weights of {name!r} cannot be used: {'; '.join(faults)}. {TWO_WAYS}")


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()}".splitlines()[0][:200]
