"""Two-operand arithmetic tasks."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arithloc.benchmark.api import PromptPair, Split, TaskInfo, TokenizerMismatch
from arithloc.tasks.drawing import Drawn, draw
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.frames import Surface, is_infix, operator_slot, resolve
from arithloc.tasks.grid import Grid, Operands, Range
from arithloc.tasks.kinds import CARRY_RANGES, Kind
from arithloc.tasks.layout import Bos
from arithloc.tasks.one_token import in_one_token
from arithloc.tasks.operators import ARITHMETIC, OPERATORS
from arithloc.tasks.questions import Frame
from arithloc.tasks.rules import Rule
from arithloc.tasks.scoring import FIRST, check_score_digit
from arithloc.tasks.strata import arithmetic_strata
from arithloc.tasks.two_operands import FOIL_KINDS, SWAP_KINDS, TwoOperandSource

MAX_SHOTS = 16
CARRYING = frozenset({"add", "sub"})
COMMUTATIVE = frozenset({"add", "mul"})


@dataclass(frozen=True)
class TwoOperands:
    """Options of a two-operand task.

    Attributes:
        digits: range of operands and results; `words` writes them as number words.
        frames: templates: F0-F5, Y0-Y3, B0, zE0-zE11, zS0-zS11, zQ0-zQ11, or `all` (F0-F5), `y`, `z`, `words`.
        surface: spacing of symbolic expressions.
        shots: solved questions in front; identical in every prompt of a frame.
        chat: put the question (without `Q:` and `A:`) into the tokenizer's chat template, exemplars as earlier turns.
        bos: whether a token stands in front of the prompt.
        kind: how the counterfactual differs.
        swap_to: other operator of the kinds `operator_swap` and `same_answer_other_op`.
        copy_shortcuts: keep questions whose answer needs no computing (x - x, x + 0, ...).
        one_token: only questions whose operands and results are one token each (number words always are).
        score_digit: scored token of the answer: `first` (the first that differs), its number, or `all` (a pair for each
            token that differs).
        balance: tag whose values are drawn equally often (`carries`, `carry_count`, `borrows`, `digits`, ...).
        split_seed: decides which operand pairs belong to which split, and the exemplars.
    """

    digits: Range = Range.D1
    frames: tuple[str, ...] = ("F5",)
    surface: Surface = Surface.SPACED
    shots: int = 0
    chat: bool = False
    bos: Bos = Bos.ALWAYS
    kind: Kind = Kind.OPERANDS
    swap_to: str = ""
    copy_shortcuts: bool = False
    one_token: bool = False
    score_digit: str = FIRST
    balance: str = ""
    split_seed: int = 0

    info = TaskInfo(name="two-operands", summary="Two-operand arithmetic.", family="arithmetic")
    operator = "add"
    default_swap = "sub"

    def __post_init__(self) -> None:
        frames = resolve(self.frames, self.surface)
        if not 0 <= self.shots <= MAX_SHOTS:
            raise ValueError(f"Expected 0 to {MAX_SHOTS} shots, found {self.shots}. Use fewer.")
        refused = [frame.id for frame in frames if frame.reply and not self.chat]
        if refused:
            raise ValueError(
                f"Expected chat=true for {', '.join(refused)}, found chat=false. Use chat=true or frames=F5."
            )
        self._check_wording(frames)
        signs = [frame.id for frame in frames if operator_slot(frame) == "S"]
        if self.digits is Range.WORDS and signs:
            raise ValueError(
                f"Expected frames without symbols for digits=words, found {', '.join(signs)}. Use frames=words."
            )
        check_score_digit(self.score_digit, self.kind in FOIL_KINDS)
        if self.kind in (Kind.CARRY_FLIP, Kind.CARRY_FLIP_ISO) and self.operator not in CARRYING:
            raise ValueError(f"Expected add or sub for kind {self.kind}, found {self.operator}. Use kind=operands.")
        if self.kind is Kind.ORDER_SWAP and self.operator not in COMMUTATIVE:
            raise ValueError(f"Expected add or mul for kind order_swap, found {self.operator}. Use kind=same_answer.")
        if self.kind in (Kind.CARRY_FLIP, Kind.CARRY_FLIP_ISO) and self.digits not in CARRY_RANGES:
            raise ValueError(f"Expected digits d2 or d3 for kind {self.kind}, found {self.digits}. Use digits=d2.")
        if self.kind is Kind.OPERATOR_NULL:
            refused = [frame.id for frame in frames if not is_infix(frame)]
            if refused:
                raise ValueError(
                    f"Expected frames with the operator between the operands for kind operator_null, found "
                    f"{', '.join(refused)}. Use F0, F1, F2, F5, Y1, Y2, Y3 or z-infix."
                )
        if self.kind is Kind.SELECTOR_SWAP:
            raise ValueError("Expected a kind of arithmetic, found selector_swap. Use operator_swap.")
        if self.swap_to and (self.swap_to not in ARITHMETIC or self.swap_to == self.operator):
            known = ", ".join(name for name in ARITHMETIC if name != self.operator)
            raise ValueError(f"Expected swap_to to be another operator, found {self.swap_to!r}. Use one of {known}.")
        if self.balance:
            tags = arithmetic_strata(self.operator, Operands(1, 1), 1)
            if self.balance not in tags:
                raise ValueError(
                    f"Expected balance to be a tag of the task, found {self.balance!r}. Use one of {', '.join(tags)}."
                )

    def _check_wording(self, frames: Sequence[Frame]) -> None:
        """Raises ValueError where a frame has no wording for an operator of this task."""
        for name in {self.operator, self.other_operator}:
            missing = [frame.id for frame in frames if operator_slot(frame) not in OPERATORS[name].words]
            if missing:
                known = [frame.id for frame in resolve(("all", "mod")) if operator_slot(frame) in OPERATORS[name].words]
                raise ValueError(
                    f"Expected frames with a wording for {name}, found {', '.join(missing)}. Use {', '.join(known)}."
                )

    @property
    def other_operator(self) -> str:
        """The operator of the counterfactual."""
        return (self.swap_to or self.default_swap) if self.kind in SWAP_KINDS else self.operator

    def pairs(self, tokenizer: Any, split: Split, n: int, seed: int) -> Sequence[PromptPair]:
        """Up to `n` valid pairs of a split.

        Raises:
            TokenizerMismatch: the tokenizer cannot express the task.
            TooFewPairs: no valid pair at all.
        """
        return self.draw(tokenizer, split, n, seed).pairs

    def draw(self, tokenizer: Any, split: Split, n: int, seed: int) -> Drawn:
        """Like `pairs`, with the number of candidates that each rule turned away."""
        encoder, frames = Encoder(tokenizer), resolve(self.frames, self.surface)
        grid = self._grid()
        if self.one_token or self.digits is Range.WORDS:
            grid = in_one_token(grid, encoder, frames)
        swaps = (dataclasses.replace(grid, operator=self.other_operator),) if self.kind in SWAP_KINDS else ()
        source = TwoOperandSource(
            task=self.info.name,
            grids=(grid,),
            swaps=swaps,
            frames=frames,
            surface="chat" if self.chat else self.surface.value,
            shots=self.shots,
            chat=self.chat,
            bos=self.bos,
            kind=self.kind,
            balance=self.balance,
            split=split,
            split_seed=self.split_seed,
            seed=seed,
            keep_digits=self.digits is not Range.WORDS and encoder.splits_digits(),
        )
        return draw(source, tokenizer, split, n, seed, self.score_digit)

    def _grid(self) -> Grid:
        return Grid(self.operator, self.digits, self.copy_shortcuts)


@dataclass(frozen=True)
class Addition(TwoOperands):
    """Sum of two numbers."""

    info = TaskInfo(name="addition", summary="Sum of two numbers, digits or words around them.", family="arithmetic")
    operator = "add"
    default_swap = "sub"


@dataclass(frozen=True)
class Subtraction(TwoOperands):
    """Difference of two numbers.

    Attributes:
        negative: also ask for differences below zero.
    """

    negative: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negative and self.digits is Range.WORDS:
            raise ValueError("Expected digits for negative=true, found number words. Use negative=false or digits=d2.")

    info = TaskInfo(name="subtraction", summary="Difference of two numbers.", family="arithmetic")
    operator = "sub"
    default_swap = "add"

    def draw(self, tokenizer: Any, split: Split, n: int, seed: int) -> Drawn:
        """Like `pairs`, with the number of candidates that each rule turned away.

        Raises:
            TokenizerMismatch: also where `negative` is asked for and a minus sign merges with what stands before it.
        """
        drawn = super().draw(tokenizer, split, n, seed)
        if self.negative and Rule.PREFIX in drawn.rejected:
            raise TokenizerMismatch(
                "Expected negative answers to leave the prompt's tokens as they are, found that this tokenizer joins "
                "the minus sign with the space or sign before it. Use negative=false, or chat=true with frames=F1."
            )
        return drawn

    def _grid(self) -> Grid:
        return dataclasses.replace(super()._grid(), negative=self.negative)


@dataclass(frozen=True)
class Multiplication(TwoOperands):
    """Product of two numbers."""

    info = TaskInfo(name="multiplication", summary="Product of two numbers.", family="arithmetic")
    operator = "mul"
    default_swap = "add"


@dataclass(frozen=True)
class Division(TwoOperands):
    """Quotient of two numbers that divide without remainder."""

    digits: Range = Range.D1_BY

    info = TaskInfo(name="division", summary="Quotient of two numbers, without remainder.", family="arithmetic")
    operator = "div"
    default_swap = "sub"


@dataclass(frozen=True)
class Modulo(TwoOperands):
    """Remainder of a division."""

    digits: Range = Range.D2D1

    info = TaskInfo(name="modulo", summary="Remainder of a division.", family="arithmetic")
    operator = "mod"
    default_swap = "sub"
