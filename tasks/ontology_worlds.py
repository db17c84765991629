"""Draws ontologies: chains of classes that end in a property, in a fictional, a false or the true world."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, combinations, pairwise

from arithloc.benchmark.api import TooFewPairs
from arithloc.tasks.kinds import in_random_order
from arithloc.tasks.ontology_chain import WordType
from arithloc.tasks.ontology_taxonomy import Tree, may_hold
from arithloc.tasks.ontology_vocabulary import Vocabulary, WorldName

Links = tuple[str, ...]
"""Classes in order, then the property of the last: each one `is` the next."""

DISTRACTOR_CLASSES = 2
"""Classes of one distractor chain: two statements."""

MAX_TRIES = 1000
"""Draws from real taxonomies before they are taken to be too few."""


@dataclass(frozen=True)
class World:
    """Draws chains from the words of one split.

    Attributes:
        name: which world.
        vocabulary: its words.
        hops: classes of a chain.
        distractors: statements that have nothing to do with the chains; two form a chain of their own.
    """

    name: WorldName
    vocabulary: Vocabulary
    hops: int
    distractors: int

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Classes of each chain of an ontology: two entities' chains, then the distractors'."""
        return (self.hops, self.hops, *[DISTRACTOR_CLASSES] * (self.distractors // 2))

    def check(self, spare: int = 1) -> str:
        """What the vocabulary lacks for one ontology and `spare` unused classes and properties, or an empty text.

        Example:
        >>> World(WorldName.FICTIONAL, Vocabulary(("Max", "Sam"), ("a", "b"), ("x", "y", "z")), 1, 0).check()
        '3 classes, found 2'
        """
        need = {
            WordType.ENTITY: 2,
            WordType.CLASS: sum(self.lengths) + spare,
            WordType.PROPERTY: len(self.lengths) + spare,
        }
        plural = {WordType.ENTITY: "names", WordType.CLASS: "classes", WordType.PROPERTY: "properties"}
        for kind, least in need.items():
            found = len(self.vocabulary.words(kind))
            if found < least:
                return f"{least} {plural[kind]}, found {found}"
        if self.name is WorldName.TRUE:
            usable = len(self._usable)
            if usable < len(self.lengths):
                return f"{len(self.lengths)} taxonomies of {max(self.lengths)} levels, found {usable}"
        return ""

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset((*self.vocabulary.classes, *self.vocabulary.properties))

    @cached_property
    def _usable(self) -> tuple[Tree, ...]:
        """Taxonomies with true chains of every length."""
        return tuple(t for t in self.vocabulary.trees if all(_chains(t, n, self._words) for n in self.lengths))

    def draw(self, rng: random.Random) -> tuple[Links, ...]:
        """Chains without a word in common: one for each of two entities, then those of the distractors.

        In the worlds with real nouns the property of one entity is not said of the other one's classes either, so that a
        query whose answer is False is false.
        """
        match self.name:
            case WorldName.FICTIONAL:
                return self._fictional(rng)
            case WorldName.TRUE:
                return self._true(rng)
            case WorldName.FALSE:
                return self._false(rng)

    def unused(self, kind: WordType, used: frozenset[str], subject: str, rng: random.Random) -> str:
        """A word of a type that is not used yet, to be said of `subject`; in the false world it is false of it."""
        for word in in_random_order(self.vocabulary.words(kind), rng):
            if word not in used and self._fits(subject, kind, word):
                return word
        raise TooFewPairs(f"Expected an unused {kind}, found none. Use fewer distractors or another split seed.")

    def _fits(self, subject: str, kind: WordType, word: str) -> bool:
        tree = self.vocabulary.tree_of.get(subject)
        if self.name is not WorldName.FALSE or tree is None:
            return True
        return self.vocabulary.tree_of[word] is not tree if kind is WordType.CLASS else not may_hold(tree, word)

    def _fictional(self, rng: random.Random) -> tuple[Links, ...]:
        classes = rng.sample(self.vocabulary.classes, sum(self.lengths))
        properties = rng.sample(self.vocabulary.properties, len(self.lengths))
        return _joined(_cut(classes, self.lengths), properties)

    def _true(self, rng: random.Random) -> tuple[Links, ...]:
        for _ in range(MAX_TRIES):
            trees = rng.sample(self._usable, len(self.lengths))
            chains = tuple(rng.choice(_chains(t, n, self._words)) for t, n in zip(trees, self.lengths, strict=True))
            apart = not may_hold(trees[0], chains[1][-1]) and not may_hold(trees[1], chains[0][-1])
            if apart and len({links[-1] for links in chains}) == len(chains):
                return chains
        raise self._used_up()

    def _false(self, rng: random.Random) -> tuple[Links, ...]:
        tree_of = self.vocabulary.tree_of
        for _ in range(MAX_TRIES):
            chains = _cut(rng.sample(self.vocabulary.classes, sum(self.lengths)), self.lengths)
            levels = zip(chains[0], chains[1], strict=True)  # a counterfactual may link the two chains
            trees = [[{tree_of[a].top, tree_of[b].top} for a, b in levels]]
            trees += [[{tree_of[word].top} for word in chain] for chain in chains[2:]]
            if any(below & above for row in trees for below, above in pairwise(row)):
                continue
            properties: list[str] = []
            for chain in chains:
                said = self.vocabulary.properties
                free = [w for w in said if w not in properties and not may_hold(tree_of[chain[-1]], w)]
                properties += [rng.choice(free)] if free else []
            if len(properties) == len(chains):
                return _joined(chains, properties)
        raise self._used_up()

    def _used_up(self) -> TooFewPairs:
        return TooFewPairs(
            f"Expected ontologies of the {self.name} world, found none in {MAX_TRIES} draws from "
            f"{len(self.vocabulary.trees)} taxonomies. Use fewer hops or distractors, or another split seed."
        )


def _cut(classes: Sequence[str], lengths: Sequence[int]) -> list[tuple[str, ...]]:
    ends = list(accumulate(lengths))
    return [tuple(classes[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def _joined(chains: Sequence[tuple[str, ...]], properties: Sequence[str]) -> tuple[Links, ...]:
    return tuple((*chain, word) for chain, word in zip(chains, properties, strict=True))


@lru_cache(maxsize=4096)
def _chains(tree: Tree, length: int, words: frozenset[str]) -> tuple[Links, ...]:
    """True chains of `length` classes of a tree and each of its properties, from the given words."""
    properties = [word for word in tree.properties if word in words]
    paths = {tuple(word for word in path if word in words) for path in tree.paths}
    chains = {chain for path in paths for chain in combinations(path, length)}
    return tuple((*chain, word) for chain in sorted(chains) for word in properties)
