"""Verbs of camera moves, in the forms that sentences need: base, third person, -ing. Data only."""

from __future__ import annotations


def verbs(text: str) -> tuple[tuple[str, str, str], ...]:
    rows = (entry.split() for entry in text.replace("\n", ",").split(",") if entry.strip())
    return tuple((base, third, ing) for base, third, ing in rows)


SIDEWAYS = verbs("""
pan pans panning, slide slides sliding, glide glides gliding, drift drifts drifting, sweep sweeps sweeping
track tracks tracking, truck trucks trucking, move moves moving, travel travels traveling, travel travels travelling
float floats floating, swing swings swinging, shift shifts shifting, go goes going, scroll scrolls scrolling
wander wanders wandering, dolly dollies dollying, scan scans scanning
crab crabs crabbing, fly flies flying, swoop swoops swooping
ease eases easing, creep creeps creeping, inch inches inching, head heads heading, veer veers veering
skim skims skimming, whip whips whipping, look looks looking, step steps stepping, roam roams roaming
strafe strafes strafing, coast coasts coasting, steer steers steering, nudge nudges nudging, rush rushes rushing
""")
UPRIGHT = verbs("""
pan pans panning, tilt tilts tilting, move moves moving, slide slides sliding, glide glides gliding
drift drifts drifting, sweep sweeps sweeping, travel travels travelling, float floats floating, go goes going
scroll scrolls scrolling, crane cranes craning, boom booms booming, pedestal pedestals pedestaling, fly flies flying
look looks looking, ease eases easing, creep creeps creeping, inch inches inching, head heads heading
track tracks tracking, shift shifts shifting, swing swings swinging, scan scans scanning, point points pointing
angle angles angling, jib jibs jibbing, nudge nudges nudging, swoop swoops swooping
""")
RISING = verbs("""
rise rises rising, climb climbs climbing, ascend ascends ascending, soar soars soaring, lift lifts lifting
""")
SINKING = verbs("""
descend descends descending, sink sinks sinking, drop drops dropping, lower lowers lowering, fall falls falling
dip dips dipping
""")
ALONG = verbs("""
zoom zooms zooming, push pushes pushing, dolly dollies dollying, move moves moving, track tracks tracking
creep creeps creeping, glide glides gliding, fly flies flying, ease eases easing, drift drifts drifting
go goes going, travel travels travelling, slide slides sliding, inch inches inching, float floats floating
step steps stepping, crawl crawls crawling, punch punches punching, truck trucks trucking, roll rolls rolling
""")
NEARING = verbs("""
get gets getting, come comes coming, draw draws drawing, move moves moving, go goes going, bring brings bringing
edge edges edging, creep creeps creeping, zoom zooms zooming, inch inches inching, press presses pressing
""")
CLOSING = verbs("close closes closing, tighten tightens tightening, crop crops cropping, narrow narrows narrowing")
LEAVING = verbs("""
zoom zooms zooming, pull pulls pulling, dolly dollies dollying, move moves moving, track tracks tracking
back backs backing, creep creeps creeping, glide glides gliding, fly flies flying, ease eases easing
draw draws drawing, step steps stepping, drift drifts drifting, go goes going, travel travels travelling
slide slides sliding, inch inches inching, float floats floating, crane cranes craning
""")
TURNING = verbs("""
rotate rotates rotating, turn turns turning, spin spins spinning, roll rolls rolling, revolve revolves revolving
twist twists twisting, swirl swirls swirling, whirl whirls whirling, pivot pivots pivoting, swivel swivels swivelling
tilt tilts tilting, tip tips tipping, bank banks banking, twirl twirls twirling
cant cants canting, wheel wheels wheeling
""")
