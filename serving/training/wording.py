"""How people say each camera move, in parts that combine: who moves, which verb, where to. Data only.

`{thing}` stands for anything named, `{low}` and `{high}` for what is near the ground or overhead.
"""

from __future__ import annotations

from dataclasses import dataclass

from serving.training import verbs
from serving.training.bearings import CLOCKWISE, COUNTER, DOWN, UP, sides
from serving.training.verbs import Forms
from serving.training.words import listed


@dataclass(frozen=True)
class Wording:
    """One way of saying a move; any verb goes with any of what follows."""

    verbs: tuple[Forms, ...]
    after: tuple[str, ...]
    who: tuple[str, ...]
    """What moves, in the third person."""
    whom: tuple[str, ...] = ()
    """What one may be asked to move: "swing *the camera* left"; empty where the verbs take no object."""


CAMERA = listed("""
the camera|camera|the camera|the camera|camera|the view|the view|view|the shot|the shot|shot|the lens|lens|the frame
frame
our view|the viewpoint|the viewer|the picture|the scene|the drone|a drone|the tracking shot|the whole frame|the image
the perspective|the cameraman|the camera operator|the framing|the video|the footage|the angle|our gaze|the point of view
the gimbal|the crane|the slider|a handheld camera|the steadicam|the whole view|the eye of the camera|the clip|the cam
""")
MOVED = listed("""
the camera|the camera|camera|the view|the shot|the frame|the lens|it|our view|the viewpoint|the picture|the image
the drone
the angle|my view|the whole frame|the framing|us|the perspective
""")
TURNED = listed("""
the picture|the image|the frame|the view|the scene|the camera|the whole picture|everything|it|the {thing}|the horizon
the shot|the photo|the whole scene|the entire frame|the screen|the whole screen|the composition|the video|my picture
frame
the whole thing|the world|the whole shot|our view|camera|image|view|shot|the entire image|the whole image|the full frame
the entire picture|everything in view|everything on screen|the footage|the lens|all of it|my photo|the viewpoint
""")
_CREW = listed("the cameraman|we|the operator|the crew|the crane")

_SUBJECT = listed("the {thing}|the subject|the object|the details|her face|the {thing} in the middle")

