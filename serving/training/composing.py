"""Puts the parts of `wording` together: one way of saying a camera move, drawn at random.

Knows nothing of what else a prompt speaks of.
"""

from __future__ import annotations

import random

from serving.training import wording
from serving.training.wording import WORDINGS
from serving.training.words import THINGS

PACES = (
    "gentle", "gently", "slow", "slowly", "slight", "slightly", "subtle", "subtly", "very slow", "very slowly",
    "gradual", "gradually", "soft", "softly", "lazy", "lazily", "a little", "barely", "slow gentle",
    "slowly and gently", "ever so slowly", "calm", "calmly",
)  # fmt: skip
BRISK = (
    "", "", "", "", "", "", "smooth", "smoothly", "quick", "quickly", "steady", "steadily", "fast", "simple",
    "swift", "swiftly", "rapid", "rapidly", "cinematic", "continuous", "simply", "elegant", "elegantly", "dramatic",
    "slick", "brisk",
)  # fmt: skip
ASKING = (
    "let {who} {base}", "make {who} {base}", "have {who} {base}", "I want {who} to {base}", "{who} should {base}",
    "{who} starts to {base}", "{who} begins {ing}", "with {who} {ing}", "{who} will {base}", "as {who} {third}",
    "{who} is {ing}", "please {base}", "we {base}", "we are {ing}", "then {who} {third}", "show {who} {ing}",
    "{who} keeps {ing}",
)  # fmt: skip


def composed(rng: random.Random, move: str, pace: str, thing: str) -> str:
    """The move said in one of the ways of `wording`, at a pace; `thing` is what it is past, towards or around."""
    way = rng.choices(WORDINGS[move], [len(way.verbs) * len(way.after) ** 0.5 for way in WORDINGS[move]])[0]
    base, third, ing = rng.choice(way.verbs)
    who, after = (rng.choice(words).format(thing=thing) for words in (way.who, way.after))
    if way is WORDINGS[move][0] and rng.random() < 0.15:
        return _named(rng, move, pace, thing)
    form = rng.random()
    if form < 0.2:
        said = [base]
    elif form < 0.45:
        said = [who, third]
    elif form < 0.55:
        said = [ing]
    elif form < 0.65:
        said = [who, ing]
    elif form < 0.8 and way.whom:
        said = [base, rng.choice(way.whom).format(thing=thing)]
    elif form < 0.87:
        said = [rng.choice(("a", "one", "")), base]
    else:
        said = [rng.choice(ASKING).format(who=who, base=base, third=third, ing=ing)]
    said.append(after)
    said.insert(rng.choice((0, len(said) - 1, len(said))), pace)
    if rng.random() < 0.25:
        said.append(rng.choice(wording.AND_THEN).format(thing=thing, other=rng.choice(THINGS)))
    return " ".join(word for word in said if word)


def _named(rng: random.Random, move: str, pace: str, thing: str) -> str:
    """The move as a noun: "a slow leftward camera slide past the mug"."""
    kinds, nouns = wording.NOUNS[move]
    words = [
        rng.choice(("", "", "a", "one", "with a")),
        pace,
        rng.choice(kinds),
        rng.choice(("", "", "camera")),
        rng.choice(nouns),
    ]
    rest = (*wording.AND_THEN, "", "", "of the camera", "of the shot", "of the frame", "of the whole picture")
    words.append(rng.choice(rest).format(thing=thing, other=rng.choice(THINGS)))
    return " ".join(word for word in words if word)


def held(rng: random.Random) -> str:
    """That nothing moves."""
    kind = rng.random()
    if kind < 0.4:
        parts = [rng.choice(wording.STILL_WHO), rng.choice(wording.STILL_IS), rng.choice(wording.STILL)]
    elif kind < 0.6:
        parts = [rng.choice(wording.STILL_NOT), rng.choice(wording.STILL_MOVE)]
    elif kind < 0.75:
        parts = [rng.choice(wording.STILL_KEEP), rng.choice(wording.STILL_WHO), rng.choice(wording.STILL)]
    elif kind < 0.85:
        parts = [rng.choice(wording.STILL_DO_NOT), rng.choice(wording.STILL_VERB)]
    else:
        parts = [rng.choice(wording.STILL), rng.choice(wording.STILL_WHO).split()[-1]]
    return " ".join(parts)
