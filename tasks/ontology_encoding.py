"""Tokenizes long few-shot prompts quickly: what stands in front of the question is tokenized once."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from arithloc.benchmark.api import SHOT
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.layout import Layout
from arithloc.tasks.questions import Question
from arithloc.tasks.rules import Encoded, Rule


class _Head(NamedTuple):
    """The part of a layout that is the same in every prompt.

    Attributes:
        text: exemplars but for the end of the last one.
        ids: tokens of everything in front of the question.
        rest: the layout that is left to tokenize.
        n_overlap: tokens of `rest` in front of the question, which `ids` has too.
    """

    text: str
    ids: tuple[int, ...]
    rest: Layout
    n_overlap: int


class PromptEncoder(Encoder):
    """An encoder that tokenizes exemplars once for each layout.

    That the tokens of a question do not depend on the exemplars but for their last word is checked on the first
    question of each layout; where they do, whole prompts are tokenized. Every question must begin with the same text.
    """

    def __init__(self, tokenizer: object) -> None:
        super().__init__(tokenizer)
        self._heads: dict[Layout, _Head | None] = {}
        self._classes_of: dict[tuple[int, int, tuple[str, ...]], tuple[str, ...]] = {}

    def encode(self, questions: Sequence[Question], layouts: Sequence[Layout]) -> list[Encoded | Rule]:
        """Tokens, classes and answer tokens of many prompts, or the rule that a prompt breaks."""
        for question, layout in zip(questions, layouts, strict=True):
            if layout not in self._heads:
                self._heads[layout] = self._head(question, layout)
        heads = [self._heads[layout] for layout in layouts]
        rests = [head.rest if head else layout for head, layout in zip(heads, layouts, strict=True)]
        found = super().encode(questions, rests)
        return [self._joined(head, encoded) for head, encoded in zip(heads, found, strict=True)]

    def _head(self, question: Question, layout: Layout) -> _Head | None:
        """What can be tokenized once for a layout, or None where it is short or its end joins the question."""
        cut = layout.prefix.rstrip().rfind(" ")
        if cut < 0:
            return None
        rest = replace(layout, front=(), prefix=layout.prefix[cut:])
        (whole,), (short,) = super().encode([question], [layout]), super().encode([question], [rest])
        if isinstance(whole, Rule) or isinstance(short, Rule):
            return None
        n_whole, n_short = whole.classes.count(SHOT), short.classes.count(SHOT)
        same = whole.ids[n_whole:] == short.ids[n_short:] and whole.classes[n_whole:] == short.classes[n_short:]
        if not same or whole.answer_ids != short.answer_ids:
            return None
        return _Head(layout.prefix[:cut], whole.ids[:n_whole], rest, n_short)

    def _joined(self, head: _Head | None, encoded: Encoded | Rule) -> Encoded | Rule:
        if head is None or isinstance(encoded, Rule):
            return encoded
        name = (len(head.ids), head.n_overlap, encoded.classes)
        if name not in self._classes_of:
            self._classes_of[name] = (SHOT,) * len(head.ids) + encoded.classes[head.n_overlap :]
        return Encoded(
            head.text + encoded.text,
            head.ids + encoded.ids[head.n_overlap :],
            self._classes_of[name],
            encoded.answer_ids,
        )
