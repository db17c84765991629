"""The 29 expressions of three operands, and how they are asked.

Wording: Stolfo, Belinkov, Sachan, arXiv:2305.15054 (code lm-arithmetic, MIT licence), without the space at the end, with
one typo and one lower-case start corrected. The frames that end in `o` have the released strings.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from arithloc.benchmark.api.errors import UnknownName
from arithloc.tasks.operators import OPERATORS, Operator
from arithloc.tasks.questions import Frame, Labels

LABELS = Labels(
    fields=(("x", "operand1"), ("y", "operand2"), ("z", "operand3")),
    anchors=frozenset("xyz"),
    gaps=("early", "between1", "between2", "late"),
)
SYMBOLS = {OPERATORS[name].words["S"]: OPERATORS[name] for name in ("add", "sub", "mul", "div")}


@dataclass(frozen=True)
class Expression:
    """Two operations on three operands.

    Attributes:
        text: such as `(x+y)*z`; operations of one rank are worked out from the left.
    """

    text: str

    @cached_property
    def _symbols(self) -> tuple[str, str]:
        first, second = re.findall(r"[-+*/]", self.text)
        return first, second

    @cached_property
    def left_first(self) -> bool:
        """Whether the operation on x and y is worked out before the other one."""
        if "(" in self.text:
            return self.text.startswith("(")
        first, second = self._symbols
        return not (first in "+-" and second in "*/")

    @property
    def inner(self) -> Operator:
        """The operation that is worked out first."""
        return SYMBOLS[self._symbols[0 if self.left_first else 1]]

    @property
    def outer(self) -> Operator:
        """The other one."""
        return SYMBOLS[self._symbols[1 if self.left_first else 0]]

    def value(self, x: int, y: int, z: int, shortcuts: bool) -> int | None:
        """Result, or None where an operation has no exact value, the inner one is negative, or one needs no computing.

        Args:
            x: first operand.
            y: second operand.
            z: third operand.
            shortcuts: admit operations that need no computing.
        """
        inside, other = ((x, y), z) if self.left_first else ((y, z), x)
        value = self.inner.apply(*inside)
        if value is None or value < 0:
            return None
        outside = (value, other) if self.left_first else (other, value)
        if not shortcuts and (self.inner.shortcut(*inside) or self.outer.shortcut(*outside)):
            return None
        return self.outer.apply(*outside)


_WORDINGS = (
    ("(x+y)*z", "Sum {x} and {y} and multiply by {z}"),
    ("x+y*z", "What is the sum of {x} and the product of {y} and {z}?"),
    ("(x-y)*z", "What is the product of {x} minus {y} and {z}?"),
    ("x/(y/z)", "How much is {x} divided by the ratio between {y} and {z}?"),
    ("x-y*z", "What is the difference between {x} and the product of {y} and {z}?"),
    ("x*(y-z)", "How much is {x} times the difference between {y} and {z}?"),
    ("(x+y)/z", "What is the ratio between {x} plus {y} and {z}?"),
    ("x-(y-z)", "How much is {x} minus the difference between {y} and {z}?"),
    ("(x-y)/z", "What is the ratio between {x} minus {y} and {z}?"),
    ("x-y/z", "What is the difference between {x} and the ratio between {y} and {z}?"),
    ("x/(y+z)", "How much is {x} divided by the sum of {y} and {z}?"),
    ("x/(y-z)", "How much is {x} divided by the difference between {y} and {z}?"),
    ("x+y/z", "What is the sum of {x} and the ratio between {y} and {z}?"),
    ("x*(y/z)", "How much is {x} times the ratio between {y} and {z}?"),
    ("x*y+z", "How much is the sum of {x} times {y} and {z}?"),
    ("x*(y+z)", "How much is {x} times the sum of {y} and {z}?"),
    ("x/y+z", "How much is the sum of {x} divided by {y} and {z}?"),
    ("x/y/z", "How much is {x} divided by {y} divided by {z}?"),
    ("x/y-z", "How much is the difference between {x} divided by {y} and {z}?"),
    ("x/y*z", "How much is {x} divided by {y} times {z}?"),
    ("x-(y+z)", "How much is {x} minus the sum of {y} and {z}?"),
    ("x*y-z", "How much is the difference between {x} times {y} and {z}?"),
    ("x/(y*z)", "How much is {x} divided by the product of {y} and {z}?"),
    ("x-y+z", "How much is {x} minus {y} plus {z}?"),
    ("x+y+z", "How much is {x} plus {y} plus {z}?"),
    ("x-y-z", "How much is {x} minus {y} minus {z}?"),
    ("x*y/z", "How much is {x} times {y} divided by {z}?"),
    ("x+y-z", "How much is {x} plus {y} minus {z}?"),
    ("x*y*z", "How much is {x} times {y} times {z}?"),
)
EXPRESSIONS = tuple(Expression(text) for text, _ in _WORDINGS)

_RELEASED = {
    "x/(y+z)": "How much is {x} divided bu the sum of {y} and {z}? ",
    "x+y/z": "what is the sum of {x} and the ratio between {y} and {z}? ",
    "x*y*z": "How much is {x} times {y} times {z}?",
}
"""The released strings that differ in more than the space at the end."""


def _frames() -> dict[str, tuple[Frame, Expression]]:
    found = {}
    for index, (expression, (text, wording)) in enumerate(zip(EXPRESSIONS, _WORDINGS, strict=True)):
        released = _RELEASED.get(text, f"{wording} ")
        found[f"T{index}"] = Frame(f"T{index}", wording, "Q: ", " A:", style="qa"), expression
        found[f"T{index}o"] = Frame(f"T{index}o", released, style="qa"), expression
    return found


FRAMES = _frames()
"""Frame and expression by id: `T0` to `T28` in the order of the paper's code, `T0o` to `T28o` as released."""

ALIASES = {
    "all": tuple(f"T{index}" for index in range(len(EXPRESSIONS))),
    "original": tuple(f"T{index}o" for index in range(len(EXPRESSIONS))),
}


def resolve(names: Sequence[str]) -> tuple[tuple[Frame, Expression], ...]:
    """Frames and expressions that names stand for, each once, in order.

    Args:
        names: frame ids, expressions as `(x+y)*z`, or `all` or `original`.

    Raises:
        UnknownName: none of these.
        ValueError: no name at all.
    """
    texts = {text: f"T{index}" for index, (text, _) in enumerate(_WORDINGS)}
    found: dict[str, tuple[Frame, Expression]] = {}
    for name in names:
        for frame_id in ALIASES.get(name, (texts.get(name, name),)):
            if frame_id not in FRAMES:
                raise UnknownName.among("expression", name, [*ALIASES, *FRAMES, *texts])
            found.setdefault(frame_id, FRAMES[frame_id])
    if not found:
        raise ValueError("Expected at least one expression, found none. Use expressions=all.")
    return tuple(found.values())
