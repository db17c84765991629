"""Arithmetic operators: their words, the numbers they are defined on, and the questions that need no computing."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of two-operand questions.

    Attributes:
        id: `add`, `sub`, ...
        words: text by template slot: `W` infix word, `D` infix word of the frames Y and z, `N` noun, `R` noun of
            statements, `G` name of the operation, `S` symbol, `M` noun of the modulo frames, `V` infix word of the
            released Y frames, `C` relation. A slot that is missing has no wording for this operator.
        apply: exact result, or None where the operator is not defined on the operands.
        shortcut: whether the result can be copied from the prompt or is constant (`x*1`, `x-x`, ...).
        choices: answers to result 0 and result 1 of a yes/no question; empty where the result is the answer.
    """

    id: str
    words: dict[str, str]
    apply: Callable[[int, int], int | None]
    shortcut: Callable[[int, int], bool]
    choices: tuple[str, ...] = ()


ADD = Operator(
    "add",
    {"W": "plus", "D": "plus", "V": "plus", "N": "sum of", "R": "sum of", "G": "addition", "S": "+"},
    lambda x, y: x + y,
    lambda x, y: x == 0 or y == 0,
)
SUB = Operator(
    "sub",
    {
        "W": "minus",
        "D": "minus",
        "V": "minus",
        "N": "difference between",
        "R": "difference between",
        "G": "subtraction",
        "S": "-",
    },
    lambda x, y: x - y,
    lambda x, y: y in (0, x),
)

MUL = Operator(
    "mul",
    {
        "W": "times",
        "D": "times",
        "V": "times",
        "N": "product of",
        "R": "product of",
        "G": "multiplication",
        "S": "*",
    },
    lambda x, y: x * y,
    lambda x, y: x in (0, 1) or y in (0, 1),
)
DIV = Operator(
    "div",
    {
        "W": "over",
        "D": "divided by",
        "V": "divides",
        "N": "ratio between",
        "R": "ratio of",
        "G": "division",
        "S": "/",
    },
    lambda x, y: x // y if y >= 1 and x % y == 0 else None,
    lambda x, y: y == 1 or x in (0, y),
)
MOD = Operator(
    "mod",
    {"W": "mod", "D": "mod", "M": "remainder of", "S": "%"},
    lambda x, y: x % y if y >= 2 else None,
    lambda x, y: x < y,
)


def _selector(selector_id: str, noun: str, choose: Callable[[int, int], int]) -> Operator:
    return Operator(
        selector_id, {"N": noun, "R": noun}, lambda x, y: choose(x, y) if x != y else None, lambda x, y: False
    )


FIRST = _selector("first", "first of", lambda x, y: x)
SECOND = _selector("second", "second of", lambda x, y: y)
LARGER = _selector("larger", "larger of", lambda x, y: max(x, y))
SMALLER = _selector("smaller", "smaller of", lambda x, y: min(x, y))
GREATER = Operator(
    "greater",
    {"C": "greater than"},
    lambda x, y: int(x > y) if x != y else None,
    lambda x, y: False,
    choices=("No", "Yes"),
)

ARITHMETIC = ("add", "sub", "mul", "div", "mod")
OPERATORS = {o.id: o for o in (ADD, SUB, MUL, DIV, MOD, FIRST, SECOND, LARGER, SMALLER, GREATER)}

NULL_WORDS = ("nothing", "none")
"""What replaces an operator word in the kind `operator_null` (Zhang et al., arXiv:2409.01659)."""

NULL_SYMBOLS = ("<", "@")
"""What replaces an operator symbol there."""
