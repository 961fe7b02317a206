"""Prompts with what should be said of them. The word lists were written with the first set of languages at hand; the
second was written afterwards, and nothing was changed to suit it."""

from __future__ import annotations

ENGLISH = """
a person slowly turning around wearing the dress
camera orbiting around the smartphone, showing all sides
gentle pan across the sofa, soft lighting
steam rising from the hot coffee, close-up view
pan left
zoom in
static camera
slow dolly in
La Marzocco espresso machine, steam rising
Le Creuset pot on the stove, the lid rattles
a crème brûlée, the flame of a torch melts the sugar
IKEA Söderhamn sofa, camera pans right
Citroën DS driving along the coast
jalapeño poppers, cheese melting
iPhone 15 Pro rotating
Nike Air Max 90
a woman in a kimono turns around
the Eiffel Tower at night, lights twinkling
die-cast model car rolling over a desk
van Gogh style painting, stars swirling
Las Vegas at night, neon signs flicker
El Capitan, clouds drifting past
dolce far niente, a cat yawns in the sun
a café in Paris, people walking by
wearing a 旗袍 dress, she turns slowly
4k, 8fps, rotate 360
Beyoncé-style hair blowing in the wind
kung pao chicken sizzling
a Labrador puppy wagging its tail
old man smiles
waves crash on rocks
a toy train moves along the track
the dog runs
the car drives
robot arm waves hello
She turns her head, hair flowing
"""

ENGLISH_LATER = """
a jar of honey, honey drips from the spoon
perfume bottle with mist drifting past it
De Longhi kettle pouring water into a mug
pâté on toast, the camera glides past
Häagen-Dazs ice cream melting
Los Angeles skyline, cars moving on the highway
the model walks toward the camera in a maxi skirt
Porsche 911 Carrera, wheels spinning, camera tracks alongside
fireworks over the harbour
marble bust rotates clockwise on a pedestal
fox trotting through fresh snow
curtains sway as a breeze comes in
Villeroy & Boch plates, camera pushes in
Dyson V15 vacuum gliding over a rug
pho noodles lifted by chopsticks, steam rises
portrait, she blinks and smiles
sushi roll, soy sauce being poured
San Francisco fog rolls under the bridge
un-branded white sneakers, turntable rotation
Mercedes-Benz El Morado edition, headlights switch on
candle flickers
leaves falling, bokeh
Moët champagne bubbles rising in a flute
the señorita dances, her skirt twirls
"""

FOREIGN = {
    "German": """
die Kamera fährt langsam um das Sofa herum
eine Frau dreht sich im roten Kleid
Dampf steigt aus der heißen Tasse auf
Kamera schwenkt nach links
""",
    "French": """
la caméra tourne lentement autour du canapé
une femme se retourne dans sa robe rouge
de la vapeur s'élève de la tasse de café
le chien court vers la mer
""",
    "Spanish": """
la cámara gira lentamente alrededor del sofá
una mujer se da la vuelta con un vestido rojo
el vapor sube de la taza de café caliente
las olas rompen en la playa
""",
    "Italian": """
la telecamera gira lentamente intorno al divano
una donna si gira con il vestito rosso
il vapore sale dalla tazza di caffè
""",
    "Portuguese": """
a câmera gira lentamente ao redor do sofá
uma mulher se vira com um vestido vermelho
o vapor sobe da xícara de café quente
""",
    "Dutch": """
de camera draait langzaam rond de bank
een vrouw draait zich om in een rode jurk
stoom stijgt op uit het kopje koffie
""",
    "Swedish": """
kameran rör sig långsamt runt soffan
en kvinna snurrar i en röd klänning
""",
    "Danish": """
en kvinde drejer sig rundt i en rød kjole
dampen stiger op af den varme kaffe
""",
    "Polish": """
kamera powoli obraca się wokół sofy
para unosi się nad gorącą kawą
""",
    "Turkish": """
kamera yavaşça kanepenin etrafında dönüyor
kırmızı elbiseli bir kadın dönüyor
""",
    "Indonesian": """
kamera berputar perlahan mengelilingi sofa
seorang wanita berputar dengan gaun merah
""",
    "Vietnamese": """
máy quay chậm rãi xoay quanh ghế sofa
""",
    "Finnish": """
kamera liikkuu hitaasti sohvan ympäri
""",
    "Hungarian": """
a kamera lassan körbejárja a kanapét
""",
    "Chinese": """
镜头缓慢环绕沙发
一个女人穿着红色连衣裙慢慢转身
热咖啡冒着蒸汽，特写
sneaker 慢慢旋转展示
""",
    "Japanese": """
カメラがゆっくりとソファの周りを回る
赤いドレスの女性がゆっくり振り向く
""",
    "Korean": """
카메라가 소파 주위를 천천히 돈다
""",
    "Russian": """
камера медленно вращается вокруг дивана
""",
    "Ukrainian": """
камера повільно обертається навколо дивана
""",
    "Arabic": """
تدور الكاميرا ببطء حول الأريكة
""",
    "Hindi": """
कैमरा सोफे के चारों ओर धीरे घूमता है
""",
    "Thai": """
กล้องหมุนรอบโซฟาช้าๆ
""",
    "Greek": """
η κάμερα κινείται αργά γύρω από τον καναπέ
""",
    "Hebrew": """
המצלמה מסתובבת לאט סביב הספה
""",
}

