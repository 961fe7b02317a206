"""How people say each camera move, in parts that combine: who moves, which verb, where to. Data only.

`{thing}` stands for anything named.
"""

from __future__ import annotations

from dataclasses import dataclass

from serving.training.verbs import (
    ALONG,
    CLOSING,
    LEAVING,
    NEARING,
    RISING,
    SIDEWAYS,
    SINKING,
    TURNING,
    UPRIGHT,
    verbs,
)
from serving.training.words import listed


@dataclass(frozen=True)
class Wording:
    """One way of saying a move; any verb goes with any of what follows."""

    verbs: tuple[tuple[str, str, str], ...]
    after: tuple[str, ...]
    who: tuple[str, ...]
    """What moves, in the third person."""
    whom: tuple[str, ...] = ()
    """What one may be asked to move: "swing *the camera* left"; empty where the verbs take no object."""


CAMERA = listed("""
the camera|camera|the camera|the view|the shot|the lens|the frame|our view|the viewpoint|the viewer
the picture|the scene
the drone|the tracking shot|the whole frame|the image|the perspective|the cameraman
""")
MOVED = listed("the camera|camera|the view|the shot|the frame|the lens|it")
TURNED = listed("""
the picture|the image|the frame|the view|the scene|the camera|the whole picture|everything|it|the {thing}|the horizon
the shot|the photo|the whole scene|the entire frame
""")

_SIDES = """
{side}|{side}|to the {side}|to the {side}|{side}ward|{side}wards|towards the {side}|toward the {side}
sideways to the {side}
over to the {side}|off to the {side}|to the {side} side|to the {side} past the {thing}|{side} along the {thing}
{side} across the {thing}|{side} over the {thing}|past the {thing} to the {side}|across the {thing} to the {side}
from {other} to {side}|{other} to {side}|from the {other} to the {side}|along the {thing} from {other} to {side}
{side} past the {thing}|out to the {side}|a little to the {side}|further {side}|to {side}|laterally {side}
across the {thing} from {other} to {side}|to the {side} across the scene|sideways {side}|horizontally to the {side}
"""
_UPRIGHT = """
{up}|{up}|{up}ward|{up}wards|straight {up}|{up} along the {thing}|{up} the {thing}|{up} over the {thing}
{up} from the {thing}
vertically {up}|{up} past the {thing}|{up} across the {thing}|from {bottom} to {top}|from the {bottom} to the {top}
{bottom} to {top}|towards the {top}|to the {top}|toward the {top} of the {thing}|{up} to the {thing}
{up} towards the {thing}
in an {up}ward direction|{up}wards past the {thing}|from the {bottom} of the {thing} to its {top}
all the way {up}|{up} a little
"""
_CLOCK = """
{clock}|{clock}|{clock}|in a {clock} direction|{clock} around its centre|{clock} about the center|{clock} a little
in {clock} direction|{clock} around the {thing}|a few degrees {clock}|{clock} by a few degrees
{clock} on the spot
"""


def _sides(side: str, other: str) -> tuple[str, ...]:
    return listed(_SIDES.replace("{side}", side).replace("{other}", other))


def _upright(up: str, bottom: str, top: str, more: str) -> tuple[str, ...]:
    return listed(_UPRIGHT.replace("{up}", up).replace("{bottom}", bottom).replace("{top}", top) + more)


def _clock(*words: str) -> tuple[str, ...]:
    return tuple(entry for word in words for entry in listed(_CLOCK.replace("{clock}", word)))


_UP = _upright(
    "up", "bottom", "top", "|higher|towards the sky|toward the ceiling|up into the sky|skyward|up to the sky"
)
_DOWN = _upright("down", "top", "bottom", "|lower|towards the floor|toward the ground|down to the floor|to the ground")
_COUNTER = ("counter-clockwise", "counterclockwise", "anticlockwise", "anti-clockwise", "counter clockwise", "ccw")

