"""What is true of real things: trees of class nouns, with properties that hold of everything in a tree.

Each tree has a top class, middle classes and leaves: every leaf is its middle class, every middle class is the top.
Trees do not overlap: no class of one tree is a class of another, so that a link between two trees is false.
"""

from dataclasses import dataclass
from functools import lru_cache

_TREES = """
bird [feathered winged]: raptor (eagle hawk falcon owl), waterfowl (duck goose swan), songbird (robin sparrow finch)
fish [aquatic finned]: shark (hammerhead), eel (moray), flatfish (flounder halibut), salmon (sockeye)
mammal [furry warm]: dog (hound terrier poodle beagle), feline (lion tiger leopard), horse (pony mare stallion), \
rodent (mouse rat squirrel hamster), bear (panda grizzly), ape (gorilla chimpanzee)
reptile [scaly cold]: snake (cobra python viper), lizard (gecko iguana), turtle (tortoise)
insect [small tiny]: beetle (weevil ladybug), butterfly (swallowtail), fly (mosquito gnat), bee (bumblebee)
tree [leafy woody]: conifer (pine cedar fir spruce), hardwood (oak maple elm birch)
flower [fragrant floral]: bulb (tulip daffodil), perennial (lavender peony)
fruit [juicy sweet edible]: citrus (lemon lime orange), berry (strawberry raspberry blueberry), melon (cantaloupe)
vegetable [healthy edible]: legume (bean pea lentil), root (carrot radish beet), squash (pumpkin zucchini)
tool [useful handy]: saw (chainsaw hacksaw), hammer (mallet), axe (hatchet), wrench (spanner)
vehicle [mobile useful]: car (sedan taxi convertible), truck (pickup), boat (canoe yacht ferry), \
warship (frigate destroyer cruiser), aircraft (jet helicopter glider), bicycle (tandem)
furniture [solid useful]: chair (stool armchair), table (desk), bed (crib bunk), couch (sofa)
garment [wearable sewn]: hat (cap helmet), shoe (boot sandal sneaker), coat (jacket parka), pants (jeans shorts)
metal [metallic conductive shiny]: alloy (bronze brass steel), alkali (sodium potassium lithium)
gem [precious sparkling]: corundum (ruby sapphire), quartz (amethyst), beryl (emerald)
instrument [musical useful]: horn (trumpet tuba), keyboard (piano), woodwind (flute clarinet), drum (bongo snare)
weapon [deadly dangerous]: gun (pistol rifle shotgun), sword (katana saber), bomb (grenade mine), blade (dagger)
building [tall solid]: house (cottage villa mansion), church (cathedral chapel), tower (skyscraper), jail (prison)
beverage [liquid drinkable]: wine (champagne merlot), beer (lager ale), liquor (vodka rum gin), coffee (espresso)
fabric [woven soft]: cotton (denim), silk (satin), wool (cashmere)
shape [geometric]: polygon (square triangle hexagon), curve (circle ellipse)
money [monetary valuable]: coin (penny dime nickel)
science [academic scientific]: math (algebra calculus geometry), biology (genetics botany), physics (optics)
dance [rhythmic]: ballroom (waltz tango), ballet (pointe)
disease [harmful dangerous]: infection (flu malaria measles), cancer (leukemia), disorder (insomnia)
publication [printed written]: book (novel atlas dictionary), periodical (magazine newspaper)
container [hollow useful]: bottle (flask), cup (mug), bag (sack purse backpack), box (crate carton)
dessert [sugary sweet edible]: cake (brownie), pie (tart), candy (lollipop caramel)
professional [employed paid]: doctor (surgeon dentist), lawyer (attorney), teacher (professor tutor), cook (chef)
relative [related human]: parent (mother father), sibling (sister brother), child (son daughter)
ruler [powerful human]: monarch (king queen emperor), noble (duke baron earl)
criminal [guilty human]: thief (robber burglar), killer (murderer assassin)
artist [creative human]: musician (singer guitarist drummer), writer (poet novelist), painter (muralist)
emotion [emotional mental]: anger (rage fury), fear (panic terror dread), joy (delight bliss)
weather [atmospheric natural]: storm (hurricane tornado blizzard), rain (drizzle)
tissue [bodily organic]: bone (rib skull), muscle (biceps), cartilage (meniscus)
software [digital virtual]: program (browser compiler), malware (virus worm)
device [electronic electrical]: computer (laptop desktop server), phone (smartphone), camera (webcam), sensor (radar)
road [paved public]: street (avenue boulevard alley), highway (freeway)
landform [natural geographic]: mountain (volcano), valley (canyon gorge), plain (prairie)
waterway [watery flowing]: river (stream creek), canal (ditch)
drug [medicinal chemical]: opioid (heroin morphine), antibiotic (penicillin), stimulant (cocaine caffeine)
seasoning [aromatic edible]: herb (basil mint thyme), pepper (paprika cayenne)
dairy [milky edible]: cheese (cheddar brie), cream (custard), yogurt (kefir)
grain [starchy edible]: cereal (wheat barley corn), rice (basmati)
"""

