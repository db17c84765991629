"""The words that a tokenizer can tell apart by their first token, divided between the splits."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from arithloc.benchmark.api import Split
from arithloc.tasks.layout import is_blank, tokenized
from arithloc.tasks.ontology_chain import WordType
from arithloc.tasks.ontology_taxonomy import Tree, trees
from arithloc.tasks.ontology_words import ENTITIES, PROPERTIES, nonce_nouns
from arithloc.tasks.splits import buckets, split_of_bucket


class WorldName(StrEnum):
    """How the classes relate to what is known."""

    FICTIONAL = "fictional"
    """Made-up nouns."""
    FALSE = "false"
    """Real nouns, every link between classes false."""
    TRUE = "true"
    """Real nouns, every link true."""


@dataclass(frozen=True)
class Vocabulary:
    """Words of one split, or of the exemplars.

    Attributes:
        entities: names.
        classes: class nouns.
        properties: adjectives.
        trees: in the worlds with real nouns, the trees that the class nouns belong to.
    """

    entities: tuple[str, ...]
    classes: tuple[str, ...]
    properties: tuple[str, ...]
    trees: tuple[Tree, ...] = ()

    def words(self, kind: WordType) -> tuple[str, ...]:
        """Words of one type."""
        match kind:
            case WordType.ENTITY:
                return self.entities
            case WordType.CLASS:
                return self.classes
            case WordType.PROPERTY:
                return self.properties

    @cached_property
    def tree_of(self) -> dict[str, Tree]:
        """The tree of each real class noun."""
        members = frozenset(self.classes)
        return {word: tree for tree in self.trees for path in tree.paths for word in path if word in members}


def separable(tokenizer: Any, world: WorldName) -> Vocabulary:
    """The words of a world that have as many tokens as the others of their type and a first token of their own.

    A word must have the same tokens as subject and as object of a sentence. Of each type the token count with the most
    words is taken; a class noun must have two or more tokens in the fictional world, because a made-up word that is one token is
    a word. First tokens (behind a bare space, where the tokenizer makes that a token of its own) differ between all
    words of all types.
    """
    real = world is not WorldName.FICTIONAL
    taken: set[int] = set()
    nouns = _unique(word for tree in trees() for path in tree.paths for word in path) if real else nonce_nouns()
    adjectives = _unique(word for tree in trees() for word in tree.properties) if real else PROPERTIES
    properties = _largest_group(tokenizer, adjectives, 1, taken)
    entities = _largest_group(tokenizer, ENTITIES, 1, taken)
    classes = _largest_group(tokenizer, nouns, 1 if real else 2, taken)
    return Vocabulary(entities, classes, properties, trees() if real else ())


def divide(whole: Vocabulary, split_seed: int, n_reserved: int) -> dict[Split | None, Vocabulary]:
    """The words of each split, and under None those of the exemplars, which come from the discovery part.

    The bucket of a name or made-up noun is that of the word; real nouns go with the top class of their tree. Properties
    belong to all splits; those of the exemplars to no split.

    Args:
        whole: all words.
        split_seed: decides the membership.
        n_reserved: names, nouns and properties that the exemplars would like to have for themselves; they get at most
            a third of each (of taxonomies half).
    """
    rng = random.Random(f"arithloc/exemplars/1/{split_seed}/ontology")  # noqa: S311
    names = _by_split(whole.entities, split_seed)
    homes = {word: tree.top for word, tree in whole.tree_of.items()} or {word: word for word in whole.classes}
    groups = _by_split(_unique(homes[word] for word in whole.classes), split_seed)
    adjectives = list(whole.properties)
    rng.shuffle(adjectives)
    shown_names = _part(names[Split.DISCOVERY], n_reserved, rng, 3)
    shown_homes = _part(groups[Split.DISCOVERY], n_reserved, rng, 2 if whole.trees else 3)
    shown_properties = adjectives[: min(n_reserved, len(adjectives) // 3)]
    if whole.trees:  # in real worlds a property says something about its tree: it stays with all of them
        shown_properties = adjectives
    out: dict[Split | None, Vocabulary] = {}
    for split in (*Split, None):
        own_names = shown_names if split is None else [w for w in names[split] if w not in shown_names]
        own_homes = set(shown_homes) if split is None else set(groups[split]) - set(shown_homes)
        shared = whole.properties if whole.trees else [w for w in whole.properties if w not in shown_properties]
        out[split] = Vocabulary(
            tuple(own_names),
            tuple(word for word in whole.classes if homes[word] in own_homes),
            tuple(shown_properties if split is None else shared),
            tuple(tree for tree in whole.trees if tree.top in own_homes),
        )
    return out


def _part(words: Sequence[str], n: int, rng: random.Random, share: int) -> list[str]:
    return rng.sample(words, min(n, len(words) // share))


def _by_split(words: Sequence[str], split_seed: int) -> dict[Split, list[str]]:
    out: dict[Split, list[str]] = {split: [] for split in Split}
    for word, number in zip(words, buckets(split_seed, [(word,) for word in words]), strict=True):
        out[split_of_bucket(number)].append(word)
    return out


def _unique(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))


def _largest_group(tokenizer: Any, words: Sequence[str], least: int, taken: set[int]) -> tuple[str, ...]:
    """Words of one token count, each with a first token that is not in `taken`; adds these tokens to it."""
    groups: dict[tuple[bool, int], dict[int, str]] = {}
    blanks: dict[int, bool] = {}
    for word, tokens in _tokens_of(tokenizer, words).items():
        first = tokens[0]
        if first not in blanks:
            blanks[first] = is_blank(tokenizer, first)
        blank = blanks[first]
        if len(tokens) < least + blank:
            continue
        groups.setdefault((blank, len(tokens)), {}).setdefault(tokens[blank], word)
    best: dict[int, str] = {}
    for group in groups.values():
        free = {token: word for token, word in group.items() if token not in taken}
        if len(free) > len(best):
            best = free
    taken.update(best)
    return tuple(best.values())


def _tokens_of(tokenizer: Any, words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Tokens of each word in a sentence, for words that keep them as its subject and its object and need no unknown one."""
    unknown = tokenizer.unk_token_id
    is_, is_stop, next_, next_is = (
        _ids(tokenizer, t) for t in (["It is"], ["It is it."], ["It is."], ["It is. it is"])
    )
    ends = _ids(tokenizer, ["It is it", "It is. it"])
    n_stop, n_verb = len(is_stop[0]) - len(ends[0]), len(next_is[0]) - len(ends[1])
    as_object = _ids(tokenizer, [f"It is {word}." for word in words])
    as_subject = _ids(tokenizer, [f"It is. {word} is" for word in words])
    found: dict[str, tuple[int, ...]] = {}
    for word, one, two in zip(words, as_object, as_subject, strict=True):
        tokens = one[len(is_[0]) : -n_stop]
        usable = tokens and unknown not in tokens and one == [*is_[0], *tokens, *is_stop[0][-n_stop:]]
        if usable and two == [*next_[0], *tokens, *next_is[0][-n_verb:]]:
            found[word] = tuple(tokens)
    return found


def _ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    return [list(ids) for ids in tokenized(tokenizer, texts)["input_ids"]]
