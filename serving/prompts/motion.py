"""The actions that a prompt names. A word list and a few rules of English, which rather stay silent than err."""

from __future__ import annotations

import re
from functools import cache

from serving.prompts.words import (
    BEFORE_NOUNS,
    BEFORE_VERBS,
    COMPOUND_FIRST,
    COMPOUND_SECOND,
    MOTION_NOUNS,
    MOVES,
    NO_ACTION,
    NOUNLIKE,
    NOUNS_TOO,
    STAND_STILL,
    VERB_FORMS,
)

WORD = re.compile(r"[A-Za-z]+")


def words_of(text: str) -> list[str]:
    """The text's words in lower case; a hyphen parts two."""
    return [word.lower() for word in WORD.findall(text)]


def actions(text: str) -> list[str]:
    """The distinct verbs that act, in base form, in the order in which they come."""
    words = words_of(text)
    found = []
    for at, word in enumerate(words):
        verb = _verb(words, at)
        if verb is None or verb in found:
            continue
        if word.endswith("ing") or verb not in NOUNS_TOO or _stands_as_verb(word, words[at - 1] if at else None):
            found.append(verb)
    return found


def says_how_it_moves(text: str) -> bool:
    """Whether anything is said to move, or all to stand still."""
    words = words_of(text)
    if any(_verb(words, at) for at in range(len(words))):
        return True
    return re.search(f"{MOTION_NOUNS}|{STAND_STILL}", text, re.IGNORECASE) is not None


def _verb(words: list[str], at: int) -> str | None:
    """The base form of the word at `at` where it is a verb of motion, and not part of a thing's name."""
    verb = _forms().get(words[at])
    if verb is None:
        return None
    before, after = (words[place] if 0 <= place < len(words) else "" for place in (at - 1, at + 1))
    if f"{before}-{words[at]}" in NO_ACTION or f"{words[at]}-{after}" in NO_ACTION:
        return None
    return None if words[at] in COMPOUND_FIRST and after in COMPOUND_SECOND else verb


def _stands_as_verb(word: str, before: str | None) -> bool:
    """Whether a form that may be a noun is none here."""
    if before is None or before in BEFORE_VERBS:
        return before is not None
    return word.endswith("s") and before not in BEFORE_NOUNS and not before.endswith("ing")


@cache
def _forms() -> dict[str, str]:
    """Every form that counts, with its base form."""
    forms = {form: verb for verb in MOVES for form in (verb, _third_person(verb))}
    forms |= {form: verb for verb in MOVES | NOUNLIKE for form in _gerunds(verb)}
    return forms | VERB_FORMS


def _third_person(verb: str) -> str:
    if verb[-1] == "y" and verb[-2] not in "aeiou":
        return f"{verb[:-1]}ies"
    return f"{verb}es" if verb.endswith(("s", "x", "z", "ch", "sh", "o")) else f"{verb}s"


def _gerunds(verb: str) -> tuple[str, ...]:
    """Both spellings where English doubles a last letter or not."""
    if verb.endswith("e") and not verb.endswith(("ee", "ye")):
        return (f"{verb[:-1]}ing",)
    plain = f"{verb}ing"
    if verb[-1] not in "aeiouwxy" and verb[-2] in "aeiou" and verb[-3:-2] not in tuple("aeiou"):
        return (plain, f"{verb}{verb[-1]}ing")
    return (plain,)
