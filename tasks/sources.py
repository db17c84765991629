"""What a task family provides: questions, candidates for their counterfactuals, and what surrounds them."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from arithloc.tasks.encoding import Encoder
from arithloc.tasks.layout import Layout
from arithloc.tasks.questions import Question


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate counterfactual of a clean question.

    Attributes:
        question: the counterfactual question; its answer is empty where it has none.
        edited: position classes that may differ.
        foils: where not empty, texts of which the first valid one stands in for the counterfactual answer.
        foil_first_token: the foil must differ in its first token (kinds with equal answers); otherwise it must have
            as many tokens as the answer.
        strata: tags of the pair.
    """

    question: Question
    edited: frozenset[str]
    foils: tuple[str, ...] = ()
    foil_first_token: bool = False
    strata: tuple[tuple[str, str], ...] = ()


@runtime_checkable
class Source(Protocol):
    """What a task family provides."""

    @property
    def task(self) -> str:
        """Name of the family, as stored in every pair."""
        ...

    @property
    def kind(self) -> str:
        """How its counterfactuals differ."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags of every pair, such as the number of exemplars."""
        ...

    def questions(self) -> Iterator[Question]:
        """Every clean question of the split, each once, in drawing order."""
        ...

    def proposals(self, clean: Question, rng: random.Random) -> Iterator[Proposal]:
        """Candidate counterfactuals of a clean question, without repeats."""
        ...

    def layout(self, question: Question, encoder: Encoder) -> Layout:
        """Surroundings of a question; equal for all of one frame and operator."""
        ...

    def answers(self, operator: str) -> Sequence[str]:
        """Every possible answer of an operator or relation: the range of the candidates."""
        ...

    def truth(self, question: Question) -> bool:
        """Whether the answer agrees with the text, recomputed independently."""
        ...
