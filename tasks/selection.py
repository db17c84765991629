"""Controls without arithmetic: name one of two numbers in the form of the noun frames, or say whether one is greater."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from arithloc.benchmark.api import PromptPair, Split, TaskInfo, TokenizerMismatch
from arithloc.tasks.drawing import Drawn, draw
from arithloc.tasks.encoding import Encoder
from arithloc.tasks.frames import resolve
from arithloc.tasks.grid import Grid, Operands, Range, enumerate_grid
from arithloc.tasks.kinds import Kind
from arithloc.tasks.layout import Bos
from arithloc.tasks.one_token import in_one_token
from arithloc.tasks.questions import Frame
from arithloc.tasks.rules import Rule
from arithloc.tasks.two_operands import TwoOperandSource, question

MAX_SHOTS = 16


@dataclass(frozen=True)
class Selection:
    """Options of a selection task.

    Attributes:
        digits: range of the two numbers; `words` writes them as number words.
        frames: F3, F4, or both; G0 for yes or no.
        shots: solved questions in front.
        chat: put the question into the tokenizer's chat template.
        bos: whether a token stands in front of the prompt.
        kind: how the counterfactual differs.
        balance: tag whose values are drawn equally often (`larger_slot`, `digits`), or empty.
        split_seed: decides which operand pairs belong to which split, and the exemplars.
    """

    digits: Range = Range.D1
    frames: tuple[str, ...] = ("F3", "F4")
    shots: int = 0
    chat: bool = False
    bos: Bos = Bos.ALWAYS
    kind: Kind = Kind.SELECTOR_SWAP
    balance: str = ""
    split_seed: int = 0

    info = TaskInfo(name="selection", summary="Name one of two numbers.", family="control")
    selectors: ClassVar[tuple[str, ...]] = ("first", "second")
    kinds = frozenset({Kind.SELECTOR_SWAP, Kind.OPERANDS, Kind.SINGLE_OPERAND})
    templates: ClassVar[tuple[str, ...]] = ("F3", "F4")

    def __post_init__(self) -> None:
        refused = [frame.id for frame in resolve(self.frames) if frame.id not in self.templates]
        if refused:
            known = " or ".join(self.templates)
            raise ValueError(f"Expected frames of this task, found {', '.join(refused)}. Use {known}.")
        if self.kind not in self.kinds:
            known = ", ".join(sorted(self.kinds))
            raise ValueError(f"Expected a kind of this task, found {self.kind}. Use one of {known}.")
        if not 0 <= self.shots <= MAX_SHOTS:
            raise ValueError(f"Expected 0 to {MAX_SHOTS} shots, found {self.shots}. Use fewer.")
        if self.balance not in ("", "larger_slot", "digits"):
            raise ValueError(f"Expected balance to be a tag, found {self.balance!r}. Use larger_slot or digits.")

    def pairs(self, tokenizer: Any, split: Split, n: int, seed: int) -> Sequence[PromptPair]:
        """Up to `n` valid pairs of a split.

        Raises:
            TokenizerMismatch: the tokenizer cannot express the task, or not in the form of the arithmetic prompt.
            TooFewPairs: no valid pair at all.
        """
        return self.draw(tokenizer, split, n, seed).pairs

    def draw(self, tokenizer: Any, split: Split, n: int, seed: int) -> Drawn:
        """Like `pairs`, with the number of candidates that each rule turned away."""
        encoder = Encoder(tokenizer)
        grids = tuple(Grid(selector, self.digits, shortcuts=True) for selector in self.selectors)
        if self.digits is Range.WORDS:
            grids = tuple(in_one_token(grid, encoder, resolve(self.frames)) for grid in grids)
        source = TwoOperandSource(
            task=self.info.name,
            grids=grids,
            swaps=tuple(reversed(grids)) if self.kind is Kind.SELECTOR_SWAP else (),
            frames=resolve(self.frames),
            surface="chat" if self.chat else "spaced",
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
        self._check_forms(source, encoder)
        return draw(source, tokenizer, split, n, seed)

    def _check_forms(self, source: TwoOperandSource, encoder: Encoder) -> None:
        """The prompts must have the length and the operand positions of the addition that they control for."""
        refused = {frame.id: found for frame in source.frames if (found := self._misfit(source, frame, encoder))}
        if not refused:
            return
        first, found = next(iter(refused.items()))
        fit = [frame.id for frame in resolve(self.templates) if not self._misfit(source, frame, encoder)]
        ways = " or ".join(f"frames={name}" for name in fit)
        advice = (
            ways
            or "comparison-yes-no, which has a form of its own, or a model whose tokenizer has whole tokens for these words"
        )
        raise TokenizerMismatch(
            f"Expected {self.info.name} in the form of the addition of frame {first}, as many tokens and the numbers at "
            f"the same places, found {found}. Use {advice}."
        )

    def _misfit(self, source: TwoOperandSource, frame: Frame, encoder: Encoder) -> str:
        """Tokens of each wording of a frame, where they differ; empty where all have the same form."""
        addition = Grid("add", self.digits, shortcuts=True, among=source.grids[0].among)
        operands: Operands = next(x for x in enumerate_grid(source.grids[0]) if addition.result(x) is not None)
        asked = [question(frame, grid, operands) for grid in (*source.grids, addition)]
        layout = source.layout(asked[0], encoder)
        found = encoder.encode(asked, [layout] * len(asked))
        forms = [encoded if isinstance(encoded, Rule) else encoded.classes for encoded in found]
        if len(set(forms)) == 1:
            return ""
        names = (*self.selectors, "sum")
        return ", ".join(
            f"{name!r}: {form.value if isinstance(form, Rule) else f'{len(form)} tokens'}"
            for name, form in zip(names, forms, strict=True)
        )


@dataclass(frozen=True)
class Copying(Selection):
    """Name the first or the second of two numbers."""

    info = TaskInfo(
        name="copying",
        summary="Name the first or the second of two numbers.",
        family="control",
        control_for="addition",
    )


@dataclass(frozen=True)
class Comparison(Selection):
    """Name the larger or the smaller of two numbers."""

    info = TaskInfo(
        name="comparison",
        summary="Name the larger or the smaller of two numbers.",
        family="control",
        control_for="subtraction",
    )
    selectors = ("larger", "smaller")
    kinds = frozenset({Kind.SELECTOR_SWAP, Kind.OPERANDS, Kind.SINGLE_OPERAND, Kind.ORDER_SWAP})


@dataclass(frozen=True)
class YesNoComparison(Selection):
    """Say whether the first of two numbers is greater; yes and no are asked equally often."""

    frames: tuple[str, ...] = ("G0",)
    kind: Kind = Kind.OPERANDS
    balance: str = "larger_slot"

    info = TaskInfo(
        name="comparison-yes-no",
        summary="Say whether one number is greater than another.",
        family="control",
        control_for="subtraction",
    )
    selectors = ("greater",)
    kinds = frozenset({Kind.OPERANDS, Kind.SINGLE_OPERAND, Kind.ORDER_SWAP})
    templates = ("G0",)

    def _check_forms(self, source: TwoOperandSource, encoder: Encoder) -> None:
        """No arithmetic question has this form."""
