"""Number retrieval: say how many of one thing there are, when the prompt counts two.

The eight frames are those of Stolfo, Belinkov, Sachan, arXiv:2305.15054 (code lm-arithmetic, MIT licence); the nouns
are ours. Numbers are at least 2, so that every noun is in the plural.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from arithloc.benchmark.api import Split
from arithloc.benchmark.api.errors import UnknownName
from arithloc.tasks.grid import BOUNDS, Range
from arithloc.tasks.nouns import NOUNS
from arithloc.tasks.questions import Frame, Labels, Question, render
from arithloc.tasks.splits import buckets, split_of_bucket

OPERATOR = "retrieve"
SMALLEST = 2
ASKED = frozenset({"asked_first", "asked_mid", "asked_last"})
NUMBERS = frozenset({"number1", "number2"})

LABELS = Labels(
    fields=(("x", "number1"), ("e1", "entity1"), ("y", "number2"), ("e2", "entity2"), ("e", "asked")),
    anchors=frozenset({"x", "e1", "y", "e2", "e"}),
    gaps=("early", "other", "other", "other", "other", "late"),
)

_BODIES = (
    "I have {x} {e1} and {y} {e2}. How many {e} do I have?",
    "Paul has {x} {e1} and {y} {e2}. How many {e} does Paul have?",
    "I can see {x} {e1} and {y} {e2}. How many {e} are there?",
    "I have {x} {e1} and {y} {e2}. How many {e} are there?",
    "Alice received {x} {e1} and {y} {e2}. How many {e} did she receive?",
    "Mark bought {x} {e1} and {y} {e2}. How many {e} did he buy?",
    "Jasmin sold {x} {e1} and {y} {e2}. How many {e} did she sell?",
    "Sarah owns {x} {e1} and {y} {e2}. How many {e} does she own?",
)
FRAMES = {f"R{i}": Frame(f"R{i}", body, "Q: ", " A:", style="qa") for i, body in enumerate(_BODIES)}

_COUNTED = re.compile(r"(\d+) ([a-z]+) and (\d+) ([a-z]+)\.")
_ASKED = re.compile(r"How many ([a-z]+) ")


class Context(NamedTuple):
    """What a question counts and asks: number and noun of both things, and which one (1 or 2) is asked."""

    x: int
    noun1: str
    y: int
    noun2: str
    slot: int

    @property
    def key(self) -> tuple[int, int]:
        """The canonical number pair: sorted."""
        return (self.x, self.y) if self.x <= self.y else (self.y, self.x)

    @property
    def answer(self) -> int:
        """Number of the asked thing."""
        return self.x if self.slot == 1 else self.y


def resolve(ids: tuple[str, ...]) -> tuple[Frame, ...]:
    """The frames of ids `R0` to `R7`, or `all`, each once.

    Raises:
        UnknownName: no frame of that id.
        ValueError: none named.
    """
    found: dict[str, Frame] = {}
    for name in ids:
        if name != "all" and name not in FRAMES:
            raise UnknownName.among("frame", name, [*FRAMES, "all"])
        found |= FRAMES if name == "all" else {name: FRAMES[name]}
    if not found:
        raise ValueError("Expected at least one frame, found none. Name one, for example frames=R0.")
    return tuple(found.values())


def question(frame: Frame, context: Context) -> Question:
    """A frame filled with a context."""
    x, noun1, y, noun2, slot = context
    values = {"x": str(x), "e1": noun1, "y": str(y), "e2": noun2, "e": noun1 if slot == 1 else noun2}
    other = y if slot == 1 else x
    strata = (
        ("asked_larger", "yes" if context.answer > other else "no"),
        ("asked_slot", str(slot)),
        ("digits", f"{len(str(x))},{len(str(y))},{len(str(context.answer))}"),
        ("entities", f"{class_of(noun1)},{class_of(noun2)}"),
    )
    pieces = render(frame.body, LABELS, values)
    return Question(frame, OPERATOR, pieces, str(context.answer), tuple(context), context.key, strata)


def class_of(noun: str) -> str:
    """The class of a noun."""
    return _CLASSES[noun]


_CLASSES = {noun: cls for cls, nouns in NOUNS.items() for noun in nouns}


def evaluate(text: str) -> int | None:
    """The number that a text asks for, read from the text alone, or None where it does not say.

    Example:
    >>> evaluate("Q: Paul has 3 cats and 12 cars. How many cars does Paul have? A:")
    12
    """
    counted, asked = _COUNTED.search(text), _ASKED.search(text)
    if counted is None or asked is None:
        return None
    x, noun1, y, noun2 = counted.groups()
    numbers = {noun1: int(x), noun2: int(y)}
    return numbers.get(asked[1]) if len(numbers) == 2 else None


def bounds(digits: Range) -> tuple[range, range]:
    """First and second number of a range, from 2 on."""
    limits = BOUNDS[digits]
    return range(max(SMALLEST, limits.x[0]), limits.x[1] + 1), range(max(SMALLEST, limits.y[0]), limits.y[1] + 1)


@lru_cache(maxsize=64)
def number_pairs(digits: Range, split: Split, split_seed: int) -> tuple[tuple[int, int], ...]:
    """Ordered pairs of different numbers that belong to a split.

    Membership is by the sorted pair, as in the arithmetic tasks: a number pair is in the same part of all of them.
    """
    first, second = bounds(digits)
    pairs = [(x, y) for x in first for y in second if x != y]
    places = buckets(split_seed, [(min(pair), max(pair)) for pair in pairs])
    return tuple([pair for pair, place in zip(pairs, places, strict=True) if split_of_bucket(place) is split])
