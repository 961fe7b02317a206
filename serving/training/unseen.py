"""Prompts that neither the grammar's author nor the training had seen, and whether the text encoder hears them.

`unseen.tsv` was written before the grammar in `phrases` and `wording` was last changed, by somebody who had not read
it, and no change was made for its sake: change the grammar again, and it takes another list to measure by.
`unseen2.tsv` is another person's, and later.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from serving.training.architecture import Parts
from serving.training.moves import BY_NAME, MOVES
from serving.training.phrases import Phrase
from serving.training.text import heard

FIRST, SECOND = (Path(__file__).with_name(name) for name in ("unseen.tsv", "unseen2.tsv"))
"""A move's name, a tab and a prompt on each line; as many of each move."""


@cache
def prompts(file: Path = FIRST) -> tuple[tuple[int, str], ...]:
    """Every (move, prompt)."""
    rows = (line.split("\t") for line in file.read_text().splitlines())
    return tuple((BY_NAME[move], prompt) for move, prompt in rows)


def heard_right(parts: Parts) -> tuple[int, list[str]]:
    """How many of them the text encoder puts to the right move, and what it makes of the others."""
    found = heard(parts.text_encoder, parts.tokenizer, [prompt for _, prompt in prompts()])
    wrong = [f"{prompt!r}: {MOVES[move].name}" for (wanted, prompt), (move, _) in zip(prompts(), found, strict=True)
             if move != wanted]  # fmt: skip
    return len(prompts()) - len(wrong), wrong


def phrases(parts: Parts, move: int, count: int, rng: random.Random) -> list[Phrase]:
    """`count` of the move's prompts, some twice where there are fewer; as strong as the text encoder hears each."""
    texts = [prompt for wanted, prompt in prompts() if wanted == move]
    rng.shuffle(texts)
    chosen = [texts[index % len(texts)] for index in range(count)]
    strengths = (strength for _, strength in heard(parts.text_encoder, parts.tokenizer, chosen))
    return [Phrase(text, move, strength) for text, strength in zip(chosen, strengths, strict=True)]
