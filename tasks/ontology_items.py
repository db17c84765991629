"""One item: the statements of a question, the query and the chain, as words."""

import random
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from arithloc.tasks.ontology_chain import Statement, Step, WordType, chain_of
from arithloc.tasks.ontology_worlds import Links, World

_Place = tuple[int, int]
"""Chain, and link in it."""

_Shape = tuple[bool, bool]
"""Whether a statement ends in a property, and whether it begins with a name: what decides its number of tokens."""


class Order(StrEnum):
    """Order of the statements of a question."""

    SHUFFLED = "shuffled"
    """Random for every item. Facts, rules and property rules take turns in one fixed order that begins anywhere, so that
    many prompts have the same position classes; which fact, rule or property rule stands where is drawn freely."""
    PAPER = "paper"
    """Property rule, class rules from last to first, fact; one entity after the other, then the distractors."""


@dataclass(frozen=True, slots=True)
class Puzzle:
    """What is written in a prompt.

    Attributes:
        statements: of the question, in the order of the text.
        query: who and which property is asked about.
        chain: sentences of the whole chain of thought.
    """

    statements: tuple[Statement, ...]
    query: Statement
    chain: tuple[Statement, ...]

    @property
    def words(self) -> frozenset[str]:
        """All words of the question and the query."""
        return frozenset(word for statement in (*self.statements, self.query) for word in statement)

    def slot(self, statement: Statement) -> int:
        """Place of a statement in the question, from 0."""
        return self.statements.index(statement)


@dataclass(frozen=True, slots=True)
class Item:
    """A drawn question.

    Attributes:
        entities: who is asked about, and the other one.
        links: classes and property of each of them, then those of the distractor chains.
        places: for each statement of the text, its chain and its link in that chain (0 is the fact).
        puzzle: the question.
        label: whether the property asked about follows; if not, it is that of the other entity.
    """

    entities: tuple[str, str]
    links: tuple[Links, ...]
    places: tuple[tuple[int, int], ...]
    puzzle: Puzzle
    label: bool

    @property
    def classes(self) -> tuple[str, ...]:
        """The noun set, sorted."""
        return tuple(sorted(word for links in self.links for word in links[:-1]))

    @property
    def order(self) -> str:
        """The order of the statements: `a0` is the fact of the asked entity, `b1` the first rule of the other one's chain."""
        return " ".join(f"{'abcd'[chain]}{link}" for chain, link in self.places)

    def word(self, step: Step, chain: int = 0) -> str:
        """The word at a step of the chain, or its counterpart in the other entity's chain."""
        sentence = chain_of(self.entities[chain], self.links[chain])[step.sentence]
        return sentence.object if step.is_object else sentence.subject

    def type_of(self, word: str) -> WordType:
        """Type of a class noun or property of the item."""
        return WordType.PROPERTY if word in {links[-1] for links in self.links} else WordType.CLASS


def draw_item(world: World, order: Order, label: bool, rng: random.Random) -> Item:
    """Draws an item: an ontology, the entities, the order of the statements."""
    links = world.draw(rng)
    first, second = rng.sample(world.vocabulary.entities, 2)
    statements: dict[tuple[int, int], Statement] = {}
    for chain, words in enumerate(links):
        facts = ((first, second)[chain],) if chain < 2 else ()
        written = (*facts, *words)
        offset = 0 if facts else 1
        for link, pair in enumerate(pairwise(written)):
            statements[chain, link + offset] = Statement(*pair)
    shapes = {place: (len(links[place[0]]) - 1 == place[1], place[1] == 0) for place in statements}
    places = _shuffled(shapes, rng) if order is Order.SHUFFLED else _as_in_paper(list(statements), rng)
    asked = links[0][-1] if label else links[1][-1]
    puzzle = Puzzle(tuple(statements[place] for place in places), Statement(first, asked), chain_of(first, links[0]))
    return Item((first, second), links, places, puzzle, label)


def _shuffled(shapes: dict[_Place, _Shape], rng: random.Random) -> tuple[_Place, ...]:
    """Places in random order, their shapes in a rotation of one order: each shape can stand in each place."""
    pattern = sorted(shapes.values())
    random.Random(f"arithloc/ontology/1/{len(pattern)}").shuffle(pattern)  # noqa: S311
    start = rng.randrange(len(pattern))
    pattern = pattern[start:] + pattern[:start]
    places = list(shapes)
    rng.shuffle(places)
    waiting: dict[_Shape, list[_Place]] = {}
    for place in places:
        waiting.setdefault(shapes[place], []).append(place)
    return tuple(waiting[shape].pop() for shape in pattern)


def _as_in_paper(places: list[_Place], rng: random.Random) -> tuple[_Place, ...]:
    chains = [0, 1]
    rng.shuffle(chains)
    rank = {chain: place for place, chain in enumerate(chains)}
    return tuple(sorted(places, key=lambda place: (rank.get(place[0], place[0]), -place[1])))


def with_object(statements: tuple[Statement, ...], index: int, word: str) -> tuple[Statement, ...]:
    """The same statements, one of them with another object."""
    changed = statements[index]._replace(object=word)
    return (*statements[:index], changed, *statements[index + 1 :])


def with_subject(puzzle: Puzzle, old: str, new: str, n_sentences: int) -> Puzzle:
    """The same puzzle, `old` replaced as the subject of the first sentences of the chain."""
    chain = tuple(
        s._replace(subject=new) if i < n_sentences and s.subject == old else s for i, s in enumerate(puzzle.chain)
    )
    return replace(puzzle, chain=chain)
