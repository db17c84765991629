"""Words of the ontologies: names, properties and made-up class nouns."""

import hashlib
from functools import lru_cache

ENTITIES = tuple(
    (
        "Aaron Abby Adam Adrian Alan Albert Alex Alice Allen Amanda Amber Amy Andrea Andrew Angela Ann Anna Anthony "
        "Arthur Ashley Barbara Barry Ben Betty Bill Bob Brad Brandon Brenda Brian Bruce Carl Carla Carlos Carol "
        "Charles Chloe Chris Claire Clara Craig Crystal Dan Daniel Danny David Dean Deborah Dennis Derek Diana Don "
        "Donna Doris Doug Dylan Earl Eddie Edward Elena Ella Ellen Emily Emma Eric Erin Ethan Eva Evan Fae Felix Fiona "
        "Frank Fred Gary George Gina Gloria Gordon Grace Grant Greg Hannah Harold Harry Heather Helen Henry Holly Howard "
        "Hugh Ian Irene Isaac Ivan Jack Jacob James Jane Janet Jason Jean Jeff Jenny Jerry Jesse Jill Jim Joan Joe Joel "
        "John Jordan Joseph Josh Joyce Juan Judy Julia Justin Karen Karl Kate Keith Kelly Ken Kevin Kim Kyle Larry "
        "Laura Lauren Leo Leon Leslie Linda Lisa Liz Logan Lori Louis Lucas Lucy Luke Lynn Marc Marcus Margaret Maria "
        "Marie Mario Martha Martin Mary Matt Max Megan Mia Michael Mike Miles Molly Monica Nancy Natalie Nathan Neil "
        "Nick Nicole Nina Noah Norman Olivia Oscar Owen Pamela Patrick Paul Paula Peter Phil Philip Polly Rachel Ralph "
        "Ray Rebecca Rex Richard Rick Rita Rob Robert Roger Ron Ronald Rosa Ross Roy Russell Ruth Ryan Sally Sam "
        "Samantha Samuel Sandra Sara Sarah Scott Sean Seth Shane Sharon Simon Sofia Sonia Stella Stephen Steve Stuart "
        "Sue Susan Sylvia Tara Ted Teresa Terry Theo Thomas Tim Tina Todd Tom Tony Tracy Troy Tyler Vera Victor "
        "Victoria Vincent Wade Walter Wanda Warren Wayne Wendy Wesley William Wren Zach Zoe"
    ).split()
)

PROPERTIES = tuple(
    (
        "amazing angry anxious bad big bitter blue bold boring brave bright broken brown busy calm careful cheap clean "
        "clear clever cold cool crazy cruel curious dark dead deep different dirty dry dull easy empty expensive fair "
        "famous fast fat fine firm flat floral fresh friendly funny gentle glad golden good gray great green guilty "
        "happy hard heavy high hollow honest hot huge hungry kind large late lazy light little lonely long loose loud "
        "low lucky luminous mad mean metallic mild modern moist muffled narrow neat nervous nice noisy odd old opaque "
        "pale perfect poor popular pretty proud pure purple quick quiet rainy rare raw ready red rich "
        "rough round rude sad safe salty serious shallow sharp shiny short shy sick silent silly silver simple slow "
        "small smart smooth soft solid sour spicy stable steady steep stiff straight strange strict strong sunny sweet "
        "tall temperate thick thin tight tiny tired tough transparent ugly unique warm weak wet white wide wild windy "
        "wise wooden wrong yellow young"
    ).split()
)

_ONSETS = (
    "b bl br ch cl cr d dr f fl fr g gl gr h j k kr l m n p pl pr qu r s sh sk sl sm sn sp st sw t th tr tw v w wh y z"
).split()
_MIDDLES = "mp nd rv lg rk lt zz mb nk ft sk ng".split()
_ENDINGS = "ub ig ox um ak iv ez op".split()


@lru_cache(maxsize=1)
def nonce_nouns() -> tuple[str, ...]:
    """Made-up nouns such as `blampox`: one for each onset, vowel and middle, the ending chosen by a hash."""
    stems = [onset + vowel + middle for onset in _ONSETS for vowel in "aeiou" for middle in _MIDDLES]
    return tuple(stem + _ENDINGS[hashlib.sha256(stem.encode()).digest()[0] % len(_ENDINGS)] for stem in stems)
