"""Tokens of every answer that a question can have: where foils and candidates are looked up."""

import re

from arithloc.tasks.encoding import Encoder
from arithloc.tasks.questions import Question
from arithloc.tasks.sources import Source

CONTEXT = 4
"""Characters in front of an answer that tell prompts apart when the tokens of all answers are looked up; digits and
what stands in front of them do not count."""

_ENDING = re.compile(r"\D*$")


class AnswerTables:
    """Answer tokens by what stands in front of them, looked up once.

    Args:
        source: what is asked.
        encoder: the tokenizer.
    """

    def __init__(self, source: Source, encoder: Encoder) -> None:
        self._source, self._encoder = source, encoder
        self._tables: dict[tuple[str, str, str], dict[str, tuple[int, ...]]] = {}
        self._shared: dict[tuple[str, str, tuple[str, ...]], dict[str, tuple[int, ...]]] = {}
        self._candidates: dict[tuple[str, str, str, int], tuple[int, ...]] = {}

    def of(self, question: Question) -> dict[str, tuple[int, ...]]:
        """Answer tokens of every possible answer behind prompts of this frame and operator.

        Prompts that end alike share a table: what differs further in front does not change these tokens, and a pair
        whose own answer tokens are not in the table is rejected.
        """
        layout = self._source.layout(question, self._encoder)
        name = (_ENDING.findall(layout.prompt(question)[-CONTEXT:])[0], layout.separator, question.operator)
        if name not in self._tables:
            answers = tuple(self._source.answers(question.operator))
            shared = (*name[:2], answers)  # operators with the same answers share one
            if shared not in self._shared:
                self._shared[shared] = self._encoder.answers(question, layout, answers)
            self._tables[name] = self._shared[shared]
        return self._tables[name]

    def candidates(self, clean: Question, other: Question, index: int) -> tuple[int, ...]:
        """Tokens that any answer to either question can have at a place, ascending."""
        name = (clean.frame.id, clean.operator, other.operator, index)
        if name not in self._candidates:
            tables = (self.of(clean), self.of(other))
            self._candidates[name] = tuple(sorted({i[index] for t in tables for i in t.values() if len(i) > index}))
        return self._candidates[name]
