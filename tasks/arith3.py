"""Three-operand arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arithloc.benchmark.api import PromptPair, Split, TaskInfo, TokenizerMismatch
from arithloc.tasks.arith3_expressions import resolve
from arithloc.tasks.arith3_grid import RANGES, TripleRange, triples
from arithloc.tasks.arith3_source import KINDS, ThreeOperandSource
from arithloc.tasks.drawing import Drawn, draw
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.grid import Range
from arithloc.tasks.kinds import Kind
from arithloc.tasks.layout import Bos
from arithloc.tasks.one_token import one_token_numbers
from arithloc.tasks.scoring import FIRST, check_score_digit

MAX_SHOTS = 16


@dataclass(frozen=True)
class ThreeOperands:
    """Two operations on three numbers, one of them worked out first.

    Attributes:
        expressions: templates: T0-T28, T0o-T28o (as released), or `all`, `original`; from Python also `(x+y)*z` and so on.
        digits: range of operands and results; `words` writes them as number words.
        shots: solved questions in front; identical in every prompt of a frame.
        chat: put the question (without `Q:` and `A:`) into the tokenizer's chat template, exemplars as earlier turns.
        bos: whether a token stands in front of the prompt.
        kind: how the counterfactual differs.
        copy_shortcuts: keep questions with an operation that needs no computing (x - x, x * 1, ...).
        one_token: only questions whose operands and results are one token each (number words always are).
        score_digit: scored token of the answer: `first` (the first that differs), its number, or `all` (a pair for each
            token that differs).
        split_seed: decides which operand triples belong to which split, and the exemplars.
    """

    expressions: tuple[str, ...] = ("all",)
    digits: Range = Range.N300
    shots: int = 0
    chat: bool = False
    bos: Bos = Bos.ALWAYS
    kind: Kind = Kind.OPERANDS
    copy_shortcuts: bool = False
    one_token: bool = False
    score_digit: str = FIRST
    split_seed: int = 0

    info = TaskInfo(
        name="three-operands",
        summary="Two operations on three numbers, in 29 expressions.",
        family="arithmetic",
    )

    def __post_init__(self) -> None:
        resolve(self.expressions)
        if self.digits not in RANGES:
            known = ", ".join(RANGES)
            raise ValueError(f"Expected a range of three operands, found {self.digits}. Use one of {known}.")
        if self.kind not in KINDS:
            known = ", ".join(KINDS)
            raise ValueError(f"Expected a kind of this task, found {self.kind}. Use one of {known}.")
        if not 0 <= self.shots <= MAX_SHOTS:
            raise ValueError(f"Expected 0 to {MAX_SHOTS} shots, found {self.shots}. Use fewer.")
        check_score_digit(self.score_digit, self.kind is Kind.SAME_ANSWER)

    def pairs(self, tokenizer: Any, split: Split, n: int, seed: int) -> Sequence[PromptPair]:
        """Up to `n` valid pairs of a split.

        Raises:
            TokenizerMismatch: the tokenizer cannot express the task.
            TooFewPairs: no valid pair at all, or too few triples for the exemplars.
        """
        return self.draw(tokenizer, split, n, seed).pairs

    def draw(self, tokenizer: Any, split: Split, n: int, seed: int) -> Drawn:
        """Like `pairs`, with the number of candidates that each rule turned away."""
        encoder = Encoder(tokenizer)
        source = ThreeOperandSource(
            task=self.info.name,
            frames=resolve(self.expressions),
            valid=self._valid(encoder),
            shots=self.shots,
            chat=self.chat,
            bos=self.bos,
            kind=self.kind,
            split=split,
            split_seed=self.split_seed,
            seed=seed,
            keep_digits=self.digits is not Range.WORDS and encoder.splits_digits(),
        )
        return draw(source, tokenizer, split, n, seed, self.score_digit)

    def _valid(self, encoder: Encoder) -> TripleRange:
        words = self.digits is Range.WORDS
        if not (self.one_token or words):
            return TripleRange(self.digits, self.copy_shortcuts)
        numbers = one_token_numbers(encoder, words, spaced=True)
        valid = TripleRange(self.digits, self.copy_shortcuts, numbers)
        if not any(len(triples(expression, valid)) for _, expression in resolve(self.expressions)):
            found = "splits them" if words else f"writes {len(numbers)} numbers as one token"
            raise TokenizerMismatch(
                f"Expected three operands and a result of one token each in {self.digits}, found that this tokenizer "
                f"{found}. Use digits=n300 with one_token=false."
            )
        return valid
