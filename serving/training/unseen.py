"""Prompts that neither the grammar's author nor the training had seen, and whether the text encoder hears them.

The lists were written by people who had not read the grammar. What was misheard of `unseen.tsv` had been looked at
when the grammar grew, though by none of its sentences; `unseen2.tsv` was first heard after that, and `unseen3.tsv`
once, by the weights that are shipped.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from serving.training.architecture import Parts
from serving.training.moves import BY_NAME, MOVES
from serving.training.phrases import Phrase
from serving.training.text import heard

LISTS = FIRST, SECOND, THIRD = tuple(
    Path(__file__).with_name(name) for name in ("unseen.tsv", "unseen2.tsv", "unseen3.tsv")
)
"""A move's name, a tab and a prompt on each line; as many of each move."""

Prompts = Sequence[tuple[int, str]]


def prompts(*files: Path) -> Prompts:
    """Every (move, prompt) of these lists."""
    rows = (line.split("\t") for file in files for line in file.read_text().splitlines())
    return [(BY_NAME[move], prompt) for move, prompt in rows]


def misheard(parts: Parts, said: Prompts) -> dict[str, str]:
    """The prompts that the text encoder puts to another move, and to which."""
    found = heard(parts.text_encoder, parts.tokenizer, [prompt for _, prompt in said])
    return {prompt: MOVES[move].name for (wanted, prompt), (move, _) in zip(said, found, strict=True) if move != wanted}


def phrases(parts: Parts, said: Prompts, move: int, count: int, rng: random.Random) -> list[Phrase]:
    """`count` of the move's prompts, some twice where there are fewer; as strong as the text encoder hears each."""
    texts = [prompt for wanted, prompt in said if wanted == move]
    rng.shuffle(texts)
    chosen = [texts[index % len(texts)] for index in range(count)]
    strengths = (strength for _, strength in heard(parts.text_encoder, parts.tokenizer, chosen))
    return [Phrase(text, move, strength) for text, strength in zip(chosen, strengths, strict=True)]
