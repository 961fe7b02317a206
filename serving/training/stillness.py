"""How people say that the camera does not move, in parts that combine."""

from __future__ import annotations

import random

from serving.training.words import listed

_WHO = listed("""
the camera|the camera|camera|the shot|the frame|the view|the picture|the image|the scene|the whole scene|everything
the lens|it|the photo|the viewpoint|the composition|the tripod|the framing|the perspective|the camera angle|the angle
the camera position|our view|the point of view|the whole picture|the whole frame|the background
""")
_IS = listed("""
is|stays|remains|holds|keeps|is kept|is held|stands|sits|rests|should be|must stay|should stay|is locked|is left
has to stay|needs to stay|can stay|to stay|must be|has to be|will be|will stay|should remain|must remain|just sits
""")
_STILL = listed("""
still|static|fixed|motionless|stationary|unmoving|steady|unchanged|locked|locked off|locked down|frozen
perfectly still|completely still|totally static|in place|where it is|put|immobile|as it is|rock steady|absolutely still
entirely motionless|at rest|unchanging|rooted to the spot|bolted down|nailed to the floor|on a tripod|on its tripod
the same|the same throughout|fixed in place|in one place|in the same place|in position|dead still|rock solid|constant
as still as a photograph|glued in place|anchored|mounted on a tripod|clamped down|quite still|untouched|parked
exactly where it is|just as it is|pinned in place|without moving|fixed from start to end|steady as a rock
""")
_KIND = listed("""
still|static|fixed|motionless|stationary|unmoving|steady|locked|locked-off|locked-down|locked off|frozen|immobile
perfectly still|completely static|unchanging|tripod|single fixed|rock-steady|tripod-mounted|non-moving|never moving
""")
_VIEW = listed("""
camera|camera|camera|shot|shot|frame|view|framing|composition|angle|camera angle|wide shot|close-up|viewpoint
tripod shot
picture|perspective|camera position|take|lens|medium shot|image|setup
""")
_NO = listed("no|zero|without|without any|not any|with no|absolutely no|free of|not a single|none of the|never any")
_MOTION = listed("""
camera motion|camera movement|motion|movement|camera move|panning or zooming|moving camera|camera shake|motion at all
movement at all|camera moves|pan or zoom|motion of the camera|movement of any kind|zoom|panning|zooming|camera work
change of framing|change of angle|zooms or pans|shaking|panning, zooming or tilting|movement from the camera|zoom or pan
pan, no zoom|zoom, no pan|pan, no tilt, no zoom|zoom and no pan|tilts, pans or zooms|reframing|shift in perspective
""")
_KEEP = listed("""
keep|hold|leave|lock|freeze|fix|let|mount|please keep|I want to keep|just keep|simply hold|try to keep|set|park
just leave
""")
_DO_NOT = listed("""
do not|don't|never|please do not|please don't|the camera does not|camera doesn't|nothing should|nothing may|it won't
we do not|the frame doesn't|the camera should not|the camera must not|the camera never|the view does not|the shot won't
the camera will not|camera should never|the viewpoint does not|there is no need to|let nothing|make sure not to
the picture must not|I don't want you to|the lens does not|you should not|the camera refuses to
""")
_DO = listed("""
move|move at all|pan or zoom|move the camera|zoom or pan|budge|shift|zoom|pan|change the framing|drift|stir|move an inch
touch the camera|move or zoom|change|tilt or pan|turn|change the angle|change position|leave its place|wobble|follow
budge an inch|pan, tilt or zoom|move around|move in any direction|reframe|move the shot|change the view
""")
_NEVER = listed("""
never changes|never moves|never shifts|does not change|doesn't change|doesn't move|does not move at all|stays the same
does not budge|never budges|isn't moving|is not moving|never leaves its place|won't move|neither pans nor zooms
doesn't follow|does nothing|just watches|simply watches|only watches|simply observes|keeps still|holds its position
stands still|stays put|does not follow|never once moves|is locked on a tripod|is bolted to the tripod|is set on a tripod
does not turn or zoom|keeps its place|rests on a tripod
""")
_LIKE = listed("""
on a tripod|shot on a tripod|filmed from a tripod|tripod|from one fixed position|like a security camera|one fixed angle
camera on sticks|as if on a tripod|from a fixed viewpoint|hold that frame|stay right there|stay on the same framing
same framing throughout|keep still|stay still|hold still|keep everything where it is|stand still|hold position
one unchanging view|locked on a tripod|like a surveillance camera|a single steady frame|let the shot sit|hold the frame
only the {thing} moves, not the camera|just the {thing} moves and the camera doesn't|leave the shot alone|stay put
nothing moves but the {thing}, camera fixed|stay with this frame|hold on the {thing}|stay on the {thing} without moving
""")
_EVEN = ("", "", "", "", "totally ", "fully ", "very ", "completely ", "absolutely ", "nice and ")


def held(rng: random.Random, thing: str) -> str:
    """That nothing moves but, at most, `thing`."""
    kind = rng.random()
    if kind < 0.24:
        parts = [rng.choice(_WHO), rng.choice(_IS), rng.choice(_STILL)]
    elif kind < 0.42:
        kinds = rng.choice(_EVEN) + rng.choice(_KIND) if rng.random() < 0.8 else ", ".join(rng.sample(_KIND, 2))
        parts = [rng.choice(("", "", "a", "with a", "use a", "from a", "one")), kinds, rng.choice(_VIEW)]
    elif kind < 0.56:
        parts = [rng.choice(_NO), rng.choice(_MOTION)]
    elif kind < 0.68:
        parts = [rng.choice(_KEEP), rng.choice(_WHO), rng.choice(_STILL)]
    elif kind < 0.78:
        parts = [rng.choice(_DO_NOT), rng.choice(_DO)]
    elif kind < 0.89:
        parts = [rng.choice(_WHO), rng.choice(_NEVER)]
    elif kind < 0.95:
        parts = [rng.choice(_LIKE).format(thing=thing)]
    else:
        parts = [rng.choice(_STILL), rng.choice(_WHO).split()[-1]]
    return " ".join(part for part in parts if part)
