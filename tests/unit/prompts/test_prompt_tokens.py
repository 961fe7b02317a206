"""Counting as the model does, where its vocabulary is; near it where not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import transformers

from serving.presets import BUILTIN, BUILTIN_FOLDER, EMULATED, PUBLISHED, RANDOM
from serving.prompts.tokens import READ, Tokens, estimate, tokenizer_of

TEXTS = (
    "A blue ceramic mug and two lemons on a wooden table, the camera slowly zooms in, soft light",
    "It's 3D: the “best” café's 100% ñandú!!  \n tab\tand don't",
    "红色连衣裙 慢慢旋转, камера",
    "emoji 👩‍👩‍👧 Ⅷ ½ a_b __ c",
    "",
    "   ",
)


@pytest.fixture
def older_folder(tmp_path: Path) -> Path:
    """A model folder with the vocabulary in two files, as the published model has it."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_bytes((BUILTIN_FOLDER / "tokenizer" / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize("text", TEXTS)
def test_it_counts_as_the_models_tokenizer_does(text: str, older_folder: Path) -> None:
    reference = transformers.CLIPTokenizer.from_pretrained(BUILTIN_FOLDER / "tokenizer")
    counted = len(reference(text).input_ids) - 2
    for model in (BUILTIN, str(BUILTIN_FOLDER), str(older_folder)):
        tokens = tokenizer_of(model)(text)
        assert (len(tokens.starts), tokens.exact) == (counted, True)


def test_what_clip_cuts_off_is_where_the_tokens_end() -> None:
    """Cut there, the text has no more tokens than are read, and one more word is too much."""
    text = " ".join(["the camera pans left over a mug"] * 40)
    for tokenize in (tokenizer_of(BUILTIN), estimate):
        cut = tokenize(text).cut(text)
        assert cut is not None
        assert text[cut - 1] == " "
        kept, more = text[:cut], f"{text[:cut]}{text[cut:].split()[0]}"
        assert len(tokenize(kept).starts) <= READ < len(tokenize(more).starts)


def test_as_many_are_read_as_the_model_reads() -> None:
    reference = transformers.CLIPTokenizer.from_pretrained(BUILTIN_FOLDER / "tokenizer")
    assert reference.model_max_length - 2 == READ


def test_a_text_that_fits_is_not_cut() -> None:
    assert Tokens(tuple(range(READ)), exact=True).cut("a" * READ) is None
    assert Tokens(tuple(range(READ + 1)), exact=True).cut("a" * (READ + 1)) == 0


@pytest.mark.parametrize("model", [RANDOM, EMULATED, PUBLISHED, "/nowhere/model", "not a name", "../x"])
def test_without_a_vocabulary_it_is_estimated(model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert not tokenizer_of(model)("the camera pans left").exact


def test_a_vocabulary_in_the_hubs_cache_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, older_folder: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / f"models--{PUBLISHED.replace('/', '--')}"
    commit = "0" * 40
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (older_folder / "tokenizer").rename(repository / "snapshots" / commit / "tokenizer")
    assert tokenizer_of(PUBLISHED)("the camera pans left").exact


def test_a_broken_vocabulary_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(json.dumps({"model": 7}))
    assert not tokenizer_of(str(tmp_path))("the camera pans left").exact


@pytest.mark.parametrize(
    ("text", "clips"),
    [
        # Counted with CLIP's published vocabulary.
        ("a person slowly turning around wearing the dress", 8),
        ("steam rising from the hot coffee, close-up view", 11),
        ("The service's environment cannot be photographed: extraordinarily inconspicuous, 1080p!", 20),
        ("фотоаппарат медленно вращается", 30),
    ],
)
def test_the_estimate_is_near(text: str, clips: int) -> None:
    assert len(estimate(text).starts) == pytest.approx(clips, rel=0.15)
