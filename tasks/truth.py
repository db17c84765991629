"""Recomputes the answer of an arithmetic question from its text alone.

Knows nothing of the templates: it reads numbers and words. Every emitted prompt and exemplar must agree with it.
"""

import re
from fractions import Fraction

_TOKEN = re.compile(r"\d+|[a-z]+|[-+*/%]")
_INFIX = {
    "plus": "add",
    "+": "add",
    "minus": "sub",
    "-": "sub",
    "times": "mul",
    "*": "mul",
    "divided by": "div",
    "over": "div",
    "/": "div",
    "mod": "mod",
    "%": "mod",
}
_NOUNS = {
    "sum": "add",
    "addition": "add",
    "difference": "sub",
    "subtraction": "sub",
    "product": "mul",
    "multiplication": "mul",
    "ratio": "div",
    "division": "div",
    "first": "first",
    "second": "second",
    "larger": "larger",
    "smaller": "smaller",
}


def evaluate(question: str) -> int | None:
    """Value of the one two-operand expression in a text, or None where there is no such expression.

    Example:
    >>> evaluate("Q: What is the difference between 52 and 27? A:")
    25
    >>> evaluate("3 < 5 =") is None
    True
    """
    tokens = _TOKEN.findall(question.lower())
    places = [i for i, token in enumerate(tokens) if token.isdigit()]
    if len(places) != 2:
        return None
    first, second = places
    between = " ".join(tokens[first + 1 : second])
    before = tokens[:first]
    if between == "and":
        operation = _NOUNS.get(next((t for t in before if t in _NOUNS), ""), "")
    elif between == "divided by" and before[-2:] == ["remainder", "of"]:
        operation = "mod"
    else:
        operation = _INFIX.get(between, "")
    return _compute(operation, int(tokens[first]), int(tokens[second]))


def _compute(operation: str, x: int, y: int) -> int | None:
    match operation:
        case "add":
            return x + y
        case "sub":
            return x - y
        case "mul":
            return x * y
        case "div":
            quotient = Fraction(x, y) if y else Fraction(1, 2)
            return quotient.numerator if quotient.denominator == 1 else None
        case "mod":
            return x - y * (x // y) if y else None
        case "first" | "second":
            return x if operation == "first" else y
        case "larger" | "smaller":
            return x if (x > y) == (operation == "larger") else y
        case _:
            return None
