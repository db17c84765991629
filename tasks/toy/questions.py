"""The toy task: prompt pairs in the format of the toy models, each scored at one token of the teacher-forced answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from arithloc.benchmark.api import PromptPair, Split, TaskInfo, TooFewPairs
from arithloc.tasks.splits import cluster_name, split_of
from arithloc.tasks.toy.arithmetic import Questions, answers, strata
from arithloc.tasks.toy.formats import BOS, MINUS, PLUS, Format, encode
from arithloc.tasks.toy.kinds import KINDS, Edit, Grid, Question

MAX_BARREN = 50_000
"""Draws in a row without a new pair after which a split is taken to have no more."""


@dataclass(frozen=True)
class Asked:
    """A question as the model reads it.

    Attributes:
        question: what is asked.
        text: up to `=`.
        answer: sign and digits.
    """

    question: Question
    text: str
    answer: str

    @classmethod
    def of(cls, question: Question, form: Format) -> "Asked":
        """Writes a question with zero-padded operands."""
        n, result = form.n_digits, question.result
        sign = "-" if result < 0 else "+"
        text = f"{question.x:0{n}d}{question.operator}{question.y:0{n}d}="
        return cls(question, text, f"{sign}{abs(result):0{n + 1}d}")

    def ids(self, form: Format, scored: int) -> tuple[int, ...]:
        """Input tokens up to the position that predicts answer token `scored`, with this question's own answer."""
        return ((BOS,) if form.bos else ()) + encode(self.text + self.answer[:scored])


@dataclass(frozen=True)
class ToyArith:
    """Addition and subtraction of n-digit numbers in the toy models' format.

    Digits and operators are those of the model's tokenizer. A pair is scored at one answer token, drawn uniformly from
    those that differ between the two answers; it need not be the first, because each prompt keeps its own answer tokens
    in front of it (a sign that both prompts share could never matter).

    Attributes:
        kind: `operands` (the kind that truth documents refer to), `operator_swap`, `single_operand`, `carry_flip_iso`
            or `column`.
        split_seed: decides which operand pairs belong to which split.
    """

    kind: str = "operands"
    split_seed: int = 0
    info: ClassVar[TaskInfo] = TaskInfo(
        name="toy-arith",
        summary="Addition and subtraction in the format of the toy models with known circuits.",
        family="toy",
    )
    _edit: Edit = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Expected kind {', '.join(KINDS)}; found {self.kind!r}.")
        object.__setattr__(self, "_edit", KINDS[self.kind])

    def pairs(self, tokenizer: Any, split: Split, n: int, seed: int) -> Sequence[PromptPair]:
        """Up to `n` pairs whose two questions belong to `split`; fewer where `MAX_BARREN` draws give no new one.

        Raises:
            TokenizerMismatch: not the tokenizer of a toy model.
            TooFewPairs: the model's operators allow no pair of this kind.
        """
        form = Format.of_tokenizer(tokenizer)
        grid = Grid(form.n_digits, form.operators)
        rng = np.random.default_rng([seed, list(Split).index(split), list(KINDS).index(self.kind)])
        found: dict[tuple[Question, Question], PromptPair] = {}
        barren = 0
        while len(found) < n and barren < MAX_BARREN:
            barren += 1
            clean = grid.draw(rng)
            other = self._edit(clean, grid, rng)
            if other is None or clean.result == other.result or (clean, other) in found or (other, clean) in found:
                continue
            if all(split_of(self.split_seed, q.cluster) is split for q in (clean, other)):
                found[clean, other] = self._pair(
                    Asked.of(clean, form), Asked.of(other, form), form, split, len(found), rng
                )
                barren = 0
        if not found and n > 0:
            raise TooFewPairs(
                f"Expected pairs of kind {self.kind!r} for a model with operators {form.operators!r}, found none in "
                f"{MAX_BARREN:,} draws. Use another kind, or a model that adds and subtracts."
            )
        return list(found.values())

    def _pair(
        self, clean: Asked, other: Asked, form: Format, split: Split, index: int, rng: np.random.Generator
    ) -> PromptPair:
        differing = [i for i, (a, b) in enumerate(zip(clean.answer, other.answer, strict=True)) if a != b]
        scored = differing[int(rng.integers(len(differing)))]
        ids = clean.ids(form, scored)
        return PromptPair(
            task=self.info.name,
            frame="toy",
            operator=_name(clean.question),
            kind=self.kind,
            clean=clean.text,
            counterfactual=other.text,
            clean_ids=ids,
            counterfactual_ids=other.ids(form, scored),
            classes=form.classes[: len(ids)],
            answer=clean.answer,
            answer_cf=other.answer,
            answer_ids=encode(clean.answer),
            answer_cf_ids=encode(other.answer),
            first_diff=scored,
            candidates=(PLUS, MINUS) if scored == 0 else tuple(range(10)),
            strata=tuple(sorted(_tags(clean.question, form, form.classes[len(ids) - 1]).items())),
            cluster=cluster_name(clean.question.cluster),
            split=split,
            index=index,
        )


def as_batch(questions: Sequence[Question], n_digits: int) -> Questions:
    """Questions as digit arrays."""
    x, y = (np.array([getattr(q, name) for q in questions]) for name in "xy")
    return Questions.of(x, y, np.array([q.operator == "-" for q in questions]), n_digits)


def _name(question: Question) -> str:
    return "add" if question.operator == "+" else "sub"


def _tags(question: Question, form: Format, scored: str) -> dict[str, str]:
    batch = as_batch([question], form.n_digits)
    stratum = strata(batch)[0]
    sign = "negative" if answers(batch).negative[0] else "positive"
    return {
        "borrow_depth_swapped": str(stratum.swapped),
        "operator": _name(question),
        "scored": scored,
        "sign": sign,
        "stratum": stratum.name,
    }
