"""Puts the parts of `wording` and `naming` together: one way of saying a camera move, drawn at random.

Knows nothing of what else a prompt speaks of.
"""

from __future__ import annotations

import random

from serving.training.naming import AND_THEN, BEGINNINGS, ENDINGS, HIGHS, LOWS, NOUNS
from serving.training.scenery import noun
from serving.training.wording import WORDINGS
from serving.training.words import THINGS, listed

PACES = (
    "gentle", "gently", "slow", "slowly", "slight", "slightly", "subtle", "subtly", "very slow", "very slowly",
    "gradual", "gradually", "soft", "softly", "lazy", "lazily", "a little", "barely", "slow gentle",
    "slowly and gently", "ever so slowly", "calm", "calmly", "leisurely", "unhurried", "delicate", "delicately",
    "bit by bit", "little by little", "at a slow pace", "very gently", "tender", "slowly, gently", "quietly", "minimal",
    "languid", "languidly", "ever so slightly", "with a light touch", "patient", "patiently", "faint", "imperceptibly",
)  # fmt: skip
BRISK = (
    "", "", "", "", "", "", "", "", "", "", "smooth", "smoothly", "quick", "quickly", "steady", "steadily", "fast",
    "simple", "swift", "swiftly", "rapid", "rapidly", "cinematic", "continuous", "simply", "elegant", "elegantly",
    "dramatic", "dramatically", "slick", "brisk", "briskly", "sudden", "suddenly", "abruptly", "hard", "long", "big",
    "energetic", "sharp", "speedy", "at speed", "confidently", "majestic", "majestically", "gracefully", "graceful",
    "constantly", "evenly", "even", "fluid", "fluidly", "strong", "classic", "one", "now", "just", "single", "clean",
)  # fmt: skip
ASKING = listed("""
let {who} {base}|make {who} {base}|have {who} {base}|I want {who} to {base}|{who} should {base}|{who} starts to {base}
{who} begins {ing}|with {who} {ing}|{who} will {base}|as {who} {third}|{who} is {ing}|please {base}|we {base}
we are {ing}
then {who} {third}|show {who} {ing}|{who} keeps {ing}|can you {base}|could you {base}|can {who} {base}
I would like to {base}
{who} has to {base}|start {ing}|try to {base}|try {ing}|just {base}|now {base}|while {who} {third}|while {who} is {ing}
while we {base}|as we {base}|until {who} {third}|and {who} {third}|{who}, {ing}|I'd love {who} to {base}
get {who} to {base}
would you {base}|{who} needs to {base}|go ahead and {base}|keep {ing}|{who} continues to {base}|so that {who} {third}
when {who} {third}|have {who} slowly {base}|it looks as if {who} {third}|{who} seems to {base}|let us {base}
let's {base}
how about {ing}|as if {who} were {ing}|like {who} is {ing}|{who} goes on {ing}|to {base}|first {base}|we see {who} {ing}
""")
_ORDERING = listed("""
a|one|with a|in a|use a|do a|give me a|add a|I want a|filmed with a|shot with a|please do a|make a|apply a|the shot is a
camera does a|the camera makes a|the camera performs a|create a|then a|during a|captured in a|try a|ending with a
camera:|camera move:
motion:|camera motion:|movement:|shot:|it is a|just a|only a|this is a|with one|could I get a|can I have a
may I have a|in one
""")
_BEFORE = ("please", "can you", "I want to", "now", "then", "could you", "let's", "try to")
_WHOLE = listed("""of the camera|of the shot|of the frame|of the whole picture|of the image|of the view|by the camera
with the camera""")


def composed(rng: random.Random, move: str, pace: str) -> str:
    """The move said in one of the ways of `wording`, at a pace."""
    way = rng.choices(WORDINGS[move], [len(way.verbs) * len(way.after) ** 0.5 for way in WORDINGS[move]])[0]
    if way is WORDINGS[move][0] and rng.random() < 0.22:
        return filled(rng, _named(rng, move, pace))
    base, third, ing = rng.choice(way.verbs)
    who, after = rng.choice(way.who), rng.choice(way.after)
    form = rng.random()
    if form < 0.17:
        said = [base]
    elif form < 0.4:
        said = [who, third]
    elif form < 0.5:
        said = [ing]
    elif form < 0.6:
        said = [who, ing]
    elif form < 0.76 and way.whom:
        said = [base, rng.choice(way.whom)]
        if rng.random() < 0.2:
            said.insert(0, rng.choice(_BEFORE))
    elif form < 0.8:
        said = [rng.choice(("a", "one", "")), base]
    elif form < 0.83:
        said = [f"a {ing} {rng.choice(('shot', 'camera', 'view', 'move'))}"]
    else:
        said = [rng.choice(ASKING).format(who=who, base=base, third=third, ing=ing)]
    said.append(after)
    said.insert(rng.choice((0, len(said) - 1, len(said))), pace)
    said.append(_ending(rng, move))
    if rng.random() < 0.08 and move in BEGINNINGS:
        said.insert(0, rng.choice(BEGINNINGS[move]) + rng.choice((",", "", " and then", ", then")))
    return filled(rng, said)


def _named(rng: random.Random, move: str, pace: str) -> list[str]:
    """The move as a noun: "a slow leftward camera slide past the mug", "a camera slide to the left"."""
    kinds, nouns = NOUNS[move]
    words = [rng.choice(_ORDERING) if rng.random() < 0.5 else "", pace]
    if rng.random() < 0.65:
        words += [rng.choice(kinds), rng.choice(("", "", "camera")), rng.choice(nouns)]
    else:
        after = [after for after in WORDINGS[move][0].after if after]
        words += [rng.choice(("", "camera")), rng.choice(nouns), rng.choice(after)]
    if rng.random() < 0.15:
        words.append(rng.choice(_WHOLE))
    return [*words, _ending(rng, move)]


def _ending(rng: random.Random, move: str) -> str:
    kind = rng.random()
    if kind < 0.2:
        return rng.choice(AND_THEN)
    return rng.choice(ENDINGS[move]) if kind < 0.35 and move in ENDINGS else ""


def filled(rng: random.Random, words: list[str]) -> str:
    """The words with things in their places."""
    text = " ".join(word for word in words if word)
    for place, things in (("{thing}", None), ("{other}", None), ("{low}", LOWS), ("{high}", HIGHS)):
        while place in text:
            thing = rng.choice(things) if things else noun(rng) if rng.random() < 0.5 else rng.choice(THINGS)
            text = text.replace(place, thing, 1)
    return text.replace(" ,", ",")