WORDINGS: dict[str, tuple[Wording, ...]] = {
    "pan left": (Wording(SIDEWAYS, _sides("left", "right"), CAMERA, MOVED),),
    "pan right": (Wording(SIDEWAYS, _sides("right", "left"), CAMERA, MOVED),),
    "pan up": (
        Wording(UPRIGHT, _UP, CAMERA, MOVED),
        Wording(RISING, (*listed("up|upwards|above the {thing}|over the {thing}|up the {thing}|higher and higher"),
                         "", "", ""), CAMERA, MOVED),
        Wording(verbs("raise raises raising, lift lifts lifting, bring brings bringing, tilt tilts tilting"),
                listed("up|upwards|higher|to the top|up the {thing}|towards the sky"), ("the cameraman",), MOVED),
    ),
    "pan down": (
        Wording(UPRIGHT, _DOWN, CAMERA, MOVED),
        Wording(SINKING, (*listed("""
            down|downwards|towards the {thing}|to the floor|below the {thing}|lower and lower
            to the ground"""), "", ""),
                CAMERA, MOVED),
        Wording(verbs("lower lowers lowering, drop drops dropping, bring brings bringing, tilt tilts tilting"),
                listed("""down|downwards|lower|to the bottom|down the {thing}
                towards the ground"""), ("the cameraman",), MOVED),
    ),
    "zoom in": (
        Wording(ALONG, listed("""
            in|in|inward|inwards|in on the {thing}|in on the {thing}|in closer|in tight
            in towards the {thing}|in tight on the {thing}
            forward|forwards|ahead|straight ahead|towards the {thing}|toward the {thing}|into the {thing}
            in to the {thing}
            into the scene|deeper into the scene|forward over the {thing}|right in|in on the details
            in for a close-up|into the frame
            forward through the {thing}|into a close-up of the {thing}|up close to the {thing}|in on the texture"""),
                CAMERA, MOVED),
        Wording(NEARING, listed("""
            closer|nearer|closer to the {thing}|nearer to the {thing}|closer and closer|near the {thing}
            in close|in closer
            a little closer|right up to the {thing}|closer towards the {thing}
            close to the {thing}"""), CAMERA, MOVED),
        Wording(CLOSING, listed("""in|in on the {thing}|on the {thing}|on the details|around the {thing}
        in towards the {thing}"""),
                CAMERA, MOVED),
        Wording(verbs("approach approaches approaching, enlarge enlarges enlarging, magnify magnifies magnifying"),
                listed("the {thing}|the scene|the {thing} slowly|the details"), CAMERA),
        Wording(verbs("get gets getting, grow grows growing, become becomes becoming"),
                listed("""bigger|larger|bigger in the frame|larger in the frame|closer|larger and larger
                bigger on screen"""),
                listed("the {thing}|the subject|the object|the details")),
    ),
    "zoom out": (
        Wording(LEAVING, listed("""
            out|out|back|back|away|away|outward|outwards|backward|backwards|away from the {thing}
            back from the {thing}
            farther away|further away|back and away|out from the {thing}|out wide|out to a wide shot
            back to reveal the {thing}
            out to show the whole {thing}|out to reveal the scene|away to reveal the surroundings
            further back|back to a wide view
            out of the scene|away into the distance|back from the scene|further out
            out from a close-up"""), CAMERA, MOVED),
        Wording(verbs("retreat retreats retreating, recede recedes receding, withdraw withdraws withdrawing"),
                (*listed("from the {thing}|backwards|away|into the distance|from the scene"), "", ""), CAMERA),
        Wording(verbs("widen widens widening, open opens opening, expand expands expanding"),
                listed("""out|up to show the {thing}|to show more|to reveal the {thing}|to a wide shot
                outwards|to include the {thing}"""),
                CAMERA, MOVED),
        Wording(verbs("reveal reveals revealing, show shows showing, uncover uncovers uncovering"),
                listed("""more of the scene|the surroundings|more of the room|the whole scene
                more and more of the {thing}|what is around"""),
                CAMERA),
        Wording(verbs("get gets getting, grow grows growing, become becomes becoming"),
                listed("smaller|smaller in the frame|smaller and smaller|more distant|farther away|tinier"),
                listed("the {thing}|the subject|the object")),
    ),
    "rotate clockwise": (Wording(TURNING, _clock("clockwise", "clockwise", "cw"), TURNED, TURNED),),
    "rotate counter-clockwise": (Wording(TURNING, _clock(*_COUNTER), TURNED, TURNED),),
}  # fmt: skip