WORDINGS: dict[str, tuple[Wording, ...]] = {
    "pan left": (Wording(verbs.SIDEWAYS, sides("left", "right"), CAMERA, MOVED),),
    "pan right": (Wording(verbs.SIDEWAYS, sides("right", "left"), CAMERA, MOVED),),
    "pan up": (
        Wording(verbs.UPRIGHT, UP, CAMERA, MOVED),
        Wording(verbs.RISING, ("", "", "", "", *listed("""
            up|upwards|above the {thing}|over the {thing}|up the {thing}|higher and higher|from the {thing}
            from the {low}
            from the {low} to the {high}|past the {thing}|to the {high}|along the {thing}|into the air|into the sky
            higher
            to the {high} of the {thing}|with the {thing}|from behind the {thing}|from the {low} of the {thing}
            straight up
            through the {thing}|to a high view|until we look over the {thing}|toward the {high}
            between the {thing}""")),
                CAMERA),
        Wording(verbs.RAISING, listed("""
            |up|up|upward|upwards|higher|to the top|up the {thing}|towards the sky|up to the {high}|from the {low}
            to the {high}
            above the {thing}|over the {thing}|up from the {low}|up along the {thing}|a little higher|up a bit"""),
                _CREW, MOVED),
        Wording(verbs.verbs("raise lift elevate hoist"), ("", "", "", *listed("""
            above the {thing}|over the {thing}|from the {thing}|from the {low}|a little|a bit|past the {thing}
            to the {high}
            to show the {thing}|so we see the {high}|higher|to reveal the {thing}""")), _CREW, MOVED),
    ),
    "pan down": (
        Wording(verbs.UPRIGHT, DOWN, CAMERA, MOVED),
        Wording(verbs.SINKING, ("", "", "", "", *listed("""
            down|downwards|towards the {thing}|to the floor|below the {thing}|lower and lower|to the ground
            to the {low}|lower
            from the {high}|from the {high} to the {low}|past the {thing}|along the {thing}|beneath the {thing}
            onto the {thing}
            under the {thing}|behind the {thing}|from the {thing}|into the {thing}|to the {low} of the {thing}
            straight down
            through the {thing}|to the level of the {thing}|until it reaches the {low}|toward the {low}
            over the {thing}""")),
                CAMERA),
        Wording(verbs.LOWERING, listed("""
            down|down|downward|downwards|lower|to the bottom|down the {thing}|towards the ground|down to the {low}
            to the {low}
            below the {thing}|under the {thing}|down from the {high}|from the {high}|down along the {thing}
            a little lower"""),
                _CREW, MOVED),
        Wording(verbs.verbs("lower drop sink dip"), ("", "", "", *listed("""
            beneath the {thing}|below the {thing}|to the {thing}|to the {low}|from the {high}|a little|a bit
            past the {thing}
            to show the {thing}|so we see the {low}|onto the {thing}|to her {low}|toward the {thing}
            behind the {thing}""")),
                _CREW, MOVED),
    ),
    "zoom in": (
        Wording(verbs.ALONG, listed("""
            in|in|in|in|inward|inwards|in on the {thing}|in on the {thing}|in closer|in tight|in towards the {thing}
            in toward it
            in tight on the {thing}|forward|forward|forwards|ahead|straight ahead|towards the {thing}|toward the {thing}
            into the {thing}|in to the {thing}|into the scene|deeper into the scene|forward over the {thing}|right in
            in close
            in on the details|in for a close-up|into the frame|forward through the {thing}
            into a close-up of the {thing}
            up close to the {thing}|in on the texture|straight at the {thing}|onto the {thing}|closer
            closer to the {thing}
            closer and closer|closer in|nearer|into her face|in from far away|forward into the {thing}
            deep into the {thing}
            forward along the {thing}|in through the {thing}|forward past the {thing}
            between the {thing} and into the {thing}
            in on his {high}|towards her {high}|forward to the {thing}|in on her {low}|up to the {thing}
            right up to the {thing}
            forward down the {thing}|in over the {thing}|forward between the {thing}|in from a wide shot to the {thing}
            forward under the {thing}|from a wide shot to a close-up|from wide to tight|further in
            deeper into the {thing}"""),
                CAMERA, MOVED),
        Wording(verbs.NEARING, listed("""
            closer|closer|nearer|closer to the {thing}|nearer to the {thing}|closer and closer|near the {thing}
            in close|in closer
            a little closer|right up to the {thing}|closer towards the {thing}|close to the {thing}
            ever closer to the {thing}
            nearer and nearer|much closer|closer in on the {thing}|closer to her face|closer to his {high}|up close"""),
                CAMERA, MOVED),
        Wording(verbs.CLOSING, listed("""
            in|in on the {thing}|on the {thing}|on the details|around the {thing}|in towards the {thing}
            in on her {high}
            in on his {high}|onto the {thing}|its framing on the {thing}|more and more
            down on the {thing}"""), CAMERA, MOVED),
        Wording(verbs.ENTERING, listed("""the {thing}|the scene|the {thing} slowly|the details
        the {thing} and its details|its {high}"""),
                CAMERA),
        Wording(verbs.BECOMING, listed("""
            bigger|larger|bigger in the frame|larger in the frame|closer|larger and larger|bigger on screen
            bigger and bigger
            closer and closer|tighter|tighter and tighter|tighter on the {thing}|huge in the frame|nearer"""),
                (*_SUBJECT, *listed("the shot|the framing|the view|the frame"))),
    ),
    "zoom out": (
        Wording(verbs.LEAVING, listed("""
            out|out|out|out|back|back|back|away|away|outward|outwards|backward|backwards|away from the {thing}
            back from the {thing}
            farther away|further away|back and away|out from the {thing}|out wide|out to a wide shot
            back to reveal the {thing}
            out to show the whole {thing}|out to reveal the scene|away to reveal the surroundings|further back|wider
            wide
            back to a wide view|out of the scene|away into the distance|back from the scene|further out
            out from a close-up
            back through the {thing}|backwards through the {thing}|off from the {thing}|out of the {thing}|far away
            back out
            farther and farther away|backward from the {thing}|backwards away from the {thing}|away from her face
            a long way back
            back until the {thing} is small|out until we see all of the {thing}|back along the {thing}|away and away
            far back
            from a close-up to a wide shot|from tight to wide|from a close-up of the {thing} to a wide view
            farther from the {thing}
            away from his {high}|out past the {thing}|back over the {thing}|back to show all of the {thing}
            out and away"""),
                CAMERA, MOVED),
        Wording(verbs.verbs("back"), listed("""up|up|off|away|away from the {thing}|off from the {thing}
        up from the {thing}|out"""),
                CAMERA, MOVED),
        Wording(verbs.RETREATING, ("", "", "", *listed("""
            from the {thing}|backwards|away|into the distance|from the scene|away from the {thing}|from his {high}
            down the {thing}
            through the {thing}|out of the {thing}|to a distance|to show the {thing}""")), CAMERA),
        Wording(verbs.WIDENING, ("", "", "", *listed("""
            out|up|up to show the {thing}|to show more|to reveal the {thing}|to a wide shot|outwards
            to include the {thing}
            until the whole {thing} is visible|until everything is in view|from a close-up of the {thing}
            from the {thing}
            out to the {thing}|to take in the {thing}|more and more|until the {thing} and the {thing} can be seen""")),
                CAMERA, listed("the shot|the view|the frame|the framing|it|the angle")),
        Wording(verbs.REVEALING, listed("""
            more of the scene|the surroundings|more of the room|the whole scene|more and more of the {thing}
            what is around
            everything around the {thing}|the bigger picture|the whole {thing} little by little
            more and more of the surroundings"""),
                CAMERA),
        Wording(verbs.BECOMING, listed("""
            smaller|smaller in the frame|smaller and smaller|more distant|farther away|tinier|tiny in the frame
            further away
            farther and farther away|small in the distance|wider|wider and wider|wider to show the {thing}
            ever smaller"""),
                (*_SUBJECT, *listed("the shot|the framing|the view|the frame"))),
    ),
    "rotate clockwise": (Wording(verbs.TURNING, CLOCKWISE, TURNED, TURNED),),
    "rotate counter-clockwise": (Wording(verbs.TURNING, COUNTER, TURNED, TURNED),),
}  # fmt: skip
