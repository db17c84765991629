"""Recomputes the answer of an arithmetic question from its text alone.

Knows nothing of the templates: it reads numbers, in digits or words, and the words between them. Every emitted prompt
and exemplar must agree with it.
"""

import re
from fractions import Fraction

Value = int | bool | None

_TOKEN = re.compile(r"\d+|[a-z]+|[-+*/%]")
_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
_WORDS = {word: n for n, word in enumerate(_SMALL)} | {
    word: 10 * n for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)
}
_PHRASES = {
    ("and", "multiply", "by"): "*",
    ("divided", "by"): "/",
    ("divided", "bu"): "/",  # in one of the released strings of three operands
    ("greater", "than"): ">",
    ("plus",): "+",
    ("minus",): "-",
    ("times",): "*",
    ("over",): "/",
    ("divides",): "/",
    ("mod",): "%",
}
_LEVELS = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 3, ">": 3}
_NOUNS = {
    "sum": "+",
    "addition": "+",
    "difference": "-",
    "subtraction": "-",
    "product": "*",
    "multiplication": "*",
    "ratio": "/",
    "division": "/",
    "first": "first",
    "second": "second",
    "larger": "larger",
    "smaller": "smaller",
}
_REMAINDER = "remainder"
_LINKS = frozenset({"the", "of", "between"})


class _Unreadable(ValueError):
    """The text is no expression, or a division in it leaves a remainder."""


def agrees(question: str, answer: str) -> bool:
    """Whether a text that contains one expression means an answer: digits, a number word, `Yes` or `No`."""
    asked, said = evaluate(question), read(answer)
    return asked is not None and type(asked) is type(said) and asked == said


def read(answer: str) -> Value:
    """Value of an answer, or None where it is neither a number nor `Yes` or `No`.

    Example:
    >>> read("-12"), read("three hundred forty two"), read("Yes"), read("Maybe") is None
    (-12, 342, True, True)
    """
    if answer in ("Yes", "No"):
        return answer == "Yes"
    if re.fullmatch(r"-?\d+", answer):
        return int(answer)
    total = 0
    for word in answer.split() or [""]:
        if word == "hundred" and total:
            total *= 100
        elif word in _WORDS:
            total += _WORDS[word]
        else:
            return None
    return total


def evaluate(question: str) -> Value:
    """Value of the one expression in a text, or None where there is no such expression or no whole number comes out.

    Operations of one rank are worked out from the left; a text that mixes ranks without saying which comes first has
    no value.

    Example:
    >>> evaluate("Q: What is the difference between 52 and 27? A:")
    25
    >>> evaluate("What is the ratio between nine plus three and four?")
    3
    >>> evaluate("3 < 5 =") is None, evaluate("2 + 3 * 4 =") is None
    (True, True)
    """
    words = _TOKEN.findall(question.lower())
    starts = [i for i, word in enumerate(words) if _number(word) is not None or word in _NOUNS or word == _REMAINDER]
    ends = [i for i, word in enumerate(words) if _number(word) is not None]
    if len(ends) < 2:
        return None
    reader = _Reader(words[starts[0] : ends[-1] + 1])
    try:
        value = reader.expression()
    except _Unreadable:
        return None
    return value if not reader.rest else None


class _Reader:
    """Reads an expression from the left; `rest` is what has not been read."""

    def __init__(self, words: list[str]) -> None:
        self.rest = words

    def expression(self) -> int | bool:
        """Terms with operators between them."""
        value: int | bool = self._term()
        level = 0
        while (found := self._operator()) is not None:
            if level not in (0, _LEVELS[found]) or level == 3:
                raise _Unreadable
            level = _LEVELS[found]
            value = _compute(found, value, self._term())
        return value

    def _operator(self) -> str | None:
        if self.rest and self.rest[0] in _LEVELS:
            return self.rest.pop(0)
        for phrase, operator in _PHRASES.items():
            if tuple(self.rest[: len(phrase)]) == phrase:
                del self.rest[: len(phrase)]
                return operator
        return None

    def _term(self) -> int:
        """A number, or a noun with what it is of: an expression, `and`, a term."""
        while self.rest and self.rest[0] in _LINKS:
            self.rest.pop(0)
        word = self.rest.pop(0) if self.rest else ""
        number = _number(word)
        if number is not None:
            return number
        if word == _REMAINDER:
            x = self._term()
            if self._operator() != "/":
                raise _Unreadable
            return int(_compute("%", x, self._term()))
        if word not in _NOUNS:
            raise _Unreadable
        while self.rest and self.rest[0] in _LINKS:
            self.rest.pop(0)
        first = self.expression()
        if not self.rest or self.rest.pop(0) != "and":
            raise _Unreadable
        return int(_compute(_NOUNS[word], first, self._term()))


def _number(word: str) -> int | None:
    return int(word) if word.isdigit() else _WORDS.get(word)


def _compute(operation: str, x: int, y: int) -> int | bool:
    match operation:
        case "+":
            return x + y
        case "-":
            return x - y
        case "*":
            return x * y
        case ">" if x != y:
            return x > y
        case "/" if y and (quotient := Fraction(x, y)).denominator == 1:
            return quotient.numerator
        case "%" if y:
            return x - y * (x // y)
        case "first" | "second":
            return x if operation == "first" else y
        case "larger" | "smaller":
            return x if (x > y) == (operation == "larger") else y
        case _:
            raise _Unreadable