FOREIGN_LATER = {
    "German": """
Blätter fallen im Wind, sanfte Beleuchtung
ein Hund läuft über die Wiese
das Auto fährt schnell vorbei
Wellen brechen am Strand
""",
    "French": """
des feuilles tombent dans le vent
un chat cligne des yeux
les vagues se brisent sur la plage
zoom avant sur le visage
""",
    "Spanish": """
las hojas caen con el viento
un gato parpadea mirando a la cámara
coche rojo conduciendo por la carretera
""",
    "Italian": """
le foglie cadono nel vento
le onde si infrangono sulla spiaggia
zoom lento sul volto della donna
""",
    "Portuguese": """
as folhas caem com o vento
um carro vermelho passa pela estrada
ondas quebrando na praia
""",
    "Dutch": """
bladeren vallen in de wind
de hond rent over het strand
""",
    "Swedish": """
löven faller i vinden
en hund springer på stranden
""",
    "Norwegian": """
bølgene slår mot stranden
en bil kjører forbi på veien
""",
    "Polish": """
liście spadają na wietrze
pies biegnie po plaży
""",
    "Czech": """
kamera se pomalu otáčí kolem pohovky
""",
    "Romanian": """
camera se rotește încet în jurul canapelei
""",
    "Turkish": """
yapraklar rüzgarda düşüyor
""",
    "Indonesian": """
daun-daun berguguran ditiup angin
""",
    "Vietnamese": """
lá rơi trong gió
""",
    "Tagalog": """
dahan-dahang umiikot ang babae
""",
    "Chinese": """
树叶在风中飘落
汽车在公路上行驶，镜头跟随
""",
    "Japanese": """
葉っぱが風に舞い落ちる
""",
    "Korean": """
나뭇잎이 바람에 떨어진다
""",
    "Russian": """
листья падают на ветру
""",
    "Bengali": """
ক্যামেরা ধীরে ধীরে ঘোরে
""",
    "Persian": """
دوربین آرام می‌چرخد
""",
}


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


ABSTRACT, ACTIONS, STILL = "abstract_words", "many_actions", "no_motion"
PROMPTS: list[tuple[str, tuple[str, ...]]] = [
    ("a person slowly turning around wearing the dress", ()),
    ("camera orbiting around the smartphone, showing all sides", ()),
    ("gentle pan across the sofa, soft lighting", ()),
    ("steam rising from the hot coffee, close-up view", ()),
    ("pan left", ()),
    ("static camera", ()),
    ("the camera stays still", ()),
    ("waves crash on the rocks", ()),
    ("a dog runs across the meadow", ()),
    ("the flame of a candle flickers", ()),
    ("a timelapse of the harbour at night", ()),
    ("the man walks to the window and opens it", ()),
    ("clouds drifting, grass swaying", ()),
    ("red running shoes rotating on a turntable", ()),
    ("the flower opens its petals", ()),
    ("a beautiful dress", (ABSTRACT, STILL)),
    ("an amazing view of nice mountains, clouds drifting", (ABSTRACT,)),
    ("stunning sunset, waves rolling in", (ABSTRACT,)),
    ("a gorgeous woman smiling", (ABSTRACT,)),
    ("Perfect product shot of a watch", (ABSTRACT, STILL)),
    ("a frying pan on the stove", (STILL,)),
    ("red running shoes on a white floor", (STILL,)),
    ("a vintage camera on a table", (STILL,)),
    ("a cat in the park", (STILL,)),
    ("portrait of an old man, studio light", (STILL,)),
    ("a folding chair and a dining table", (STILL,)),
    ("curved glass vase, twisted handle", (STILL,)),
    ("a washing machine in a bathroom", (STILL,)),
    ("the man walks, turns, waves and jumps", (ACTIONS,)),
    ("waves crashing, seagulls flying, sand blowing, palm trees swaying", (ACTIONS,)),
    ("she smiles, turns her head, stretches, yawns and walks away", (ACTIONS,)),
    ("the camera zooms in, pans left, tilts up and orbits the car", (ACTIONS,)),
    ("amazing dog jumping, spinning, rolling and barking while flying", (ABSTRACT, ACTIONS)),
]
PROMPTS_LATER: list[tuple[str, tuple[str, ...]]] = [
    ("a kettle begins to boil, steam curling upward", ()),
    ("the lantern sways from the ceiling", ()),
    ("slow dolly out from the kitchen table", ()),
    ("a goldfish swims in its bowl", ()),
    ("snow settling on a wooden bench", ()),
    ("the ballerina spins, her skirt flares", ()),
    ("a locked-off shot of a lake", ()),
    ("the curtain billows, sunlight shimmering on the floor", ()),
    ("rotate the sneaker by 360 degrees", ()),
    ("a drone shot flying over the valley", ()),
    ("crane shot rising above the crowd", ()),
    ("lovely cottage garden, butterflies fluttering", (ABSTRACT,)),
    ("an incredible sports car racing down the highway", (ABSTRACT,)),
    ("breathtaking mountain lake", (ABSTRACT, STILL)),
    ("a bottle of perfume on marble", (STILL,)),
    ("hiking boots next to a tent", (STILL,)),
    ("three mugs in a row", (STILL,)),
    ("a swimming pool behind the villa", (STILL,)),
    ("bookshelf with painted figurines", (STILL,)),
    ("a pair of sliding doors", (STILL,)),
    ("a plate of spring rolls with sauce", (STILL,)),
    ("the chef chops, stirs, tosses the pan and pours the sauce", (ACTIONS,)),
    ("birds soar, leaves fall, water ripples, deer run past", (ACTIONS,)),
    ("he runs, leaps over the wall, rolls and stands up, then dances", (ACTIONS,)),
]
"""What else should be said of prompts in English, by the warnings' codes."""
