"""A model's files in the diffusers layout: which are read, whether they are whole, and what names their content.

Weights are safetensors files; float16 variants go before plain ones. Knows nothing of loading, hubs or devices.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from serving.presets import PROFILE_FILE

INDEX = "model_index.json"


@dataclass(frozen=True)
class Part:
    """One row of the layout."""

    settings: str
    """The file its folder holds beside weights or a vocabulary."""
    classes: str
    """The class names that are supported, as a regular expression."""
    weights: str | None = None
    """The stem of its weight file."""


PARTS = {
    "tokenizer": Part("tokenizer_config.json", "CLIPTokenizer(Fast)?"),
    "text_encoder": Part("config.json", "CLIPTextModel", "model"),
    "image_encoder": Part("config.json", "CLIPVisionModelWithProjection", "model"),
    "feature_extractor": Part("preprocessor_config.json", "CLIP(ImageProcessor(Fast|Pil)?|FeatureExtractor)"),
    "vae": Part("config.json", "AutoencoderKL", "diffusion_pytorch_model"),
    "unet": Part("config.json", "I2VGenXLUNet", "diffusion_pytorch_model"),
    "scheduler": Part("scheduler_config.json", r"\w+Scheduler"),
}
_VOCABULARY = "tokenizer/tokenizer.json"
_OLDER_VOCABULARY = ("tokenizer/vocab.json", "tokenizer/merges.txt")
_OPTIONAL = {PROFILE_FILE, "tokenizer/special_tokens_map.json"}


def needed(names: Collection[str]) -> set[str]:
    """The files to read of a model whose files are `names`, whether among them or not."""
    files = {INDEX, *(f"{name}/{part.settings}" for name, part in PARTS.items())}
    files.update([_VOCABULARY] if _VOCABULARY in names else _OLDER_VOCABULARY)
    return files | {weight_file(name, names) for name in PARTS if PARTS[name].weights} | (_OPTIONAL & set(names))


def weight_file(part: str, names: Collection[str]) -> str:
    """The weight file of `part` to read: float16 where `names` has it."""
    half, plain = (f"{part}/{PARTS[part].weights}{variant}.safetensors" for variant in (".fp16", ""))
    return half if half in names else plain


def files_in(folder: Path) -> set[str]:
    """The model's files that `folder` has, and maybe others beside them."""
    found = [*folder.glob("*.json"), *(file for part in PARTS for file in folder.glob(f"{part}/*"))]
    return {file.relative_to(folder).as_posix() for file in found if file.is_file()}


def faults_in(folder: Path) -> list[str]:
    """What keeps `folder` from being loaded; cheap, since of a weight file only the header is read."""
    names = files_in(folder)
    files = needed(names)
    faults = [f"{file} is missing" for file in sorted(files - names)]
    for file in sorted(file for file in files & names if file.endswith(".safetensors")):
        stated = _stated_size(folder / file)
        if stated is None:
            faults.append(f"{file} is not a safetensors file")
        elif stated != (folder / file).stat().st_size:
            faults.append(f"{file} is truncated")
    return faults + (_foreign_classes(folder) if INDEX in names else [])


def class_names(folder: Path) -> dict[str, str]:
    """The class of each part, as the model's index gives it.

    Raises:
        ValueError, TypeError, LookupError: the index is not one of this kind of model.
    """
    index = json.loads((folder / INDEX).read_text())
    return {part: str(index[part][1]) for part in PARTS}


def digest(folder: Path) -> str:
    """The content of the weight files that are read, as "sha256:" and 12 hex digits."""
    names, total = files_in(folder), hashlib.sha256()
    for part in sorted(part for part in PARTS if PARTS[part].weights):
        with (folder / weight_file(part, names)).open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return f"sha256:{total.hexdigest()[:12]}"


def _stated_size(path: Path) -> int | None:
    """The size in bytes that a safetensors header promises; None where there is no such header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length < 100_000_000:  # the format's own limit
            return None
        try:
            header = json.loads(file.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, LookupError, AttributeError):
            return None
    return 8 + length + int(max(ends, default=0))


def _foreign_classes(folder: Path) -> list[str]:
    try:
        names = class_names(folder)
    except (ValueError, TypeError, LookupError):
        return [f"{INDEX} is not an I2VGen-XL's"]
    return [
        f"{part} is a {name}, which is not supported"
        for part, name in names.items()
        if not re.fullmatch(PARTS[part].classes, name)
    ]
