"""Counterfactual kinds of the toy task: how the second question of a pair is drawn from the first."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

Edit = Callable[["Question", "Grid", np.random.Generator], "Question | None"]


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        x, y: operands.
        operator: `+` or `-`.
    """

    x: int
    y: int
    operator: str

    @property
    def result(self) -> int:
        """Its result."""
        return self.x + self.y if self.operator == "+" else self.x - self.y

    @property
    def cluster(self) -> tuple[int, int]:
        """Sorted operands: the unit of splits and of the bootstrap."""
        return (min(self.x, self.y), max(self.x, self.y))


@dataclass(frozen=True)
class Grid:
    """What a model can be asked: operands of `n_digits` digits, `operators` `+`, `-` or `+-`."""

    n_digits: int
    operators: str

    def draw(self, rng: np.random.Generator) -> Question:
        """A uniform question."""
        x, y = (int(v) for v in rng.integers(0, 10**self.n_digits, 2))
        return Question(x, y, self.operators[int(rng.integers(len(self.operators)))])

    def digit(self, number: int, column: int) -> int:
        """Digit of a number."""
        return int(number // 10**column % 10)

    def with_digit(self, number: int, column: int, digit: int) -> int:
        """The number with one digit replaced."""
        return int(number + (digit - self.digit(number, column)) * 10**column)


def operands(question: Question, grid: Grid, rng: np.random.Generator) -> Question | None:
    """Operator and both operands drawn again."""
    return grid.draw(rng)


def operator_swap(question: Question, grid: Grid, rng: np.random.Generator) -> Question | None:
    """The other operator."""
    if len(grid.operators) < 2:
        return None
    return Question(question.x, question.y, "-" if question.operator == "+" else "+")


def single_operand(question: Question, grid: Grid, rng: np.random.Generator) -> Question | None:
    """One operand drawn again."""
    other = int(rng.integers(0, 10**grid.n_digits))
    if rng.random() < 0.5:
        return Question(other, question.y, question.operator)
    return Question(question.x, other, question.operator)


def column(question: Question, grid: Grid, rng: np.random.Generator) -> Question | None:
    """Both digits of one column drawn again."""
    j = int(rng.integers(grid.n_digits))
    x, y = (grid.with_digit(v, j, int(rng.integers(10))) for v in (question.x, question.y))
    return Question(x, y, question.operator)


def carry_flip_iso(question: Question, grid: Grid, rng: np.random.Generator) -> Question | None:
    """Other unit digits with the same unit digit of the result and the other carry or borrow; results differ by 10."""
    x, y = (grid.digit(v, 0) for v in (question.x, question.y))
    digits = _UNITS[question.operator, x + y if question.operator == "+" else x - y]
    if not digits:
        return None
    x, y = digits[int(rng.integers(len(digits)))]
    other = Question(grid.with_digit(question.x, 0, x), grid.with_digit(question.y, 0, y), question.operator)
    return other if question.operator == "+" or min(question.result, other.result) >= 0 else None


_UNITS = {
    (operator, value): [(x, y) for x, y in product(range(10), repeat=2) if abs(x + sign * y - value) == 10]
    for operator, sign in (("+", 1), ("-", -1))
    for value in range(-9, 19)
}
"""By operator and result of two unit digits, the unit digits whose result is 10 more or less."""


KINDS: dict[str, Edit] = {
    "operands": operands,
    "operator_swap": operator_swap,
    "single_operand": single_operand,
    "carry_flip_iso": carry_flip_iso,
    "column": column,
}
