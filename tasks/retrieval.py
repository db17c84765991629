"""Number retrieval: the control in which a number is answered and nothing is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arithloc.benchmark.api import PromptPair, Split, TaskInfo
from arithloc.tasks.drawing import Drawn, draw
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.grid import Range
from arithloc.tasks.layout import Bos
from arithloc.tasks.retrieval_questions import resolve
from arithloc.tasks.retrieval_source import RetrievalKind, RetrievalSource, noun_lengths

MAX_SHOTS = 16
RANGES = (Range.D1, Range.D2, Range.D3, Range.D2D1, Range.N300, Range.N300_EXCLUSIVE, Range.SINGLE_DIGIT)


@dataclass(frozen=True)
class Retrieval:
    """Say how many of one thing there are, when the prompt counts two.

    Attributes:
        digits: range of the two numbers, from 2 on (all but `d1-by` and ranges of number words).
        frames: templates R0-R7, or `all`.
        shots: solved questions in front.
        chat: put the question into the tokenizer's chat template.
        bos: whether a token stands in front of the prompt.
        kind: how the counterfactual differs.
        split_seed: decides which number pairs belong to which split, and the exemplars.
    """

    digits: Range = Range.D1
    frames: tuple[str, ...] = ("all",)
    shots: int = 0
    chat: bool = False
    bos: Bos = Bos.ALWAYS
    kind: RetrievalKind = RetrievalKind.ENTITY_SWAP
    split_seed: int = 0

    info = TaskInfo(
        name="retrieval",
        summary="Say how many of one thing there are, when the prompt counts two.",
        family="control",
        control_for="addition",
    )

    def __post_init__(self) -> None:
        resolve(self.frames)
        if self.digits not in RANGES:
            raise ValueError(f"Expected digits to be one of {', '.join(RANGES)}, found {self.digits}. Use digits=d2.")
        if not 0 <= self.shots <= MAX_SHOTS:
            raise ValueError(f"Expected 0 to {MAX_SHOTS} shots, found {self.shots}. Use fewer.")

    def pairs(self, tokenizer: Any, split: Split, n: int, seed: int) -> Sequence[PromptPair]:
        """Up to `n` valid pairs of a split.

        Raises:
            TokenizerMismatch: the tokenizer cannot express the task.
            TooFewPairs: no valid pair at all, or too few number pairs for the exemplars.
        """
        return self.draw(tokenizer, split, n, seed).pairs

    def draw(self, tokenizer: Any, split: Split, n: int, seed: int) -> Drawn:
        """Like `pairs`, with the number of candidates that each rule turned away."""
        encoder = Encoder(tokenizer)
        source = RetrievalSource(
            task=self.info.name,
            frames=resolve(self.frames),
            digits=self.digits,
            kind=self.kind,
            shots=self.shots,
            chat=self.chat,
            bos=self.bos,
            split=split,
            split_seed=self.split_seed,
            seed=seed,
            lengths=noun_lengths(encoder),
            keep_digits=encoder.splits_digits(),
        )
        return draw(source, tokenizer, split, n, seed)
