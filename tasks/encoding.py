"""Tokenizes questions and finds the position class of every token."""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from arithloc.benchmark.api import SHOT, TokenizerMismatch
from arithloc.tasks.layout import Layout, is_blank, text_ids, tokenized
from arithloc.tasks.questions import BOS, EARLY, LATE, Piece, Question
from arithloc.tasks.rules import Encoded, Rule

_Offsets = Sequence[tuple[int, int]]
_LAST_WORD = re.compile(r"\s?\S*\s*$")

BY_PLACE = frozenset({"subject", "asked"})
"""Classes whose first, middle and last tokens are told apart."""


def by_place(classes: Sequence[str]) -> tuple[str, ...]:
    """Divides each stretch of a class of `BY_PLACE` into first, middle and last; a single token is the last.

    Example:
    >>> by_place(["early", "subject", "subject", "late", "subject"])
    ('early', 'subject_first', 'subject_last', 'late', 'subject_last')
    """
    out: list[str] = []
    for cls, stretch in groupby(classes):
        n = len(list(stretch))
        if cls in BY_PLACE:
            first = [f"{cls}_first"] if n > 1 else []
            out += [*first, *[f"{cls}_mid"] * (n - 2), f"{cls}_last"]
        else:
            out += [cls] * n
    return tuple(out)


class Encoder:
    """A tokenizer with what the rules need to know about it."""

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise TokenizerMismatch(
                f"Expected a fast tokenizer (token offsets are needed), found {type(tokenizer).__name__}. "
                "Convert it with transformers' AutoTokenizer."
            )
        self.tokenizer = tokenizer
        self._special = {int(i) for i in tokenizer.all_special_ids}
        self._blank: dict[int, bool] = {}
        self._scorable: dict[int, bool] = {}

    def blank(self, token: int) -> bool:
        """Whether a token is nothing but white space."""
        if token not in self._blank:
            self._blank[token] = is_blank(self.tokenizer, token)
        return self._blank[token]

    def scorable(self, token: int) -> bool:
        """Whether a token may be scored: known, not special, not a bare space."""
        if token not in self._scorable:
            self._scorable[token] = (
                token not in self._special and token != self.tokenizer.unk_token_id and not self.blank(token)
            )
        return self._scorable[token]

    def splits_digits(self) -> bool:
        """Whether a two-digit number takes more tokens than a one-digit number."""
        return len(text_ids(self.tokenizer, "25")) > len(text_ids(self.tokenizer, "5"))

    def sizes(self, text: str) -> tuple[int, int]:
        """Number of tokens of a text with something to see, and of those of nothing but white space."""
        blank = [self.blank(token) for token in text_ids(self.tokenizer, text)]
        return blank.count(False), blank.count(True)

    def encode(self, questions: Sequence[Question], layouts: Sequence[Layout]) -> list[Encoded | Rule]:
        """Tokens, classes and answer tokens of many prompts, or the rule that a prompt breaks."""
        if not questions:
            return []
        prompts = [layout.prompt(question) for question, layout in zip(questions, layouts, strict=True)]
        wholes = [p + x.separator + q.answer for p, x, q in zip(prompts, layouts, questions, strict=True)]
        batch = tokenized(self.tokenizer, prompts, offsets=True)
        whole_ids = tokenized(self.tokenizer, wholes)["input_ids"]
        out: list[Encoded | Rule] = []
        for question, layout, prompt, ids, offsets, whole in zip(
            questions, layouts, prompts, batch["input_ids"], batch["offset_mapping"], whole_ids, strict=True
        ):
            out.append(self._one(question, layout, prompt, ids, offsets, whole))
        return out

    def answers(self, probe: Question, layout: Layout, answers: Sequence[str]) -> dict[str, tuple[int, ...]]:
        """Token ids of many answers behind one prompt; answers that change the prompt's tokens are left out.

        Only the prompt's last word is read: what stands further in front does not change these tokens.
        """
        prompt = _LAST_WORD.findall(layout.prompt(probe))[0]
        prompt_ids = text_ids(self.tokenizer, prompt)
        n = len(prompt_ids)
        whole = tokenized(self.tokenizer, [prompt + layout.separator + a for a in answers])["input_ids"]
        return {
            answer: tuple(ids[n:])
            for answer, ids in zip(answers, whole, strict=True)
            if ids[:n] == prompt_ids and len(ids) > n
        }

    def _one(
        self, question: Question, layout: Layout, prompt: str, ids: list[int], offsets: _Offsets, whole: list[int]
    ) -> Encoded | Rule:
        if whole[: len(ids)] != ids or (question.answer and len(whole) == len(ids)):
            return Rule.PREFIX
        pieces = question.pieces if layout.chat else question.wrapped()
        around = [Piece(SHOT, layout.prefix), *pieces, Piece(LATE, layout.suffix), *question.reply]
        around.append(Piece(LATE, layout.pad))
        classes = self._classes(around, prompt, ids, offsets)
        if classes is None:
            return Rule.ALIGNMENT
        front_class = SHOT if layout.prefix else BOS
        return Encoded(
            prompt,
            (*layout.front, *ids),
            (*(front_class for _ in layout.front), *by_place(classes)),
            tuple(whole[len(ids) :]),
        )

    def _classes(self, pieces: Sequence[Piece], text: str, ids: list[int], offsets: _Offsets) -> list[str] | None:
        """Class of each token: that of the piece in which its visible text lies; None if it lies in two.

        A token of white space alone takes the class of the space it stands for; one that stands for no character (the
        marker that some tokenizers put in front of a text) is `early`.
        """
        ends, position = [], 0
        for piece in pieces:
            position += len(piece.text)
            ends.append(position)
        classes: list[str] = []
        at = 0
        for token, (start, end) in zip(ids, offsets, strict=True):
            if self.blank(token):
                if (start < end and not text[start].isspace()) or start == end:
                    classes.append(EARLY if start == 0 and pieces[0].text == "" else pieces[at].cls)
                    continue
                first = last = start
            else:
                first, last = start, end - 1
                while text[first].isspace() and first < last:
                    first += 1
                while text[last].isspace() and first < last:
                    last -= 1
            while ends[at] <= first:
                at += 1
            if last >= ends[at] and any(
                piece.cls != pieces[at].cls and piece.text and stop - len(piece.text) <= last
                for piece, stop in zip(pieces[at + 1 :], ends[at + 1 :], strict=True)
            ):
                return None
            classes.append(pieces[at].cls)
        return classes
