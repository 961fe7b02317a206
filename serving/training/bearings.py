"""Where a camera move may go: sideways, up and down, and round. Data only, with the places of `wording`."""

from __future__ import annotations

from serving.training.words import listed

_SIDES = """
{side}|{side}|{side}|to the {side}|to the {side}|to the {side}|{side}ward|{side}wards|{side}ward|towards the {side}
toward the {side}|sideways to the {side}|over to the {side}|off to the {side}|to the {side} side
to the {side} past the {thing}|{side} along the {thing}|{side} across the {thing}|{side} over the {thing}
past the {thing} to the {side}|across the {thing} to the {side}|from {other} to {side}|{other} to {side}
from the {other} to the {side}|along the {thing} from {other} to {side}|{side} past the {thing}|out to the {side}
a little to the {side}|further {side}|to {side}|laterally {side}|across the {thing} from {other} to {side}
to the {side} across the scene|sideways {side}|horizontally to the {side}|to the {side}-hand side|{side} to the {thing}
{side} until the {thing} comes into view|from the {other} edge to the {side} edge|{side} through the {thing}
{side} by the {thing}|{side} beside the {thing}|{side} beyond the {thing}|{side} behind the {thing}|a bit to the {side}
{side} a bit|far to the {side}|all the way {side}|all the way to the {side}|slightly to the {side}|in a {side}ward arc
in the {side} direction|in a {side}ward direction|to the {side} of the frame|round to the {side}|around to the {side}
to the {side} between the {thing} and the {thing}|along the {thing} to the {side}|{side} in front of the {thing}
{side} and past the {thing}|on to the {side}|{side}wards along the {thing}|{side} over the {thing} and the {thing}
from the {thing} on the {other} to the {thing} on the {side}|from the {other} side to the {side}|{side} with the {thing}
in the direction of the {side}|across to the {side}|{side} alongside the {thing}|parallel to the {thing}, to the {side}
beneath the {thing} to the {side}|{side} down the {thing}|{side} up the {thing}|{side} around the {thing}
"""
_UPRIGHT = """
{up}|{up}|{up}|{up}ward|{up}wards|{up}ward|straight {up}|{up} along the {thing}|{up} the {thing}|{up} over the {thing}
{up} from the {thing}|vertically {up}|{up} past the {thing}|{up} across the {thing}|from {bottom} to {top}
from the {bottom} to the {top}|{bottom} to {top}|towards the {top}|to the {top}|toward the {top} of the {thing}
{up} to the {thing}|{up} towards the {thing}|in an {up}ward direction|{up}wards past the {thing}
from the {bottom} of the {thing} to its {top}|all the way {up}|{up} a little|{up} to the {to}|{up} to the {to}
from the {start} to the {to}|from the {start} {up} to the {to}|from the {start} of the {thing} to its {to}
{up} to its {to}
{up} from the {start}|{up} from the {start} to the {thing}|from his {start} to his {to}
from her {start} {up} to her {to}
{up} at the {to}|{up} toward the {to} of the {thing}|to the {to} of the {thing}|{up} onto the {thing}|{up} a bit
from the {thing} {up} to the {to}|from the {start} {up} to the {thing}|{up}ward along the {thing}
{up} through the {thing}
from the {start} to the {to} of the {thing}|{up} past the {start}|{up} and {up}|{up} between the {thing} and the {thing}
{up} the length of the {thing}|{up} the side of the {thing}|{up} the front of the {thing}|{up} the {thing} to the {to}
vertically from {bottom} to {top}|towards the {to}|toward his {to}|to her {to}|{up} his body to his {to}|{up}wards a bit
from {start} to {to}|{up} to {to} level|{up} behind the {thing}|{up} above the {thing}|{up} beneath the {thing}
"""
_CLOCK = """
{clock}|{clock}|{clock}|{clock}|in a {clock} direction|{clock} around its centre|{clock} about the center
{clock} a little
in {clock} direction|{clock} around the {thing}|a few degrees {clock}|{clock} by a few degrees|{clock} on the spot
{clock} around the lens axis|{clock} about its middle|{clock} like a wheel|{clock} around the middle of the screen
{clock} a bit
around its axis {clock}|around the center {clock}|{clock} on its axis|in the {clock} sense|in a {clock} motion
{clock} above the {thing}
in a {clock} circle|{clock} by ten degrees|{clock} over the {thing}|{clock} like a propeller|{clock} all the way through
about its centre, {clock}|round and round {clock}|around in a {clock} direction|{clock} as one|round {clock}
{clock} in place
"""
_CW = listed("like the hands of a clock|the way a clock runs|in the direction of a clock's hands|with the clock")
_CCW = listed("""against the clock|against the hands of the clock|opposite to the way a clock runs
the other way round than a clock""")


def sides(side: str, other: str) -> tuple[str, ...]:
    return listed(_SIDES.replace("{side}", side).replace("{other}", other))


def _upright(up: str, bottom: str, top: str, start: str, end: str, more: str) -> tuple[str, ...]:
    spoken = _UPRIGHT.replace("{up}", up).replace("{bottom}", bottom).replace("{top}", top)
    return listed(spoken.replace("{start}", start).replace("{to}", end) + more)


def _clock(*words: str) -> tuple[str, ...]:
    return tuple(entry for word in words for entry in listed(_CLOCK.replace("{clock}", word)))


UP = _upright(
    "up",
    "bottom",
    "top",
    "{low}",
    "{high}",
    """
|higher|towards the sky|toward the ceiling|up into the sky|skyward|skywards|up to the sky|higher and higher
heavenward""",
)
DOWN = _upright(
    "down",
    "top",
    "bottom",
    "{high}",
    "{low}",
    """
|lower|towards the floor|toward the ground|down to the floor|to the ground|groundward|to ground level|lower and lower
earthward""",
)
CLOCKWISE = (*_clock("clockwise", "clockwise", "cw", "clock-wise"), *_CW)
COUNTER = (
    *_clock("counter-clockwise", "counterclockwise", "anticlockwise", "anti-clockwise", "counter clockwise", "ccw",
            "anti clockwise"),
    *_CCW,
)  # fmt: skip
