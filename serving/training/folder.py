"""The built-in model's folder: diffusers' layout, in fp16, with its own profile.json.

Knows where parts are stored and nothing of what is in them.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, DDIMScheduler, I2VGenXLUNet
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from serving.training.architecture import Parts
from serving.training.vocabulary import save_tokenizer

BUILTIN = Path(__file__).parents[1] / "models" / "builtin"
WEIGHTS = ("unet", "vae", "text_encoder", "image_encoder")
CLASSES = {
    "feature_extractor": ("transformers", "CLIPImageProcessor"),
    "image_encoder": ("transformers", "CLIPVisionModelWithProjection"),
    "scheduler": ("diffusers", "DDIMScheduler"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "unet": ("diffusers", "I2VGenXLUNet"),
    "vae": ("diffusers", "AutoencoderKL"),
}


def write(parts: Parts, folder: Path) -> None:
    """Write every part into `folder`, weights in fp16; the parts themselves are left as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in WEIGHTS:
        replace(parts, name, folder)
    parts.scheduler.save_pretrained(folder / "scheduler")
    parts.feature_extractor.save_pretrained(folder / "feature_extractor")
    index = {"_class_name": "I2VGenXLPipeline", "_diffusers_version": diffusers.__version__, **CLASSES}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def replace(parts: Parts, name: str, folder: Path) -> None:
    """Write one of WEIGHTS into `folder`, in fp16, and leave the others there as they are."""
    module = copy.deepcopy(getattr(parts, name)).to("cpu", torch.float16)
    if hasattr(module, "register_to_config"):  # else diffusers would say where this one had been read from
        module.register_to_config(_name_or_path="")
    module.save_pretrained(folder / name, safe_serialization=True)
    for path in (folder / name).glob("*.safetensors"):
        path.chmod(0o644)
    if name == "text_encoder":
        save_tokenizer(parts.tokenizer, folder / "tokenizer")


def read(folder: Path, *, dtype: torch.dtype = torch.float32) -> Parts:
    """The parts in `folder`, ready to run."""
    return Parts(
        unet=I2VGenXLUNet.from_pretrained(folder, subfolder="unet", torch_dtype=dtype).eval(),
        vae=AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=dtype).eval(),
        text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype).eval(),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(folder / "image_encoder", dtype=dtype).eval(),
        feature_extractor=CLIPImageProcessor.from_pretrained(folder / "feature_extractor"),
        scheduler=DDIMScheduler.from_pretrained(folder, subfolder="scheduler"),
    )


def size(folder: Path) -> int:
    """Bytes of all files in `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
