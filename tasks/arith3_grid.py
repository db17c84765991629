"""All valid operand triples of an expression, counted and reached by index without listing them.

There are up to 27 million triples of operands from 1 to 300. The operation that is worked out first depends on two
operands, the other one on its value and the third; so the triples are kept as cells (value, third operand), each with
all pairs of operands that have this value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple, overload

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from arithloc.tasks.arith3_expressions import Expression
from arithloc.tasks.grid import Range
from arithloc.tasks.numerals import ONE_WORD, in_words

_ROWS = 4096
"""Values of the inner operation that are combined with every third operand at once."""


class Triple(NamedTuple):
    """The operands in the order of the expression."""

    x: int
    y: int
    z: int

    @property
    def key(self) -> tuple[int, ...]:
        """The canonical triple: sorted."""
        return tuple(sorted(self))

    @property
    def widths(self) -> tuple[int, ...]:
        """Digit counts."""
        return tuple(len(str(operand)) for operand in self)


_OPERANDS: dict[Range, Sequence[int]] = {
    Range.D1: range(1, 10),
    Range.N300: range(1, 301),
    Range.N300_EXCLUSIVE: range(1, 301),
    Range.SINGLE_DIGIT: range(1, 51),
    Range.WORDS: ONE_WORD,
}
_RESULTS: dict[Range, Sequence[int]] = {
    Range.D1: range(1, 301),
    Range.N300: range(1, 301),
    Range.N300_EXCLUSIVE: range(1, 300),
    Range.SINGLE_DIGIT: range(1, 10),
    Range.WORDS: ONE_WORD,
}
RANGES = tuple(_OPERANDS)
"""Ranges that questions of three operands have."""


@dataclass(frozen=True)
class TripleRange:
    """What decides which triples are valid, for any expression.

    Attributes:
        range: named range: operands 1 to 300 and results up to 300 (or 299), operands 1 to 50 and results 1 to 9, ...
        shortcuts: keep triples one of whose operations needs no computing (x * 1, x - x, ...).
        among: the only numbers that occur as operands or results; None for any.
    """

    range: Range
    shortcuts: bool = False
    among: frozenset[int] | None = None

    @cached_property
    def operands(self) -> tuple[int, ...]:
        """Every operand, ascending."""
        return tuple(n for n in _OPERANDS[self.range] if self.among is None or n in self.among)

    @cached_property
    def results(self) -> frozenset[int]:
        """Every result."""
        return frozenset(n for n in _RESULTS[self.range] if self.among is None or n in self.among)

    def written(self, number: int) -> str:
        """A number as prompts and answers show it."""
        return in_words(number) if self.range is Range.WORDS else str(number)

    def result(self, expression: Expression, triple: Triple) -> int | None:
        """Result of a triple of operands of this range, or None where it is not valid."""
        value = expression.value(*triple, self.shortcuts)
        return value if value in self.results else None


class Triples(Sequence[Triple]):
    """The valid triples of an expression as a sequence ordered by result.

    Args:
        expression: what is worked out.
        valid: which triples are valid.
    """

    def __init__(self, expression: Expression, valid: TripleRange) -> None:
        self._left_first = expression.left_first
        operands = np.array(valid.operands, dtype=np.int32)
        one, two = (grid.ravel() for grid in np.meshgrid(operands, operands, indexing="ij"))
        value, kept = _apply(expression.inner.id, one, two, valid.shortcuts)
        kept &= value >= 0
        order = np.flatnonzero(kept)[np.argsort(value[kept], kind="stable")]
        self._pairs = np.stack([one[order], two[order]])
        values, self._first, counts = np.unique(value[order], return_index=True, return_counts=True)
        allowed = np.array(sorted(valid.results), dtype=np.int32)
        cells = [
            _cells(expression, values[start : start + _ROWS], operands, allowed, valid.shortcuts, start)
            for start in range(0, len(values), _ROWS)
        ]
        row, third, result = np.concatenate([*cells, np.zeros((3, 0), dtype=np.int32)], axis=1)
        by_result = np.argsort(result, kind="stable")
        self._row, self._third = row[by_result], third[by_result]
        self._ends = np.cumsum(counts[self._row])
        ends = np.searchsorted(result[by_result], allowed, side="right")
        upto = np.concatenate([[0], self._ends])[ends]
        starts = [0, *upto.tolist()][: len(allowed)]
        self._of_result = {
            int(r): range(start, end)
            for r, start, end in zip(allowed, starts, upto.tolist(), strict=True)
            if end > start
        }

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    @overload
    def __getitem__(self, index: int) -> Triple: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Triple]: ...
    def __getitem__(self, index: int | slice) -> Triple | Sequence[Triple]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        cell = int(np.searchsorted(self._ends, index, side="right"))
        before = int(self._ends[cell - 1]) if cell else 0
        one, two = self._pairs[:, self._first[self._row[cell]] + index - before].tolist()
        third = int(self._third[cell])
        return Triple(one, two, third) if self._left_first else Triple(third, one, two)

    @property
    def results(self) -> tuple[int, ...]:
        """Results that occur, ascending."""
        return tuple(self._of_result)

    def places(self, result: int) -> range:
        """Indices of the triples with a result."""
        return self._of_result.get(result, range(0))


@lru_cache(maxsize=128)
def triples(expression: Expression, valid: TripleRange) -> Triples:
    """The valid triples of an expression, counted once."""
    return Triples(expression, valid)


def _cells(
    expression: Expression,
    values: Int[ndarray, " value"],
    third: Int[ndarray, " third"],
    allowed: Int[ndarray, " result"],
    shortcuts: bool,
    offset: int,
) -> Int[ndarray, "3 cell"]:
    """Index of the value, third operand and result of every valid combination."""
    inner, other = values[:, None], third[None, :]
    left, right = (inner, other) if expression.left_first else (other, inner)
    result, kept = _apply(expression.outer.id, left, right, shortcuts)
    kept &= np.isin(result, allowed)
    rows, columns = np.nonzero(kept)
    return np.stack([rows + offset, third[columns], result[kept]])


def _apply(
    operator: str, one: Int[ndarray, "..."], two: Int[ndarray, "..."], shortcuts: bool
) -> tuple[Int[ndarray, "..."], Bool[ndarray, "..."]]:
    """Values of an operation on arrays that can be broadcast, and where it is exact and has to be computed."""
    match operator:
        case "add":
            value, copied = one + two, (one == 0) | (two == 0)
        case "sub":
            value, copied = one - two, (two == 0) | (one == two)
        case "mul":
            value, copied = one * two, (one <= 1) | (two <= 1)
        case "div":
            divisor = np.where(two == 0, 1, two)
            value, copied = one // divisor, (two == 1) | (one == 0) | (one == two)
        case _:
            raise ValueError(operator)
    exact = (two != 0) & (value * two == one) if operator == "div" else np.ones(value.shape, dtype=np.bool_)
    return value, exact if shortcuts else exact & ~copied
