"""Recomputes the answer of an arithmetic question from its text alone.

Knows nothing of the templates: it reads numbers and words. Every emitted prompt and exemplar must agree with it.
"""

import re

_TOKEN = re.compile(r"\d+|[a-z]+|[-+*/%]")
_INFIX = {
    "plus": "add",
    "+": "add",
    "minus": "sub",
    "-": "sub",
}
_NOUNS = {
    "sum": "add",
    "addition": "add",
    "difference": "sub",
    "subtraction": "sub",
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
    operation = _NOUNS.get(next((t for t in before if t in _NOUNS), "")) if between == "and" else _INFIX.get(between)
    return None if operation is None else _compute(operation, int(tokens[first]), int(tokens[second]))


def _compute(operation: str, x: int, y: int) -> int | None:
    match operation:
        case "add":
            return x + y
        case _:
            return x - y
