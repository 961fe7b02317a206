"""Word lists: what prompts speak of besides the camera. Data only, written for this project."""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


def listed(text: str) -> tuple[str, ...]:
    """Entries of several words, between bars and ends of lines."""
    return tuple(entry.strip() for entry in text.replace("\n", "|").split("|") if entry.strip())


THINGS = _words("""
mug cup teapot kettle bottle vase bowl plate jar candle lamp lantern clock mirror chair armchair sofa couch table desk
shelf bookcase bed pillow blanket rug curtain basket box bag handbag backpack suitcase wallet belt watch ring necklace
bracelet earrings sunglasses glasses hat cap scarf gloves shoe shoes sneaker sneakers boots sandals dress skirt shirt
jacket coat sweater hoodie jeans trousers suit tie sock swimsuit apron smartphone phone tablet laptop keyboard mouse
monitor headphones earbuds speaker camera lens drone charger cable console controller television projector printer
router robot toaster blender mixer oven microwave fridge pan pot knife spoon fork cutting board coffee tea espresso
latte cake cookie bread croissant pizza burger salad soup noodles sushi steak fruit apple orange lemon banana
strawberry grape peach cherry tomato avocado chocolate ice cream wine beer juice cocktail perfume lipstick cream soap
shampoo brush comb towel toy doll teddy bear puzzle ball bicycle motorcycle car truck train boat ship airplane kite
guitar piano violin drum book notebook pen pencil painting poster sculpture statue flower rose tulip sunflower plant
cactus tree leaf forest mountain hill valley river lake sea ocean beach wave waterfall island desert field meadow
garden park street road bridge city village building house castle tower church temple window door wall fence stairs
cat dog kitten puppy horse cow sheep bird parrot owl fish turtle rabbit fox deer lion tiger elephant butterfly bee
person woman man girl boy child family model dancer runner chef artist musician astronaut portrait face hand eyes hair
sky cloud clouds sun moon star stars rain snow fog fire smoke steam candlelight product package bouquet jewelry
furniture appliance tool hammer drill tent umbrella helmet skateboard surfboard racket
""")

QUALITIES = _words("""
red blue green yellow orange purple pink brown black white grey silver golden beige teal navy cream ceramic wooden
glass metal leather cotton linen wool silk velvet plastic paper stone marble concrete steel copper brass bamboo small
large tall short round square thin thick heavy light old new vintage modern classic minimal elegant simple colourful
bright dark matte glossy shiny transparent soft rough smooth fresh warm cold hot delicious handmade premium luxury
sporty casual cosy rustic industrial striped dotted floral patterned plain waterproof wireless portable folding
electric smart tiny huge fluffy
""")

PLACES = listed("""
on a table|on a wooden table|on a marble counter|on a white background|on a grey background|in a studio|in a kitchen
in a living room|in a bedroom|in a cafe|in a shop window|in a garden|in a park|in the city|in the street|at the beach
by the sea|by the window|near a river|in the mountains|in a forest|in the snow|under a blue sky|on a shelf
on a podium|on a shelf on the left|next to a plant on the right|with a lamp on the left|on the right side of the room
in the upper corner|at the bottom of the stairs|on the top shelf|in the library|on the floor|against a brick wall
beside an open book|surrounded by flowers|with mountains in the background|with people in the background
above the fireplace|below a painting|in front of a mirror|with a shadow on the right|from the front|from above
""")

STYLES = listed("""
soft lighting|soft light|studio lighting|natural light|warm light|golden hour|sunset|at night|morning light
cinematic|cinematic lighting|film look|high detail|highly detailed|sharp focus|shallow depth of field|bokeh
product photography|product shot|commercial shot|close-up|close-up view|close up shot|wide shot|macro|top view
front view|side view|full body|realistic|photorealistic|4k|8k|high quality|high resolution|minimalist style
pastel colours|vivid colours|black and white|clean background|white background|dramatic shadows|showing all sides
showing the details|highlighting the texture|elegant mood|calm mood|for a product page|advertising clip
""")

