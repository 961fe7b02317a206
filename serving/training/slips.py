"""Prompts as they are typed: with and without hyphens, a letter wrong, a word nobody knows."""

from __future__ import annotations

import random
import re

_PAIRS = re.compile(r"\b(pan|tilt|zoom|push|pull|dolly|truck|crane|jib|slide|track|move|roll|close|step)"
                    r" (in|out|up|down|left|right|back)\b")  # fmt: skip
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def typed(rng: random.Random, text: str) -> str:
    """The prompt as one of many people might type it; most are left as they are."""
    if rng.random() < 0.08:
        text = _PAIRS.sub(r"\1-\2", text)
    elif rng.random() < 0.03:
        text = text.replace("-", " ")
    if rng.random() < 0.06:
        words = text.split(" ")
        at = rng.randrange(len(words))
        words[at] = _slip(rng, words[at])
        text = " ".join(words)
    if rng.random() < 0.3:
        text = text[:1].upper() + text[1:]
    return text + rng.choice(("", "", "", "", ".", ".", "!", ", 4k"))


def _slip(rng: random.Random, word: str) -> str:
    """One letter left out, doubled, changed or in the other's place; short words stay, since they become others."""
    if len(word) < 6:
        return word
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at] + word[at:]
    if kind == 2:
        return word[:at] + rng.choice(_LETTERS) + word[at + 1 :]
    return word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
