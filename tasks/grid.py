"""Operand grids: every valid operand pair of a range, enumerated once."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from arithloc.tasks.numerals import ONE_WORD, in_words
from arithloc.tasks.operators import OPERATORS
from arithloc.tasks.splits import buckets

ANY = 10**9
"""A bound that no result reaches."""


class Range(StrEnum):
    """Named ranges of operands and results."""

    D1 = "d1"
    """Both operands 1..9, any result."""
    D2 = "d2"
    """Both operands 10..99, any result."""
    D3 = "d3"
    """Both operands 100..999, any result."""
    D2D1 = "d2d1"
    """First operand 10..99, second 1..9, any result."""
    N300 = "n300"
    """Operands and results 1..300 (Stolfo et al., arXiv:2305.15054)."""
    N300_EXCLUSIVE = "n300-exclusive"
    """Operands 1..300, results 1..299: the bound of that paper's released code."""
    SINGLE_DIGIT = "single-digit"
    """Operands 1..9, results 0..9."""
    D1_BY = "d1-by"
    """Second operand 2..9, result 1..99: division with quotients of one and two digits."""
    WORDS = "words"
    """Operands and results in one word: zero to twenty, and the tens."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Inclusive bounds of a range; `result` None where any result will do, `among` None where any number will."""

    x: tuple[int, int]
    y: tuple[int, int]
    result: tuple[int, int] | None = None
    among: frozenset[int] | None = None


BOUNDS = {
    Range.D1: Bounds((1, 9), (1, 9)),
    Range.D2: Bounds((10, 99), (10, 99)),
    Range.D3: Bounds((100, 999), (100, 999)),
    Range.D2D1: Bounds((10, 99), (1, 9)),
    Range.N300: Bounds((1, 300), (1, 300), (1, 300)),
    Range.N300_EXCLUSIVE: Bounds((1, 300), (1, 300), (1, 299)),
    Range.SINGLE_DIGIT: Bounds((1, 9), (1, 9), (0, 9)),
    Range.D1_BY: Bounds((2, 9 * 99), (2, 9), (1, 99)),
    Range.WORDS: Bounds((0, 90), (0, 90), (0, 90), frozenset(ONE_WORD)),
}


class Operands(NamedTuple):
    """First and second operand."""

    x: int
    y: int

    @property
    def key(self) -> tuple[int, int]:
        """The canonical operand pair: sorted."""
        return (self.x, self.y) if self.x <= self.y else (self.y, self.x)


@dataclass(frozen=True, slots=True)
class Grid:
    """What decides which operand pairs are valid.

    Attributes:
        operator: operator id.
        range: named range.
        shortcuts: keep operand pairs whose result needs no computing.
        negative: allow results below zero.
        among: the only numbers that occur, as operands or results; None for any.
    """

    operator: str
    range: Range
    shortcuts: bool = False
    negative: bool = False
    among: frozenset[int] | None = None

    @property
    def limits(self) -> tuple[int, int]:
        """Smallest and largest result."""
        if OPERATORS[self.operator].choices:
            return (0, 1)
        low, high = BOUNDS[self.range].result or (0, ANY)
        return (-high, high) if self.negative else (low, high)

    @property
    def numbers(self) -> frozenset[int] | None:
        """The only numbers that occur: those of the range that are also in `among`; None for any."""
        ours, theirs = BOUNDS[self.range].among, self.among
        return theirs if ours is None else ours if theirs is None else ours & theirs

    def result(self, operands: Operands) -> int | None:
        """Result of an operand pair, or None where the pair is not in this grid."""
        operator, bounds = OPERATORS[self.operator], BOUNDS[self.range]
        x, y = operands
        if not (bounds.x[0] <= x <= bounds.x[1] and bounds.y[0] <= y <= bounds.y[1]):
            return None
        value, (low, high) = operator.apply(x, y), self.limits
        if value is None or not low <= value <= high or (operator.shortcut(x, y) and not self.shortcuts):
            return None
        numbers = self.numbers
        asked = (x, y) if operator.choices else (x, y, value)
        return value if numbers is None or numbers.issuperset(asked) else None

    def written(self, number: int) -> str:
        """An operand as the prompt shows it."""
        return in_words(number) if self.range is Range.WORDS else str(number)

    def answer(self, result: int) -> str:
        """A result as the answer to the question."""
        choices = OPERATORS[self.operator].choices
        return choices[result] if choices else self.written(result)


@lru_cache(maxsize=64)
def enumerate_grid(grid: Grid) -> tuple[Operands, ...]:
    """All valid operand pairs, ordered, each once."""
    bounds, operator = BOUNDS[grid.range], OPERATORS[grid.operator]
    apply, shortcut, shortcuts = operator.apply, operator.shortcut, grid.shortcuts
    low, high = grid.limits
    numbers = grid.numbers
    xs, ys = _among(bounds.x, numbers), _among(bounds.y, numbers)
    results = None if operator.choices else numbers
    return tuple(
        [
            Operands(x, y)
            for x in xs
            for y in ys
            if (value := apply(x, y)) is not None
            and low <= value <= high
            and (shortcuts or not shortcut(x, y))
            and (results is None or value in results)
        ]
    )


@lru_cache(maxsize=64)
def grid_buckets(grid: Grid, split_seed: int) -> bytes:
    """The bucket of every operand pair of `enumerate_grid`; both orders of a pair are hashed once."""
    keys = [(x, y) if x <= y else (y, x) for x, y in enumerate_grid(grid)]
    distinct = list(dict.fromkeys(keys))
    found = dict(zip(distinct, buckets(split_seed, distinct), strict=True))
    return bytes([found[key] for key in keys])


def _among(bounds: tuple[int, int], numbers: frozenset[int] | None) -> Sequence[int]:
    every = range(bounds[0], bounds[1] + 1)
    return every if numbers is None else [n for n in every if n in numbers]