DEEDS = listed("""
steam rising|steam rising from the hot coffee|water flowing|waves rolling|leaves moving in the wind|petals falling
snow falling|rain falling|hair blowing in the wind|fabric flowing|the flame flickering|smoke drifting|clouds drifting
light reflecting on the surface|sparkles glinting|the person smiling|the person walking|the woman looking at the viewer
the dog wagging its tail|the cat blinking|birds flying|bubbles rising|sauce dripping|coffee being poured
the wheels spinning fast|the screen glowing|stars twinkling|grass swaying|papers floating in the air
a boat sailing on the water|the river running down the hill|looking up at the sky|a train passing by
""")

ACTORS = listed("""
the dancer|a dancer|the dog|a dog|a fox|the cat|a bird|birds|gulls|a train|the train|a car|the car|a boy|the boy|a girl
the girl|a man|the man on the left|an old woman|people|kids|a child|the runner|a skateboarder|a cyclist|the horse|a ship
a boat|the waves|leaves|petals|smoke|steam|mist|the clouds|the river|a waterfall|a rocket|a balloon|snowflakes
water|rain|a wheel|a spinning wheel|the fan|the windmill|a record|the carousel|a clock|the crowd|a butterfly
fish|the chef|a kite
""")
ACTS = _words("""
runs running walks walking flies flying drifts drifting rises rising falls falling turns turning spins spinning twirls
twirling looks looking jumps jumping rolls rolling floats floating swims swimming sails sailing trots trotting rides
pulls pulling moves moving crosses crossing curls curling glides gliding rotates rotating leans steps pointing blowing
""")
WHITHER = listed("""
up|down|away|to the left|to the right|from right to left|from left to right|upward|downward|upwards|in from the left
in from the right|forward|towards the viewer|across the stage|in the background|clockwise|counterclockwise|over the hill
across the street|through the forest|into the distance|down the stairs|up the hill|in circles|past|around|overhead
on the left|on the right|at the sky|in the air|out of the door|along the road|to the ground|towards the camera
""")
"""Where things go by themselves, which says nothing about the camera."""

COMMON = _words("""
the of and a to in is it you that he was for on are with as his they be at one have this from or had by but some what
there we can out other were all your when up use word how said an each she which do their time if will way about many
then them would write like so these her long make thing see him two has look more day could go come did my sound no
most number who over know water than call first people may down side been now find any work part take get place made
live where after back little only round year came show every good me give our under name very through just form great
think say help low line before turn cause same mean differ move right boy does tell sentence set three want air well
also play small end put home read hand port large spell add even land here must big high such follow act why ask men
change went light kind off need house picture try us again animal point mother world near build self earth father
head stand own page should country found answer school grow study still learn plant cover food sun four thought let
keep eye never last door between city tree cross since hard start might story saw far sea draw left late run while
press close night real life few stop open seem together next white children begin got walk example ease paper often
always music those both mark book letter until mile river car feet care second group carry took rain eat room friend
began idea fish mountain north once base hear horse cut sure watch color face wood main enough plain girl usual young
ready above ever red list though feel talk bird soon body dog family direct pose leave song measure state product
black short numeral class wind question happen complete ship area half rock order fire south problem piece told knew
pass farm top whole king size heard best hour better true during hundred remember step early hold west ground interest
reach fast five sing listen six table travel less morning ten simple several vowel toward war lay against pattern slow
center love person money serve appear road map science rule govern pull cold notice voice fall power town fine certain
fly unit lead cry dark machine note wait plan figure star box noun field rest correct able pound done beauty drive
stood contain front teach week final gave green oh quick develop sleep warm free minute strong special mind behind
clear tail produce fact street inch lot nothing course stay wheel full force blue object decide surface deep moon
island foot yet busy test record boat common gold possible plane age dry wonder laugh thousand ago ran check game shape
yes hot miss brought heat snow bed bring sit perhaps fill east weight language among video clip frame motion camera
movement scene shot style quality brand design collection summer winter spring autumn shop store online sale customer
""")
