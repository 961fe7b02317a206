"""The words by which prompts are judged. Data only; `motion` and `lint` say how they are used."""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words that `text` lists."""
    return frozenset(text.split())


ABSTRACT = words("""
beautiful beautifully amazing amazingly nice nicely awesome wonderful wonderfully lovely gorgeous stunning stunningly
fantastic incredible incredibly magnificent marvelous marvellous superb excellent perfect perfectly breathtaking
spectacular epic masterpiece impressive attractive charming delightful fabulous terrific outstanding exquisite
adorable interesting exciting unforgettable
""")
"""Praise: it says nothing that could be seen."""

MOVES = words("""
move turn rotate spin orbit circle revolve pan tilt zoom dolly glide slide drift float fly soar hover walk run jog
sprint jump leap hop climb crawl swim dive drive ride cruise swing sway wave wag nod shake tremble quiver vibrate
bounce flutter flap ripple flow pour drip splash sprinkle drizzle melt rise fall descend ascend tumble collapse blow
burn flicker shimmer sparkle glint twinkle blink wink fade bloom blossom grow wilt unfold unroll unwrap unwind spread
stretch bend twist curl swirl whirl twirl dance smile laugh giggle talk speak sing breathe chew eat sip lick yawn stir
whisk toss throw kick gallop canter chase pounce graze peck roar approach march stroll wander waddle wiggle wriggle
slither creep dart rush explode erupt crash shatter crumble scatter gather emerge appear disappear vanish transform
morph accelerate reveal billow rustle gush trickle cascade overflow spill fizz bubble simmer sizzle boil evaporate
dissolve inflate pulse throb follow travel roll drop push pull raise lower lift shift munch nibble sniff purr launch
undulate swell kneel clap grab carry drag knead squeeze bob sweep settle ooze hurtle stalk skip return enter exit loop
circulate surround
""")
"""Verbs of movement and of visible change, in their base forms. Every form counts but the past's: what is "curved"
or "twisted" does not move."""

NOUNLIKE = words("""
steam rain snow row land park track truck crane point brush comb dust paint ski surf skate cut cook cross pass lap
race step fold stream spray peel rock bow sail hit catch drink play crack slice mix spiral flash pedal paddle shoot
charge brake steer hug kiss look gaze glance glow shine reflect wash fan start stop beat fill type dress close open
change hatch preen groom
""")
"""Verbs that are as often something else: only their "-ing" counts."""

NOUNS_TOO = words("""
wave ripple swing slide drop roll shake fall fly flow turn run walk ride drive dive jump circle curl twist burn smile
spread bend sparkle bubble pulse drift glide shift lift climb splash dance travel stir march loop sweep rush
""")
"""Of `MOVES`, those whose other forms are nouns too: they name motion, but are actions of their own only after one of
`BEFORE_VERBS`, and with an "s" wherever they neither begin the text nor follow an "-ing" or one of `BEFORE_NOUNS`."""

BEFORE_VERBS = words("and then to it he she they who which that while slowly gently softly quickly smoothly")
BEFORE_NOUNS = words("""
the a an of with in on at by from over under through into its his her their two three many some big small high long
""")

VERB_FORMS = {"opens": "open", "closes": "close", "glows": "glow", "flew": "fly", "swam": "swim", "ran": "run"}
"""Forms that the rules above leave out."""

COMPOUND_FIRST = words("""
running walking hiking riding washing swimming rocking cutting rolling mixing frying baking cooking boiling folding
sliding swinging floating hanging climbing dancing driving flying racing diving sailing skating skiing surfing
drinking wrapping jumping playing painting chopping steaming pouring eating dressing changing throwing moving landing
parking shooting
""")
COMPOUND_SECOND = words("""
shoe shoes boot boots machine machines pool stick pin bowl bowls bag bags glass glasses door doors shelf shelves desk
chair chairs table tables watch gloves jacket knife pan pans pot paper rope suit gear trousers shorts jersey tray cup
cap kit set tool tools board boards horse lamp lights room mat mats helmet truck van boxes bike bicycle spout gown lot
space cards tights
""")
"""A word of the first set before one of the second is part of a thing's name: "running shoes"."""

NO_ACTION = words("""
frying-pan sauce-pan roasting-pan iron-pan steel-pan copper-pan hot-pan grill-pan and-pans pans-of pan-of pan-on
pan-with zoom-lens spring-rolls cinnamon-rolls sushi-rolls bread-rolls egg-rolls swing-set fly-fishing push-up pull-up
bubble-wrap bubble-tea bubble-bath wave-pattern fall-collection fall-season fall-colours fall-colors lift-top ride-on
drive-in shift-dress swing-dress drop-earrings travel-mug travel-bag travel-pillow travel-case dance-floor skip-rope
""")
"""Pairs of neighbours of which neither is an action."""

MOTION_NOUNS = r"\b(?:movement|motion|rotation|turntable|timelapse|time[- ]lapse)\b|\b(?:arc|crane|tracking) shot\b"
STAND_STILL = (
    r"\b(?:static|fixed|stationary|motionless|locked[- ]off|still|tripod) (?:camera|shot|frame|view)\b"
    r"|\b(?:camera|shot|frame|scene|view) (?:is|stays|remains|holds|keeps) (?:still|fixed|static|motionless)\b"
    r"|\b(?:no|without|not) (?:any |camera )?(?:motion|movement|mov(?:e|ing))\b|^\s*(?:static|freeze)\W*$"
)
"""What asks for a clip without motion: nothing is missing then."""

WATER = words("""
river rivers waterfall waterfalls brook creek rapids fountain fountains faucet waves surf stream
""")
"""Water that flows one way, which clips tend to show flowing back."""
FLOWS_BACK = "reverse motion, backward flow"
"""What is added to the negative prompt against that."""
