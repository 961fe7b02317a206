"""What prompts tell besides the camera move: people and things with doings of their own, and how it all looks.

Much of it uses the words of camera moves ("a rising sun", "turns the page", "a lamp on the left") for other things.
"""

from __future__ import annotations

import random

from serving.training.verbs import verbs
from serving.training.words import ACTORS, COMMON, PLACES, QUALITIES, THINGS, WHITHER, listed

PEOPLE = listed("""
a fisherman|an old sailor|a violinist|a waiter|the waitress|two friends|a young couple|a nurse|a farmer|a soldier|a monk
the queen|a king|a wizard|a knight|a samurai|a detective|a robot|a mechanic|a gardener|a barber|the bride|a tailor
a potter
a blacksmith|a diver|a climber|a pilot|a surfer|a skier|a boxer|a drummer|a guitarist|a singer|a painter|a ballerina
grandma
my dad|my sister|her brother|a baby|twins|a teenager|a student|the teacher|a scientist|an explorer|a hiker|a cowboy
a thief
a ghost|a dragon|an alien|a mermaid|a witch|a clown|tourists|a crowd of dancers|commuters|a street vendor|a beekeeper
a barista
a baker|a librarian|a lighthouse keeper|a shepherd|a puppet|a snowman|a lone traveler|a figure in a coat|a woman in red
""")
BEASTS = listed("""
a heron|an eagle|a hawk|sparrows|pigeons|a swan|ducks|a frog|a lizard|a snake|a wolf|a bear|a panda|a monkey
a giraffe|a zebra
a whale|dolphins|a shark|an octopus|a crab|jellyfish|a snail|ants|a spider|a dragonfly|moths|fireflies|a squirrel
a hedgehog|a mouse
a goat|a donkey|a camel|a rooster|hens|a lamb|a pony|a bat|an otter|a seal|a penguin|koi|a goldfish|a peacock
a flamingo|a hummingbird
""")
OBJECTS = listed("""
lighthouse|windmill|carousel|ferris wheel|fountain|harbor|market stall|train station|subway car|tram|gondola|canoe
rowboat|sailboat
hot air balloon|spaceship|satellite|control panel|engine|gear|pocket watch|hourglass|typewriter|gramophone
vinyl record|jukebox
chess board|dartboard|pinball machine|billiard table|rocking chair|fireplace|campfire|chandelier|staircase
spiral staircase
hallway|corridor|elevator|escalator|balcony|rooftop|skyline|skyscraper|cathedral|monastery|pagoda|ruins|pyramid
obelisk|totem
cliff|canyon|glacier|volcano|cave|reef|waterfall|rice terrace|vineyard|orchard|wheat field|tulip field|bamboo grove
redwood
spider web|dew drop|snowflake|feather|shell|pebble|crystal|diamond|emerald|pearl|brooch|tiara|sword|shield|armor
throne|banner
scroll|map|compass|telescope|microscope|test tube|circuit board|neon sign|billboard|graffiti|mural|mosaic
stained glass|sundial
wedding cake|ramen|dumplings|pancakes|waffles|donut|cupcake|croissants|cheese board|pretzel|taco|oyster|champagne
whisky|smoothie
matcha|teapot|wok|grill|rolling pin|crane|tripod|truck|forklift|steam engine|bulldozer|scooter|rickshaw|vintage car
race car
skateboard ramp|stadium|boxing ring|swimming pool|ski slope|circus tent|stage|orchestra|piano keys|drum kit|saxophone
harp
greenhouse|terrarium|bonsai|sunflowers|lavender|cherry blossoms|autumn leaves|mushrooms|ferns|moss|ivy|pine cone
acorn|pumpkin
runway|control tower|hangar|pier|buoy|anchor|dock|bridge cables|tunnel|railway|crossroads|alley|courtyard|gate
archway|doorway
dresser|wardrobe|bathtub|sink|faucet|mattress|bean bag|floor lamp|side table|nightstand|coffee machine
espresso machine|juicer
running shoe|trench coat|evening gown|denim jacket|silk scarf|leather boots|cufflinks|perfume bottle|face cream|serum
nail polish
gaming chair|smartwatch|power bank|camera bag|lens cap|drone|action camera|e-reader|vacuum cleaner|air purifier
toothbrush
""")
FRIENDS = listed("""
rolling hills|a spinning top|turning wheels|still water|the rising sun|falling leaves|floating lanterns
a sliding door|left hand
right hand|the upper shelf|lower deck|the back door|a closed window|a wide river|tight jeans|an open book
a tilted hat|a moving tram
a frozen lake|a locked door|steady rain|a motionless heron|a stationary bike|the setting sun|a zoom lens
a pan of onions|a push cart
a pull cord|a dolly of boxes|a revolving door|a swivel chair|a rotating sign|an upright piano|a downtown street
backlit steam
an upstairs window|a downhill road|a drifting boat|a passing train|close friends|a distant tower|the far shore
a nearby cafe
a turntable|swirling fog|twisting roads|a winding path|a swinging lamp|sinking ships|a descending staircase
a climbing rose
a high wall|a low table|a deep valley|a forward scout|an approaching storm|a retreating tide|an orbiting moon
a clock on the wall
upturned chairs|a fixed stare|a static radio|a leaning tower|the left bank|a right turn sign|an inward smile
an outdoor cafe
steam rising|smoke curling upward|petals falling|rain running down the glass|snow drifting down|bubbles rising
a flag waving
stars wheeling overhead|clouds rolling in|waves rolling in from the left|fog moving in|leaves swirling
birds circling overhead
sunlight from the left|light from the right|shadows on the left|a tree on the right|mountains in the back
a river to the left
traffic going by|cars zooming past|a ceiling fan turning|a record spinning|the blades turning clockwise
children running around
a wheel going counterclockwise|gears rotating|dancers twirling|a fish swimming up|a leaf floating down|a kite high up
""")
DOINGS = verbs("""
stir hold carry open close paint write read play cook pour cut lift drop throw catch wash clean fix build watch
raise lower tilt turn roll pull push spin slide swing track back pass cross climb follow leave enter reach touch
show point shake brush fold pack sweep move shift twist wind draw wave shoot kick bite lick smell taste drink eat
hug kiss greet avoid guard chase hunt feed ride steer park load sort arrange decorate polish sharpen light blow
steady fasten lock freeze zoom
""")
RESTING = listed("""
sits|stands|waits|sleeps|smiles|laughs|whispers|kneels|rests|stares|looks up|looks down|looks left|turns around
leans back|leans in
sits still|stands motionless|gazes at the stars|nods|blinks|sings|dances|weeps|bows his head|raises her arms
waves goodbye
is lost in thought|is fast asleep|takes a bow|steps aside|moves closer|backs away|falls asleep|rolls over
spins around|climbs up
""")
LOOKS = listed("""
oil painting style|watercolor|1970s film look|lo-fi mood|teal and orange grade|anamorphic flares|documentary style
claymation
stop-motion style|film noir|VHS look|hyperrealistic|impressionist brush strokes|anime style|pixel art|comic book look
sepia tones
low angle|high angle|top-down view|bird's-eye view|overhead shot|wide-angle lens|macro lens|tilt-shift look|fish-eye
eye level|dusk
rim light from the left|backlight|low key lighting|high contrast|long exposure|moody atmosphere|dreamy feeling
tense and quiet
nostalgic|melancholic mood|epic|hypnotic|peaceful|cosy winter mood|festive|luxury commercial|fashion film
tech commercial|lookbook
music video|horror style|western look|science fiction|cyberpunk neon|medieval fantasy|fairy tale|vaporwave
gritty 35mm grain
overcast|foggy morning|blue hour|noon sun|moonlight|firelight|neon glow|candle light|after the rain|first snow
heat haze|at dawn
muted palette|pastel palette|earthy tones|monochrome|vibrant colors|warm tones|cool tones|desaturated|rich colors
soft focus
no text|no people|no music|ultra sharp|wide landscape|tight framing|close up|medium shot|vertical video
""")
_JOIN = listed("""while|as|and|with|where|because|before|after|near|under|behind|beneath|inside|against|among|through
over""")


