"""Camera moves as nouns, and what is said before and after a move. Data only, with the places of `wording`."""

from __future__ import annotations

from serving.training.words import listed

_TRAVEL = listed("""
pan|pan|pan|slide|move|movement|tracking shot|sweep|dolly|truck|drift|glide|slider move|whip pan|camera move
panning shot
motion|camera movement|shift|lateral move|tracking move|travelling shot|dolly move|trucking shot|swing|scroll|track|crab
pan shot|slider shot|dolly shot|camera motion|crabbing shot|flight|tracking|sliding move|swish pan|look|horizontal pan
""")
_LIFT = listed("""
pan|pan|tilt|tilt|move|movement|pedestal|crane shot|sweep|camera move|drift|glide|boom|reveal|motion|camera movement
crane move
tilt shot|vertical pan|vertical move|crane|jib shot|jib move|boom shot|jib|drone shot|shift|swing|slide|travel|look
flight
crane|pedestal move|boom move|slider move|tracking shot|pan shot
""")
_SPIN = listed("""
rotation|rotation|turn|spin|roll|twist|tilt|revolution|camera roll|whirl|twirl|camera rotation|camera spin|dutch roll
swirl
barrel roll|rolling shot|turning motion|rotating shot|rolling move|spinning|image rotation|frame rotation|swivel|turning
roll of the camera|rotation of the frame|rotation of the image|turn of the picture|spinning shot|rotating motion|cant
circle
""")
NOUNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pan left": (listed("""left|left|leftward|right-to-left|sideways left|lateral left|leftwards|left-moving
    right to left"""), _TRAVEL),
    "pan right": (listed("""right|right|rightward|left-to-right|sideways right|lateral right|rightwards|right-moving
    left to right"""),
                  _TRAVEL),
    "pan up": (listed("""upward|upward|up|vertical upward|bottom-to-top|rising|ascending|upwards|climbing
    upward vertical|bottom to top"""),
               (*_LIFT, "rise", "climb", "ascent", "lift")),
    "pan down": (listed("""
        downward|downward|down|vertical downward|top-to-bottom|sinking|descending|downwards|falling|lowering
        downward vertical
        top to bottom"""), (*_LIFT, "descent", "drop", "fall")),
    "zoom in": (
        ("", "", "", "", "inward", "forward", "tight", "closing", "tightening"),
        listed("""zoom in|zoom in|push-in|push in|zoom-in|dolly in|crash zoom|crash zoom in|punch-in|move in|track in
        tracking in
        forward dolly|dolly-in|approach|zoom|close-in|push forward|move forward|forward tracking shot|dolly forward
        dolly-in shot
        push-in shot|zoom-in shot|forward motion|forward move|creep in|snap zoom|zoom towards the {thing}|inward zoom
        closing in
        forward flight|forward drift|camera push|in-zoom|forward glide|forward movement|zooming shot"""),
    ),
    "zoom out": (
        ("", "", "", "", "outward", "backward", "wide", "widening"),
        listed("""zoom out|zoom out|pull-out|pull back|zoom-out|pull-back|dolly out|reverse dolly|pan out|pullback
        pull-back shot
        crash zoom out|retreat|pull out|pull away|pull-away|move back|backward dolly|backward tracking shot
        reverse tracking shot
        dolly-out|dolly back|outward zoom|backward motion|backward move|withdrawal|step back|pull-out shot
        zoom-out shot|track back
        backward drift|backward flight|reverse zoom|out-zoom|backward glide|track out|backward movement
        widening shot"""),
    ),
    "rotate clockwise": (listed("clockwise|clockwise|clockwise|CW|right-handed|clock-wise"), _SPIN),
    "rotate counter-clockwise": (
        listed("""counter-clockwise|counterclockwise|anticlockwise|anti-clockwise|CCW|counter clockwise
        anti clockwise|left-handed"""),
        _SPIN),
}  # fmt: skip
"""What kind of movement, and what it is called."""

AND_THEN = listed("""
to reveal the {thing}|revealing the {thing}|showing the {thing}|to show more of the {thing}|along a row of {thing}
past the {thing}|above the {thing}|over the {thing}|from the {thing} to the {other}|so we see the {thing}|please
until the {thing} comes into view|as the {thing} comes into view|across the {thing}|on the {thing}|through the {thing}
following the {thing}|while the {thing} stays in view|and stops at the {other}|beside the {thing}|at the {thing}
to take in the whole {thing}|parallel to the {thing}|a bit|a little|for a better look|during the whole clip|throughout
to the very end|so that we can see the {thing}|so I can see the {thing}|with the {thing} in the foreground
and shows the {thing}
as the {thing} goes by|for the whole clip|in one take|without cuts|without any shake|from start to end
at a constant speed
while everything else stays as it is|and reveals the {thing}|to see the {other}|beyond the {thing}|behind the {thing}
finding the {thing}|to find the {thing}|discovering the {thing}|and show me the {thing}|to follow the {thing}
just a touch
until we see the {thing}|and lands on the {thing}|ending on the {thing}|to end on the {thing}|with no cuts
with the {thing}
""")
"""What may follow a move, whichever it is."""

_ENDING_IN = """
until the {thing} fills the frame|until it fills the screen|until only the {thing} is left in view
to a close-up of the {thing}
until the {thing} fills the whole picture|for a closer look at the {thing}|until we can read the {thing}
to see every detail
to an extreme close-up|until nothing but the {thing} is seen|so the {thing} gets bigger|till her {high} fills the screen
ending on a close-up of the {thing}|ending in a tight shot of the {thing}|from a wide view to the {thing}
"""
_ENDING_OUT = """
until the whole {thing} is visible|until the {thing} is just a dot|to show the whole {thing}
so that all of the {thing} is seen
until the {thing} looks tiny|to a wide shot|to reveal everything around the {thing}|to reveal how big the {thing} is
until the {thing}, the {thing} and the {other} are visible|until we see the entire {thing}
so we can see all of the {thing}
so the {thing} becomes small|to show where we are|to show the {thing} and the {other} around it
from a close-up of the {thing}
ending in a wide shot of the {thing}|until the {thing} disappears in the distance|till the entire {thing} can be seen
"""
ENDINGS: dict[str, tuple[str, ...]] = {
    "pan up": listed("""until it reaches the {high}|to end on the {high}|to show the {high}
    until the {high} comes into view|to her {high}"""),
    "pan down": listed("""until it reaches the {low}|to end on the {low}|to show the {low}
    until the {low} comes into view|to her {low}"""),
    "zoom in": listed(_ENDING_IN),
    "zoom out": listed(_ENDING_OUT),
}
"""How some moves end."""

_FIRST = "starting {at}|beginning {at}|from {at}|we start {at}|first {at}|it begins {at}|opening {at}|start {at}"
_PLACES: dict[str, tuple[str, ...]] = {
    "pan left": listed("on the right|at the {thing} on the right|at the right edge|on the right side"),
    "pan right": listed("on the left|at the {thing} on the left|at the left edge|on the left side"),
    "pan up": listed("""at the {low}|low at the {thing}|at the bottom of the {thing}|on the {low}|down at the {low}
    at his {low}|near the {low}"""),
    "pan down": listed("""at the {high}|high above the {thing}|at the top of the {thing}|on the {high}
    up at the {high}|at her {high}|in the {high}"""),
    "zoom in": listed("""far from the {thing}|wide|with a wide view of the {thing}|in a wide shot|far away
    with the whole {thing}"""),
    "zoom out": listed("""close on the {thing}|in a close-up of the {thing}|on a tight shot of the {thing}
    on the {thing}|very close
        with a macro of the {thing}|with a detail of the {thing}|on his {high}|inside the {thing}
        tight on the {thing}"""),
}  # fmt: skip
BEGINNINGS: dict[str, tuple[str, ...]] = {
    move: tuple(first.replace("{at}", place) for first in listed(_FIRST) for place in places)
    for move, places in _PLACES.items()
}
"""Where some moves begin."""

LOWS = listed("""
ground|floor|base|foot|feet|boots|shoes|sandals|heels|roots|street|pavement|bottom|hem|doorstep|water|grass|toes
ankles|sea
soil|stump|hooves|cellar|sand|wheels|puddle|rug|carpet|knees|river|stem|legs|courtyard|sidewalk|crowd|stage|valley
lawn|road
pond|campfire|lower branches|basement|surface|snow|mud|path|steps|socks|sneakers|skirt|deck|dust|pool|seabed|keel
fallen leaves
""")
HIGHS = listed("""
sky|ceiling|top|roof|tip|face|head|hat|crown|stars|clouds|collar|rim|summit|peak|spire|steeple|balcony|chimney
rooftop|branches
sun|moon|treetops|lid|neck|shoulders|eyes|hair|flag|dome|chandelier|antenna|mast|sails|lampshade|shade|eaves|ridge
upper floors
skylight|arch|canopy|bell tower|attic|gaze|helmet|veil|ceiling fan|weathervane|upper windows|smile|heavens|cliff top
mouth|lantern
""")