_TRAVEL = listed(
    "pan|slide|move|movement|tracking shot|sweep|dolly|truck|drift|glide|slider move|whip pan|camera move|panning shot"
)
_LIFT = listed("pan|tilt|move|movement|pedestal|crane shot|sweep|camera move|drift|glide|boom|reveal")
_SPIN = listed("rotation|turn|spin|roll|twist|tilt|revolution|camera roll|whirl|twirl")
NOUNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pan left": (listed("left|leftward|right-to-left|sideways left|lateral left|leftwards"), _TRAVEL),
    "pan right": (listed("right|rightward|left-to-right|sideways right|lateral right|rightwards"), _TRAVEL),
    "pan up": (listed("upward|up|vertical upward|bottom-to-top|rising|ascending|upwards"), _LIFT),
    "pan down": (listed("downward|down|vertical downward|top-to-bottom|sinking|descending|downwards"), _LIFT),
    "zoom in": (
        ("", "", "inward", "forward", "tight"),
        listed("""zoom in|push-in|push in|zoom-in|dolly in|crash zoom|crash zoom in|punch-in|move in
        forward dolly|dolly-in|approach"""),
    ),
    "zoom out": (
        ("", "", "outward", "backward", "wide"),
        listed("""zoom out|pull-out|pull back|zoom-out|pull-back|dolly out|reverse dolly|pan out|pullback
        crash zoom out|retreat"""),
    ),
    "rotate clockwise": (listed("clockwise|clockwise|CW|right-handed|clock-wise"), _SPIN),
    "rotate counter-clockwise": (
        listed("counter-clockwise|counterclockwise|anticlockwise|anti-clockwise|CCW|counter clockwise"), _SPIN),
}  # fmt: skip
"""What kind of movement, and what it is called."""

AND_THEN = listed("""
to reveal the {thing}|revealing the {thing}|showing the {thing}|to show more of the {thing}|along a row of {thing}
past the {thing}|above the {thing}|over the {thing}|from the {thing} to the {other}|so we see the {thing}|please
until the {thing} comes into view|as the {thing} comes into view|across the {thing}|on the {thing}
following the {thing}
to take in the whole {thing}|while the {thing} stays in view|and stops at the {other}|beside the {thing}
through the {thing}
parallel to the {thing}|a bit|a little|at the {thing}|for a better look|during the whole clip|throughout
to the very end
""")
"""What may follow a move, whichever it is."""

STILL_WHO = listed("""
the camera|camera|the shot|the frame|the view|the picture|the image|the scene|the whole scene|everything
the lens|it|the photo
the viewpoint|the composition|the tripod
""")
STILL_IS = listed(
    "is|stays|remains|holds|keeps|is kept|is held|stands|sits|rests|should be|must stay|should stay|is locked"
)
STILL = listed("""
still|static|fixed|motionless|stationary|unmoving|steady|unchanged|locked|locked off|locked down|frozen
perfectly still
completely still|totally static|in place|where it is|put|immobile|as it is|rock steady|absolutely still
entirely motionless
""")
STILL_NOT = listed("no|zero|without|without any|not any|with no|absolutely no|free of")
STILL_MOVE = listed("""
camera motion|camera movement|motion|movement|camera move|panning or zooming|moving camera|camera shake|motion at all
movement at all|camera moves|pan or zoom|motion of the camera|movement of any kind|zoom|panning|zooming
""")
STILL_KEEP = listed("keep|hold|leave|lock|freeze|fix|let|mount")
STILL_DO_NOT = listed(
    "do not|don't|never|please do not|the camera does not|camera doesn't|nothing should|nothing may|it won't|we do not"
)
STILL_VERB = listed(
    "move|move at all|pan or zoom|move the camera|zoom or pan|budge|shift|zoom|pan|change the framing|drift|stir"
)
