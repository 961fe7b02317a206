"""The modules that a model's weights fill: each part read from its file onto a device.

Knows nothing of requests, prompts or the denoising loop.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from serving.engine import layout, random_weights
from serving.engine.weights import Weights, unavailable


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
                raise unavailable(weights.name, f"{part.name} does not load: {error}") from error
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
