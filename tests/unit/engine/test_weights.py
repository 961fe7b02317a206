"""Finding, checking and loading weights."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from serving.engine import layout, weights
from serving.engine.modules import default_dtype, load
from serving.engine.pipeline import Pipeline
from serving.engine.weights import TWO_WAYS, locate
from serving.errors import WeightsUnavailable
from serving.presets import I2VGEN_XL
from serving.request import VideoRequest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


def refusal(model: str | Path) -> str:
    with pytest.raises(WeightsUnavailable) as caught:
        locate(str(model), download=False)
    assert caught.value.message.endswith(TWO_WAYS)
    return caught.value.message


def test_both_ways_to_get_the_weights_are_named() -> None:
    assert "I2V_MODEL=ali-vilab/i2vgen-xl" in TWO_WAYS
    assert "hf download ali-vilab/i2vgen-xl --local-dir DIR" in TWO_WAYS
    assert "I2V_MODEL=DIR" in TWO_WAYS


@pytest.mark.parametrize(
    "file",
    [
        "model_index.json",
        "tokenizer/tokenizer_config.json",
        "text_encoder/model.safetensors",
        "image_encoder/config.json",
        "feature_extractor/preprocessor_config.json",
        "vae/diffusion_pytorch_model.safetensors",
        UNET,
        "scheduler/scheduler_config.json",
    ],
)
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    assert f"{file} is missing" in refusal(folder)


def test_all_that_is_wrong_is_said_at_once(folder: Path) -> None:
    shutil.rmtree(folder / "vae")
    (folder / "tokenizer/tokenizer.json").unlink()
    message = refusal(folder)
    assert "vae/config.json is missing" in message
    assert "vae/diffusion_pytorch_model.safetensors is missing" in message
    assert "tokenizer/merges.txt is missing" in message
    assert "tokenizer/vocab.json is missing" in message


def test_a_truncated_file_is_named(folder: Path) -> None:
    os.truncate(folder / UNET, (folder / UNET).stat().st_size - 1)
    assert f"{UNET} is truncated" in refusal(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x07", b"version https://git-lfs.github.com/spec/v1\noid sha256:00", b"\x02\0\0\0\0\0\0\0[]"],
    ids=["empty", "short", "a pointer of git-lfs", "a list"],
)
def test_what_is_no_safetensors_file_is_named(folder: Path, content: bytes) -> None:
    (folder / UNET).write_bytes(content)
    assert f"{UNET} is not a safetensors file" in refusal(folder)


def test_another_kind_of_model_is_refused(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    index["unet"] = ["diffusers", "UNet2DConditionModel"]
    (folder / "model_index.json").write_text(json.dumps(index))
    assert "unet is a UNet2DConditionModel, which is not supported" in refusal(folder)


@pytest.mark.parametrize("content", ["", "[]", '{"unet": ["diffusers"]}'])
def test_an_unreadable_index_is_refused(folder: Path, content: str) -> None:
    (folder / "model_index.json").write_text(content)
    assert "model_index.json is not an I2VGen-XL's" in refusal(folder)


@pytest.mark.parametrize("model", ["/no/such/folder", "no-such-folder", "", "a/b/c"])
def test_a_folder_that_is_not_there_is_refused(model: str) -> None:
    assert f"The weights of {model!r} cannot be used: there is no such folder" in refusal(model)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "model_index.json is missing" in refusal(tmp_path)


def test_weights_that_lack_a_tensor_do_not_load(folder: Path) -> None:
    path = folder / "text_encoder/model.safetensors"
    tensors = load_file(path)
    save_file({name: value for name, value in tensors.items() if "layers.1.mlp" not in name}, path)
    with pytest.raises(WeightsUnavailable, match=r"text_encoder does not load: its file lacks .*layers\.1\.mlp"):
        load(locate(str(folder)), "cpu", torch.float32)


def test_weights_of_other_shapes_do_not_load(folder: Path) -> None:
    tensors = load_file(folder / UNET)
    save_file(tensors | {"conv_in.weight": torch.zeros(1, 2, 3, 3)}, folder / UNET)
    with pytest.raises(WeightsUnavailable, match="unet does not load"):
        load(locate(str(folder)), "cpu", torch.float32)


def test_the_revision_of_a_folder_is_that_of_its_weights(folder: Path, model_folder: Path) -> None:
    before = locate(str(folder))
    assert before.name == str(folder)
    assert before.folder == folder
    assert before.revision == locate(str(model_folder)).revision
    assert before.revision.startswith("sha256:")
    assert len(before.revision) == len("sha256:") + 12
    assert before.profile is I2VGEN_XL
    content = bytearray((folder / UNET).read_bytes())
    content[-1] ^= 1
    (folder / UNET).write_bytes(content)
    assert locate(str(folder)).revision != before.revision


def test_the_profile_beside_the_weights_is_read(folder: Path) -> None:
    (folder / "profile.json").write_text(I2VGEN_XL.model_copy(update={"name": "mine"}).model_dump_json())
    assert locate(str(folder)).profile.name == "mine"


def test_every_part_is_loaded_for_inference(model_folder: Path) -> None:
    modules = load(locate(str(model_folder)), "cpu", torch.float32)
    for part in (modules.text_encoder, modules.image_encoder, modules.vae, modules.unet):
        assert not part.training
        assert {(value.dtype, value.requires_grad) for value in part.parameters()} == {(torch.float32, False)}
    assert modules.latent_factor == 8


def test_float16_files_are_upcast_and_preferred(builtin_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(builtin_folder, tmp_path / "model"))
    half = folder / "unet/diffusion_pytorch_model.fp16.safetensors"
    save_file({name: torch.zeros_like(value) for name, value in load_file(half).items()}, folder / UNET)
    modules = load(locate(str(folder)), "cpu", default_dtype("cpu"))
    assert modules.unet.dtype is torch.float32
    assert torch.equal(modules.unet.conv_in.weight, load_file(half)["conv_in.weight"].float())
    assert modules.latent_factor == 4


def test_encoders_saved_by_older_libraries_load(
    folder: Path, pipeline: Pipeline, picture: Image.Image, make_request: Callable[..., VideoRequest]
) -> None:
    """The published files: CLIP's tensors named under `text_model`, a stored position table, vocab and merges."""
    path = folder / "text_encoder/model.safetensors"
    tensors = {f"text_model.{name.removeprefix('text_model.')}": value for name, value in load_file(path).items()}
    save_file(tensors | {"text_model.embeddings.position_ids": torch.arange(77).unsqueeze(0)}, path)
    tokenizer = json.loads((folder / "tokenizer/tokenizer.json").read_text())
    (folder / "tokenizer/vocab.json").write_text(json.dumps(tokenizer["model"]["vocab"]))
    (folder / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer/tokenizer.json").unlink()
    older = Pipeline.load(locate(str(folder)), device="cpu")
    expected = pipeline.generate(picture, make_request()).frames
    assert np.array_equal(older.generate(picture, make_request()).frames, expected)


def test_float16_on_cuda_and_float32_elsewhere() -> None:
    assert default_dtype("cuda:1") is torch.float16
    assert default_dtype(torch.device("cpu")) is torch.float32


def test_random_weights_are_located_without_files() -> None:
    found = locate("random-i2vgen-xl")
    assert found.folder is None
    assert found.revision == "random-weights"
    assert found.profile.name == "random-i2vgen-xl"
    assert found.profile.cost == I2VGEN_XL.cost


def test_the_built_in_model_is_looked_for_in_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model_folder: Path
) -> None:
    packaged = tmp_path / "builtin"
    monkeypatch.setattr(weights, "BUILTIN_FOLDER", packaged)
    assert "'builtin' cannot be used: feature_extractor/preprocessor_config.json is missing" in refusal("builtin")
    shutil.copytree(model_folder, packaged)
    assert locate("builtin").folder == packaged


