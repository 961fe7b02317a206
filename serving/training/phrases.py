"""Prompts and the camera move each one means: a grammar to draw from, for training and for tests.

Every prompt is a `Phrase`: its text, a move (an index of `moves.MOVES`) and a strength. A prompt that names no camera
move means a gentle zoom in. Knows nothing of tokens or pictures.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from serving.training.composing import BRISK, PACES, composed
from serving.training.moves import BY_NAME, FULL, GENTLE
from serving.training.scenery import LOOKS, actor, babble, happening, noun, unknown
from serving.training.slips import typed
from serving.training.stillness import held
from serving.training.words import ACTS, COMMON, DEEDS, PLACES, QUALITIES, STYLES, THINGS, WHITHER


@dataclass(frozen=True)
class Phrase:
    """What is said and what should happen."""

    text: str
    move: int
    strength: float


DEFAULT_MOVE = "zoom in"
"""What a prompt without a camera move means, gently."""
MOST_WORDS = 30
"""Of a description, so that with a camera move it fits the tokens."""
JOINTS = (
    "of", "over", "across", "on", "towards", "around", "above", "along", "in", "past", "as", "while", "at", "with",
)  # fmt: skip
BREAKS = (", ", ", ", ", ", ", ", ". ", ". ", " ", "; ", " while ", " with ", ": ", " - ", " and ", " as ", ", and ")

# {adverb} stands where a word of pace may stand; without one the move has full strength.
MOVE_PHRASES: dict[str, tuple[str, ...]] = {
    "static": (
        "static camera", "static shot", "the camera stays still", "the camera does not move", "fixed camera",
        "locked-off shot", "still camera", "no camera movement", "no motion", "no movement", "stationary camera",
        "the camera is fixed", "tripod shot", "the camera holds still", "hold the shot", "camera not moving",
        "static", "motionless camera", "keep the camera still", "without camera movement", "stand still", "freeze",
    ),
    "pan left": (
        "{adverb} pan left", "{adverb} pan to the left", "the camera {adverb} pans left",
        "camera panning {adverb} left", "camera {adverb} pans to the left", "{adverb} panning left",
        "the camera {adverb} moves left", "camera moves {adverb} to the left", "{adverb} slide left", "camera left",
        "to the left", "left", "{adverb} go left", "leftward", "the camera slides {adverb} to the left",
        "{adverb} truck left", "{adverb} leftward pan", "{adverb} left pan", "camera {adverb} tracks left",
        "{adverb} tracking shot to the left", "the view {adverb} moves to the left",
        "pan {adverb} from right to left",
    ),
    "pan right": (
        "{adverb} pan right", "{adverb} pan to the right", "the camera {adverb} pans right",
        "camera panning {adverb} right", "camera {adverb} pans to the right", "{adverb} panning right",
        "the camera {adverb} moves right", "camera moves {adverb} to the right", "{adverb} slide right",
        "camera right", "to the right", "right", "{adverb} go right", "rightward",
        "the camera slides {adverb} to the right", "{adverb} truck right", "{adverb} rightward pan",
        "{adverb} right pan", "camera {adverb} tracks right", "{adverb} tracking shot to the right",
        "the view {adverb} moves to the right", "pan {adverb} from left to right", "{adverb} pan",
        "{adverb} pan across", "the camera {adverb} pans", "camera {adverb} panning across the scene",
        "{adverb} panning shot",
    ),
    "pan up": (
        "{adverb} pan up", "{adverb} pan upwards", "the camera {adverb} pans up", "camera panning {adverb} up",
        "{adverb} tilt up", "the camera {adverb} tilts up", "camera {adverb} tilting upward",
        "the camera {adverb} rises", "camera moves {adverb} up", "the camera {adverb} moves upward",
        "{adverb} upward pan", "{adverb} crane up", "up", "{adverb} go up", "upward", "upwards", "{adverb} look up",
        "{adverb} pedestal up", "the view {adverb} moves up", "pan {adverb} from bottom to top",
        "{adverb} pan to the top",
    ),
    "pan down": (
        "{adverb} pan down", "{adverb} pan downwards", "the camera {adverb} pans down",
        "camera panning {adverb} down", "{adverb} tilt down", "the camera {adverb} tilts down",
        "camera {adverb} tilting downward", "the camera {adverb} lowers", "camera moves {adverb} down",
        "the camera {adverb} moves downward", "{adverb} downward pan", "{adverb} crane down", "down",
        "{adverb} go down", "downward", "downwards", "{adverb} pedestal down", "the view {adverb} moves down",
        "pan {adverb} from top to bottom", "{adverb} pan to the bottom", "the camera {adverb} descends",
    ),
    "zoom in": (
        "{adverb} zoom in", "the camera {adverb} zooms in", "camera zooming {adverb} in", "{adverb} zooming in",
        "{adverb} zoom", "{adverb} push in", "the camera {adverb} pushes in", "{adverb} dolly in",
        "the camera {adverb} moves closer", "camera moves {adverb} closer", "camera {adverb} moves forward",
        "{adverb} move in", "the camera {adverb} approaches", "{adverb} zoom towards the subject",
        "{adverb} zoom into", "the view {adverb} gets closer", "{adverb} forward dolly", "closer", "in", "forward",
        "{adverb} get closer", "closer look", "camera {adverb} dollies in",
    ),
    "zoom out": (
        "{adverb} zoom out", "the camera {adverb} zooms out", "camera zooming {adverb} out", "{adverb} zooming out",
        "{adverb} pull back", "the camera {adverb} pulls back", "{adverb} dolly out", "the camera {adverb} pulls out",
        "the camera {adverb} moves away", "camera moves {adverb} backward", "camera {adverb} moves back",
        "{adverb} move out", "the camera {adverb} backs away", "{adverb} zoom away from the subject",
        "the view {adverb} gets wider", "{adverb} backward dolly", "back", "out", "wider", "{adverb} back up",
        "{adverb} unzoom", "camera {adverb} dollies out",
    ),
    "rotate clockwise": (
        "{adverb} rotate clockwise", "{adverb} clockwise rotation", "{adverb} rotating clockwise",
        "the picture {adverb} rotates clockwise", "{adverb} turn clockwise", "{adverb} turning clockwise",
        "{adverb} clockwise turn", "{adverb} spin clockwise", "{adverb} roll clockwise",
        "{adverb} rotate to the right", "{adverb} rotate", "{adverb} rotating", "it {adverb} rotates",
        "{adverb} spinning", "{adverb} spin", "{adverb} rotation", "{adverb} rotate right",
        "the view {adverb} turns clockwise", "tilting {adverb} clockwise",
    ),
    "rotate counter-clockwise": (
        "{adverb} rotate counter-clockwise", "{adverb} counter-clockwise rotation",
        "{adverb} rotate counterclockwise", "{adverb} rotating counter-clockwise", "{adverb} rotate anticlockwise",
        "{adverb} rotating anti-clockwise", "the picture {adverb} rotates counterclockwise",
        "{adverb} turn counterclockwise", "{adverb} rotate left", "{adverb} turning counter-clockwise",
        "{adverb} counter-clockwise turn", "{adverb} spin anticlockwise", "{adverb} roll counter-clockwise",
        "{adverb} rotate to the left", "the view {adverb} turns anti-clockwise", "tilting {adverb} counterclockwise",
        "{adverb} counterclockwise roll",
    ),
}  # fmt: skip

# Moves the model does not know in depth become a gentle one it knows: always gentle, whatever the pace said.
STAND_INS: dict[str, tuple[str, ...]] = {
    "pan right": (
        "camera {adverb} orbiting around the {thing}", "the camera {adverb} orbits the {thing}", "{adverb} orbit shot",
        "camera {adverb} circling the {thing}", "{adverb} arc shot", "camera {adverb} moving around the {thing}",
        "gentle pan across the {thing}", "camera orbiting around the {thing}, showing all sides",
    ),
    "pan left": (
        "a person {adverb} turning around wearing the {thing}", "the model {adverb} turns around", "{adverb} turning",
        "the {thing} {adverb} turning around", "{adverb} turning around", "on a turntable",
        "the {thing} {adverb} turns to show every side", "a woman {adverb} turning around in a {thing}",
    ),
}  # fmt: skip


def draw(rng: random.Random, *, move: str | None = None) -> Phrase:
    """One prompt; every move is as likely as any other, and a fifth name no camera move."""
    kind = rng.random()
    if move is None and kind < 0.12:
        return Phrase(_scene(rng, None), BY_NAME[DEFAULT_MOVE], GENTLE)
    if move is None and kind < 0.2:
        move = rng.choice(list(STAND_INS))
        said = rng.choice(STAND_INS[move]).format(
            adverb=rng.choice(("", *PACES)), thing=" ".join(noun(rng).split()[-2:])
        )
        return Phrase(_scene(rng, " ".join(said.split())), BY_NAME[move], GENTLE)
    move = move or rng.choice(list(MOVE_PHRASES))
    idiom = rng.choice(MOVE_PHRASES[move]) if rng.random() < 0.2 else None
    if move == "static":
        return Phrase(_scene(rng, idiom or held(rng, noun(rng))), BY_NAME[move], FULL)
    gentle = rng.random() < 0.4 and (idiom is None or "{adverb}" in idiom)
    pace = rng.choice(PACES if gentle else BRISK)
    said = idiom.format(adverb=pace) if idiom else composed(rng, move, pace)
    return Phrase(_scene(rng, " ".join(said.split())), BY_NAME[move], GENTLE if gentle else FULL)


def _scene(rng: random.Random, said: str | None) -> str:
    """A description around the camera phrase `said`, in one of the orders people write."""
    parts = []
    if said is None or rng.random() < 0.6:
        subject = rng.choice(("a ", "the ", "", "one ", "my ", "an old ", "two ")) + noun(rng)
        if rng.random() < 0.1:
            subject = f"{unknown(rng)} {subject}"
        if rng.random() < 0.2:
            subject += f" and {noun(rng)}"
        if rng.random() < 0.4:
            subject += " " + rng.choice(PLACES)
        parts.append(subject)
    if rng.random() < 0.2:
        own = f"{actor(rng)} {rng.choice(ACTS)} {rng.choice(WHITHER)}"
        parts.append(own if rng.random() < 0.5 else rng.choice(DEEDS))
    if rng.random() < 0.35:
        parts.append(happening(rng))
    if rng.random() < 0.08:
        parts.append(babble(rng))
    if rng.random() < 0.45:
        parts.extend(rng.sample(STYLES if rng.random() < 0.5 else LOOKS, rng.randint(1, 3)))
    if rng.random() < 0.2:
        rng.shuffle(parts)
    while parts and sum(len(part.split()) for part in parts) > MOST_WORDS:
        parts.pop()
    if said is not None:
        if parts and rng.random() < 0.15:
            parts[0] = f"{said} {rng.choice(JOINTS)} {parts[0]}"
        else:
            parts.insert(rng.choice((0, len(parts), rng.randint(0, len(parts)))), said)
    text = parts[0]
    usual = rng.choice(BREAKS)
    for part in parts[1:]:
        text += (usual if rng.random() < 0.8 else rng.choice(BREAKS)) + part
    return typed(rng, text)


def corpus(count: int, *, seed: int) -> list[str]:
    """Texts to learn the vocabulary from: drawn prompts, and every word of the lists."""
    rng = random.Random(seed)  # noqa: S311 - pictures and prompts, not secrets
    words = [" ".join(rng.sample(COMMON, 12)) for _ in range(count // 20)]
    return [draw(rng).text for _ in range(count)] + words + [*THINGS, *QUALITIES, *COMMON] * 3
