"""Verbs of camera moves, in the forms that sentences need: base, third person, -ing."""

from __future__ import annotations

import re

Forms = tuple[str, str, str]
_BRITISH = {"travel": "travelling", "swivel": "swivelling", "pedestal": "pedestalling"}
"""Spelt in two ways; both are drawn."""


def verbs(text: str) -> tuple[Forms, ...]:
    """Regular verbs, given as bases with blanks between."""
    rows = []
    for base in text.split():
        third, ing = _third(base), _ing(base)
        rows.append((base, third, ing))
        if base in _BRITISH:
            rows.append((base, third, _BRITISH[base]))
    return tuple(rows)


def _third(base: str) -> str:
    if re.search(r"[^aeiou]y$", base):
        return base[:-1] + "ies"
    return base + ("es" if re.search(r"(s|sh|ch|x|z|o)$", base) else "s")


def _ing(base: str) -> str:
    if re.search(r"[^e]e$", base):
        return base[:-1] + "ing"
    doubled = re.fullmatch(r"(?:[^aeiou]*|qu)[aeiou][^aeiouwxy]", base)
    return base + (base[-1] if doubled else "") + "ing"


ANYWHERE = verbs("""
move go travel drift float glide slide fly sail swoop ease creep inch crawl edge head shift nudge sweep track cruise run
race rush hurry dash dart wander roam meander stroll walk step march steer coast slip sneak proceed progress advance
wing flow hover skate shoot jump swing carry bring take send guide lead push pull draw whip snap dolly scan scroll
""")
"""Where they go is said by what follows."""
SIDEWAYS = ANYWHERE + verbs("""
pan pan pan truck slide track crab scan veer skim strafe look glance sidle sidestep traverse angle point aim face peer
trail pivot steer reframe stretch
""")
UPRIGHT = ANYWHERE + verbs("""
pan pan tilt tilt crane boom pedestal jib look glance gaze peer angle point aim trail pivot reframe stretch run
""")
RISING = verbs("rise rise climb ascend soar lift levitate mount")
RAISING = verbs("raise lift elevate hoist bring tilt crane jib boom float point angle heave boost")
SINKING = verbs("descend sink drop lower fall dip plunge plummet dive settle")
LOWERING = verbs("lower drop sink dip bring tilt crane jib boom let point angle ease")
ALONG = ANYWHERE + verbs("""
zoom zoom zoom push push dolly dolly punch truck roll lean press nose hone home plunge dive close
""")
NEARING = verbs("""
get get come draw move move go bring edge creep zoom inch press walk step float fly drift glide slide track push dolly
lean ease take crawl
""")
CLOSING = verbs("close close tighten tighten crop narrow home hone")
ENTERING = verbs("approach enter enlarge magnify reach near penetrate")
LEAVING = ANYWHERE + verbs("""
zoom zoom zoom pull pull pull dolly dolly back back draw step crane reverse truck roll fall drop peel
""")
RETREATING = verbs("retreat recede withdraw backtrack reverse")
WIDENING = verbs("widen widen open expand broaden loosen")
REVEALING = verbs("reveal show uncover")
BECOMING = verbs("get grow become look turn appear")
TURNING = verbs("""
rotate rotate rotate rotate turn turn turn spin spin roll roll roll revolve twist swirl whirl pivot swivel tilt tip bank
twirl cant wheel
spiral circle gyrate reel tumble crank wind lean slant go move
""")
