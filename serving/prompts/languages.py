"""Words that tell English from its neighbours in the Latin script. Data only; `english` says how they are used."""

from __future__ import annotations

from serving.prompts.words import words

ENGLISH = words("""
the and of with from while through into its it this that these those are by for at is on in an as his their she he
they her to around over under across behind between above below toward towards against onto off out up down then very
slow slowly gently smoothly gentle smooth soft close view shot side sides left right top bottom back front forward
backward white black red blue green yellow brown grey gray gold silver golden dark light lighting lit bright warm hot
cold big small large little old new young long short high low full fresh open closed one two three four five camera
pan pans panning zoom zooms tilt orbit man woman person people girl boy child hand hands face hair eyes dog cat bird
horse fish animal water river sea ocean wave waves wind sky cloud clouds sun sunset sunrise moon stars rain snow fire
smoke steam leaf leaves tree trees flower flowers grass mountain mountains forest beach city street house room wall
window door table chair car bike boat train dress shirt shoe shoes bag watch phone laptop lamp bottle glass cup coffee
tea bread cake sauce cheese machine oven toy wheel wheels product background screen wooden leather cotton knife book
old-fashioned scene style slowly motion movement detail details texture surface air light shadow shadows turn turning
rotate rotates rotating spinning moving walks walking running runs smiling flowing flying falling pouring rising
""")
"""Function words and the plain words of prompts."""

FOREIGN = {
    "German": words("""
der das und ist nicht mit sich auf für eine einen einem einer von zu dem langsam wie über nach bei aus um ein durch
vor wird im zum zur kamera frau mann hund katze fährt dreht schwenkt geht nahaufnahme kleid sonnenuntergang rechts
links kaffee blumen ihre seine weiches licht wasser hintergrund
"""),
    "French": words("""
les une des dans qui avec elle il aux ce cette ses ne vers est sur et lentement autour caméra femme homme chien chat
robe tourne doucement eau chaussures lumière douce rouge fleur fleurs gauche droite tasse chaude vapeur sous pendant
se
"""),
    "Spanish": words("""
los las una y es que con por para del se su lento lentamente mientras alrededor más sobre hacia cámara mujer hombre
perro gato vestido gira suavemente agua zapatos luz flores izquierda derecha taza café caliente el niña niño
"""),
    "Italian": words("""
lo gli uno che è con della nel nella sul sulla si mentre lentamente intorno verso dei delle dello dal telecamera donna
uomo cane gatto vestito gira acqua luce fiori sinistra destra tazza calda caldo il
"""),
    "Portuguese": words("""
um uma dos das em nos nas com para que não à lentamente enquanto pela pelo ao câmera câmara mulher homem cachorro cão
gato vestido gira água luz flores esquerda direita xícara quente sobre volta
"""),
    "Dutch": words("""
het een ik te dat niet op zijn er voor naar langzaam rond terwijl aan bij uit haar vrouw met draait hond kat jurk
zacht bloemen links rechts kopje hete koffie beweegt hij zij
"""),
    "Scandinavian": words("""
och att det som på är av för med ett inte långsamt runt sig medan og er af ikke langsomt rundt mens kameraet kameran
kvinna kvinne kvinde mann hund klänning kjole snurrar blomster vann vand til
"""),
    "Finnish": words("""
ja ei se että hitaasti ympäri kanssa kamera nainen mies koira kissa kahvi vesi kukka liikkuu kääntyy
"""),
    "Polish": words("""
w z na się jest nie że jak przez dla od powoli wokół kamera kobieta mężczyzna pies kot sukienka woda światło kwiaty
obraca
"""),
    "Czech": words("se je na že ve pomalu pomaly kolem kamera žena muž pes kočka šaty voda světlo otáčí sa okolo"),
    "Hungarian": words("az és egy hogy nem lassan körül kamera nő férfi kutya macska ruha víz fény virág forog mozog"),
    "Romanian": words("și în pe cu un este care din pentru se încet femeie bărbat câine pisică rochie apă lumină"),
    "Turkish": words("""
ve bir bu için ile yavaşça etrafında kamera kadın adam köpek kedi elbise su ışık çiçek dönüyor sıcak
"""),
    "Indonesian and Malay": words("""
yang dan di ke dari ini itu untuk dengan dalam pada perlahan sedang seorang kamera wanita pria anjing kucing gaun
bunga berputar bergerak secangkir kopi sepatu
"""),
    "Vietnamese": words("và một các trong với cho là người chậm quay máy váy hoa nước cô gái"),
    "Tagalog": words("ang ng sa mga na ay isang dahan-dahan babae lalaki aso umiikot"),
    "Swahili": words("na ya wa kwa ni katika polepole mwanamke mbwa inazunguka"),
}  # fmt: skip
"""Function words, and what prompts speak of, where English has no such word of its own."""

IN_NAMES = words("""
la le de du el los las lo il van von da di der das des del un una en y et ya na se te mit em ni
""")
"""Of those words and beside them, what English prompts have in the names of brands and dishes: half a word's weight."""

BORROWED = words("""
café cafés crème brûlée décor naïve piñata jalapeño jalapeños façade fiancé fiancée résumé sauté sautéed entrée purée
rosé über açaí cliché étagère mâché pokémon château crêpe crêpes soufflé touché protégé éclair éclairs consommé flambé
vermouth à déco née séance matinée señor señorita jalapeno piñatas crudités pâté pâtisserie niçoise gruyère tiramisù
phở smörgåsbord doppelgänger jäger ombré appliqué appliquéd lamé piqué broderie moiré macramé chenille
""")
"""English words with foreign letters."""