def noun(rng: random.Random) -> str:
    """A thing, with none to two qualities."""
    words = rng.sample(QUALITIES, rng.choice((0, 1, 1, 2)))
    return " ".join([*words, rng.choice(THINGS if rng.random() < 0.5 else OBJECTS)])


def unknown(rng: random.Random) -> str:
    """A word the model has never seen, such as a brand."""
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 9)))


def actor(rng: random.Random) -> str:
    return rng.choice(rng.choice((ACTORS, PEOPLE, PEOPLE, BEASTS)))


def happening(rng: random.Random) -> str:
    """A clause or two in which someone does something, which says nothing about the camera."""
    kind, who = rng.random(), actor(rng)
    base, third, ing = rng.choice(DOINGS)
    if kind < 0.3:
        said = f"{who} {third} {rng.choice(('the', 'a', 'his', 'her', 'an old'))} {noun(rng)}"
    elif kind < 0.45:
        said = f"{who} {ing} {rng.choice(('the', 'a', 'his', 'her'))} {noun(rng)}"
    elif kind < 0.6:
        said = f"{who} {rng.choice(RESTING)}"
    elif kind < 0.8:
        said = rng.choice(FRIENDS)
    else:
        said = f"{who} {rng.choice(('starts to', 'wants to', 'is about to', 'can'))} {base} {rng.choice(WHITHER)}"
    if rng.random() < 0.3:
        said += " " + rng.choice(PLACES)
    if rng.random() < 0.3:
        said += f" {rng.choice(_JOIN)} {rng.choice(FRIENDS) if rng.random() < 0.5 else 'the ' + noun(rng)}"
    return said


def babble(rng: random.Random) -> str:
    """Any words at all, some of which it will never have met."""
    count = rng.randint(2, 8)
    return " ".join(unknown(rng) if rng.random() < 0.3 else rng.choice(COMMON) for _ in range(count))