_MAY_HOLD = {
    "aquatic": "reptile mammal bird insect waterway",
    "finned": "mammal vehicle",
    "winged": "insect vehicle",
    "furry": "garment insect fabric",
    "warm": "bird garment fabric weather beverage relative ruler criminal artist professional",
    "scaly": "fish",
    "cold": "weather beverage fish metal dessert dairy",
    "tiny": "gem seasoning grain",
    "small": "gem seasoning grain bird money",
    "leafy": "vegetable flower seasoning",
    "woody": "building furniture instrument",
    "fragrant": "tree fruit seasoning beverage dessert",
    "floral": "fabric garment tree",
    "juicy": "vegetable",
    "sweet": "beverage dairy vegetable",
    "healthy": "fruit grain fish beverage dairy",
    "edible": "fish bird beverage mammal",
    "handy": "device container software vehicle",
    "useful": "*",
    "solid": "*",
    "dangerous": "criminal drug weather reptile",
    "harmful": "drug criminal weapon weather",
    "deadly": "disease drug criminal",
    "shiny": "gem money instrument vehicle",
    "metallic": "money weapon tool instrument vehicle",
    "conductive": "device",
    "precious": "metal money",
    "sparkling": "beverage metal",
    "musical": "artist dance",
    "mobile": "device mammal bird",
    "tall": "tree landform",
    "liquid": "waterway money metal",
    "drinkable": "dairy waterway",
    "woven": "garment",
    "sewn": "fabric",
    "wearable": "fabric gem device",
    "soft": "garment dairy",
    "geometric": "science building",
    "valuable": "*",
    "monetary": "",
    "academic": "publication professional",
    "scientific": "publication device",
    "rhythmic": "instrument",
    "printed": "money fabric",
    "written": "software science",
    "hollow": "instrument building tissue",
    "sugary": "fruit beverage",
    "employed": "artist criminal",
    "paid": "artist",
    "related": "*",
    "human": "professional",
    "powerful": "*",
    "guilty": "ruler relative artist professional",
    "creative": "professional",
    "emotional": "relative ruler artist mammal",
    "mental": "disease emotion",
    "natural": "*",
    "organic": "*",
    "bodily": "disease emotion",
    "digital": "device publication money",
    "virtual": "money",
    "electronic": "instrument publication software",
    "electrical": "instrument vehicle tool",
    "public": "*",
    "geographic": "waterway road",
    "watery": "beverage fruit weather vegetable landform",
    "flowing": "beverage garment",
    "medicinal": "seasoning flower vegetable",
    "chemical": "*",
    "aromatic": "flower beverage tree fruit",
    "milky": "beverage",
    "starchy": "vegetable",
    "atmospheric": "",
    "paved": "",
    "feathered": "garment",
}
"""Other trees of which a property might be said; `*` for any."""


@dataclass(frozen=True)
class Tree:
    """A real taxonomy.

    Attributes:
        paths: (leaf, middle, top), each a true chain of is-a links.
        properties: what holds of the top and hence of all.
    """

    paths: tuple[tuple[str, str, str], ...]
    properties: tuple[str, ...]

    @property
    def top(self) -> str:
        """The top class, which names the tree."""
        return self.paths[0][2]


@lru_cache(maxsize=1)
def trees() -> tuple[Tree, ...]:
    """All trees."""
    return tuple(_read(line) for line in _TREES.strip().splitlines())


def may_hold(of: Tree, word: str) -> bool:
    """Whether a property might be said of the classes of a tree; if not, saying it is false."""
    others = _MAY_HOLD[word].split()
    return word in of.properties or others == ["*"] or of.top in others


def _read(line: str) -> Tree:
    head, _, body = line.partition("]:")
    top, _, properties = head.partition(" [")
    paths = []
    for group in body.split(")"):
        middle, found, leaves = group.strip(" ,").partition(" (")
        if found:
            paths += [(leaf, middle, top) for leaf in leaves.split()]
    return Tree(tuple(paths), tuple(properties.split()))
