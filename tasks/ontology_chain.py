"""The teacher-forced chain of thought: its sentences, and the steps at which a word is predicted.

For an entity N of class A1, rules "A1 is A2", ..., "An is p", the chain is "N is A1. A1 is A2. N is A2. ... An is p.
N is p.": the fact, then rule and derived membership in turn. Each of its 2n + 1 sentences has two scored words, its subject and
its object (Dutta et al., arXiv:2402.18312).
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

MAX_HOPS = 3


class StepType(StrEnum):
    """What the next word asks of the model."""

    DECISION = "decision"
    """The subject of a sentence: what to say next."""
    COPY = "copy"
    """The object of the fact or of a rule, as the question states it."""
    INDUCTION = "induction"
    """The object of a derived membership: N is A and A is B, so N is B."""


class WordType(StrEnum):
    """Type of a word of the ontology."""

    ENTITY = "entity"
    """A name."""
    CLASS = "class"
    """A class noun."""
    PROPERTY = "property"
    """An adjective."""


class Statement(NamedTuple):
    """One sentence, `subject is object`."""

    subject: str
    object: str


@dataclass(frozen=True, slots=True)
class Step:
    """One scored word of the chain.

    Attributes:
        index: 0 for the first word, 4n + 1 for the last.
    """

    index: int

    @property
    def sentence(self) -> int:
        """Its sentence, from 0: the fact, then rules (odd) and derived memberships (even)."""
        return self.index // 2

    @property
    def is_object(self) -> bool:
        """Whether the object of the sentence is predicted, not its subject."""
        return self.index % 2 == 1

    @property
    def is_derived(self) -> bool:
        """Whether the sentence is a derived membership."""
        return self.sentence > 0 and self.sentence % 2 == 0

    @property
    def type(self) -> StepType:
        """What kind of step it is.

        Example:
        >>> [Step(i).type.value for i in range(6)]
        ['decision', 'copy', 'decision', 'copy', 'decision', 'induction']
        """
        if not self.is_object:
            return StepType.DECISION
        return StepType.INDUCTION if self.is_derived else StepType.COPY

    @property
    def name(self) -> str:
        """Public name, such as `induction-5`."""
        return f"{self.type}-{self.index}"

    def word_type(self, hops: int) -> WordType:
        """Type of the predicted word.

        Example:
        >>> Step(7).word_type(hops=2).value, Step(7).word_type(hops=3).value
        ('property', 'class')
        """
        if not self.is_object:
            return WordType.CLASS if self.sentence % 2 else WordType.ENTITY
        link = (self.sentence + 1) // 2
        return WordType.PROPERTY if link == hops else WordType.CLASS


def steps(hops: int) -> tuple[Step, ...]:
    """The 4n + 2 scored words of a chain of n hops."""
    return tuple(Step(index) for index in range(4 * hops + 2))


def chain_of(entity: str, links: tuple[str, ...]) -> tuple[Statement, ...]:
    """The whole chain.

    Args:
        entity: who is asked about.
        links: its classes in order, then the property.

    Example:
    >>> [s.object for s in chain_of("Max", ("cat", "pet", "nice"))]
    ['cat', 'pet', 'pet', 'nice', 'nice']
    """
    sentences = [Statement(entity, links[0])]
    for subject, object_ in pairwise(links):
        sentences += [Statement(subject, object_), Statement(entity, object_)]
    return tuple(sentences)
