"""One part made takes its place in a model's folder, and the rest of the folder stays as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import CLIPTextModel, CLIPTokenizer

from serving.training.__main__ import FOLDERS, main
from serving.training.architecture import build_text_encoder
from serving.training.folder import BUILTIN, WEIGHTS
from serving.training.recipe import PARTS
from serving.training.vocabulary import learn_tokenizer


def test_every_part_with_weights_has_its_folder() -> None:
    assert sorted(FOLDERS.values()) == sorted(WEIGHTS)
    assert set(FOLDERS) < set(PARTS)


def test_the_text_encoder_goes_in_with_its_tokenizer(tmp_path: Path) -> None:
    tokenizer = learn_tokenizer()
    torch.manual_seed(7)
    made = {name: weight.half().float() for name, weight in build_text_encoder(tokenizer).state_dict().items()}
    work, folder = tmp_path / "work", tmp_path / "model"
    work.mkdir()
    torch.save(made, work / "text.pt")
    shutil.copytree(BUILTIN, folder)
    shutil.rmtree(folder / "tokenizer")

    main(["text", "--work", str(work), "--into", str(folder)])

    found = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).state_dict()
    assert found.keys() == made.keys()
    assert all(torch.equal(found[name], weight) for name, weight in made.items())
    again = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    assert again("pan left").input_ids == tokenizer("pan left").input_ids
    new = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    for path in (path.relative_to(BUILTIN) for path in BUILTIN.rglob("*") if path.is_file()):
        assert path in new
        if path.parts[0] not in ("text_encoder", "tokenizer"):
            assert (folder / path).read_bytes() == (BUILTIN / path).read_bytes()
