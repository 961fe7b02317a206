"""Where a prompt's tokens begin, and so what of it CLIP reads: by the model's own vocabulary, else by an estimate.

The vocabulary is read with `tokenizers` alone: importing PyTorch takes longer than a request may. A model that is
still to be downloaded, or that has no vocabulary (emulated cards, random weights), is estimated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from serving.presets import BUILTIN, BUILTIN_FOLDER, EMULATED, RANDOM

READ = 75
"""Tokens of a prompt that CLIP reads: 77, of which one marks the start and one the end."""

# CLIP's own: https://github.com/openai/CLIP/blob/main/clip/simple_tokenizer.py
_WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


@dataclass(frozen=True)
class Tokens:
    """A text in the model's tokens, without the marks of start and end."""

    starts: tuple[int, ...]
    """Where each begins in the text."""
    exact: bool
    """False where they are estimated."""

    def cut(self, text: str) -> int | None:
        """Where the first word begins that is not read, or not wholly; None where all is read."""
        if len(self.starts) <= READ:
            return None
        start = self.starts[READ]
        return start if text[start].isspace() else max(text.rfind(" ", 0, start), text.rfind("\n", 0, start)) + 1


Tokenize = Callable[[str], Tokens]


def tokenizer_of(model: str, revision: str | None = None) -> Tokenize:
    """The tokenizer of a model setting; looks at this machine's files, never into the network."""
    folder = None if model in (RANDOM, EMULATED) else _folder(model, revision)
    vocabulary = None if folder is None else _vocabulary(folder)
    if vocabulary is None:
        return estimate

    def tokenize(text: str) -> Tokens:
        encoded = vocabulary.encode(text, add_special_tokens=False)
        return Tokens(tuple(start for start, _ in encoded.offsets), exact=True)

    return tokenize


def _folder(model: str, revision: str | None) -> Path | None:
    """Where the vocabulary's files are; None where they are not on this machine."""
    beside = (BUILTIN_FOLDER if model == BUILTIN else Path(model).expanduser()) / "tokenizer"
    if beside.is_dir():
        return beside
    import huggingface_hub  # takes half a second, and most models are folders

    for name in ("tokenizer.json", "merges.txt"):
        try:
            found = huggingface_hub.try_to_load_from_cache(model, f"tokenizer/{name}", revision=revision)
        except ValueError:  # not a name that the hub could have
            return None
        if isinstance(found, str):
            return Path(found).parent
    return None


@cache
def _vocabulary(folder: Path) -> Tokenizer | None:
    """None where its files cannot be read, which is for the loading of the model to say."""
    try:
        return _read(folder)
    except Exception:  # the library raises no other class
        return None


def _read(folder: Path) -> Tokenizer:
    file = folder / "tokenizer.json"
    if file.is_file():
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer
    merges = [
        (first, second)
        for line in (folder / "merges.txt").read_text("utf-8").splitlines()
        if not line.startswith("#version")
        for first, _, second in [line.partition(" ")]
        if second
    ]
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    tokenizer = Tokenizer(BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token="<|endoftext|>"))  # noqa: S106
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return tokenizer


# The words above in Python's own syntax, which knows no \p.
_ROUGH_WORD = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|(?:[^\w\s]|_)+", re.IGNORECASE)
_EAST = "\u2e80"  # from here on scripts of which CLIP's vocabulary has hardly a character


def estimate(text: str) -> Tokens:
    """As many tokens as CLIP's published vocabulary has for English text, within a tenth.

    A word of up to nine Latin letters is one, and each further six are one more; a digit is one, a run of signs is
    one. Other scripts' letters count one each, East Asian ones two.
    """
    starts: list[int] = []
    for word in _ROUGH_WORD.finditer(text):
        lengths = _lengths(word[0])
        starts += [word.start() + done for done in accumulate([0, *lengths[:-1]])]
    return Tokens(tuple(starts), exact=False)


def _lengths(word: str) -> list[int]:
    """The characters of each token of a word."""
    if not word[0].isalpha():
        return [len(word)]
    if word[0] >= _EAST:
        return [length for _ in word for length in (0, 1)]
    if word[0] >= "\u0370":  # beyond Latin: Greek, Cyrillic, Hebrew, Arabic and so on
        return [1] * len(word)
    pieces = 1 + max(0, len(word) - 4) // 6
    return [len(word) // pieces] * (pieces - 1) + [len(word) - len(word) // pieces * (pieces - 1)]
