"""Whether a prompt is in English, which is all that CLIP reads.

Two questions. Of its script: a quarter of the letters are not Latin, an East Asian one counting three, since it says as
much. Of its words: those that other languages have and English has not (function words, the plain words of prompts,
words with letters such as "ü" or "ñ") outnumber the English ones, and there are two of them, or one and no English one.
Foreign words that stand in English names ("La Marzocco") weigh a half, and capitalised words with foreign letters
("Söderhamn") nothing. Blind to languages that are not listed, to romanised Chinese, Hindi and the like, and to
prompts of one or two foreign words that are not listed. `python tests/unit/precision.py` prints how well it does.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from serving.prompts.languages import BORROWED, ENGLISH, FOREIGN, IN_NAMES

OTHER_SCRIPT_SHARE = 0.25
EAST_ASIAN_LETTERS = 3
_EAST = "\u2e80"
_WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")


def is_english(text: str) -> bool:
    """True also where nothing tells, as of names and of digits."""
    text = unicodedata.normalize("NFC", text)
    return _mostly_latin(text) and not _foreign_words(text)


def _mostly_latin(text: str) -> bool:
    letters = [letter for letter in text if letter.isalpha()]
    other = sum(EAST_ASIAN_LETTERS if letter >= _EAST else 1 for letter in letters if not _is_latin(letter))
    latin = sum(map(_is_latin, letters))
    return other < OTHER_SCRIPT_SHARE * (other + latin) or other == 0


@cache
def _is_latin(letter: str) -> bool:
    return letter < "\u0250" or unicodedata.name(letter, "").startswith(("LATIN", "MODIFIER", "FULLWIDTH LATIN"))


def _foreign_words(text: str) -> bool:
    english = foreign = 0.0
    for word in _WORD.findall(text):
        lower = word.lower()
        if lower in ENGLISH:
            english += 1
        elif lower in IN_NAMES:
            foreign += 0.5
        elif lower in _FOREIGN or (not lower.isascii() and word == lower and lower not in BORROWED):
            foreign += 1
    return foreign > english and (foreign >= 2 or (foreign >= 1 and english == 0))


_FOREIGN = frozenset().union(*FOREIGN.values())