@pytest.fixture
def cache(model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds the model as owner/name; whatever asks the network fails the test."""
    repository = tmp_path / "models--owner--name"
    shutil.copytree(model_folder, repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return repository


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_cached_hub_model_needs_no_network(cache: Path, revision: str | None) -> None:
    found = locate("owner/name", revision)
    assert found.folder == cache / "snapshots" / COMMIT
    assert found.revision == COMMIT


def test_a_hub_model_half_in_the_cache_is_refused_without_network(cache: Path) -> None:
    (cache / "snapshots" / COMMIT / UNET).unlink()
    assert f"{UNET} is missing" in refusal("owner/name")
    with pytest.raises(WeightsUnavailable, match=f"{UNET} is missing; the hub did not give it"):
        locate("owner/name")


def test_another_revision_than_the_cached_is_refused_without_network(cache: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="nothing of it is in the hub's cache"):
        locate("owner/name", "v2")


def test_a_hub_name_without_network_is_refused_quickly(cache: Path) -> None:
    started = time.monotonic()
    with pytest.raises(WeightsUnavailable, match="nothing of it is in the hub's cache") as caught:
        locate("ali-vilab/i2vgen-xl")
    assert caught.value.message.endswith(TWO_WAYS)
    assert time.monotonic() - started < 30


def test_only_the_files_that_are_read_are_downloaded() -> None:
    listing = {
        "README.md",
        "model_index.json",
        "models/i2vgen_xl_00854500.pth",
        "text_encoder/model.fp16.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder/pytorch_model.bin",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/vocab.json",
        "vae/diffusion_pytorch_model.safetensors",
    }
    needed = layout.needed(listing)
    assert needed & listing == listing - {
        "README.md",
        "models/i2vgen_xl_00854500.pth",
        "text_encoder/model.safetensors",
        "text_encoder/pytorch_model.bin",
    }
    assert "unet/diffusion_pytorch_model.safetensors" in needed
