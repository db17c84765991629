"""Tags that say what an arithmetic question demands: carries, borrows, sizes, shortcuts."""

from itertools import zip_longest

from arithloc.tasks.grid import Operands
from arithloc.tasks.operators import OPERATORS

MEMORISED_UP_TO = 9


def carries(x: int, y: int) -> tuple[int, ...]:
    """Carry out of each column of `x + y`, units first.

    c_0 = 0; c_(j+1) = 1 if x_j + y_j + c_j >= 10.

    Example:
    >>> carries(27, 58), carries(199, 1)
    ((1, 0), (1, 1, 0))
    """
    out, carry = [], 0
    for a, b in _columns(x, y):
        carry = int(a + b + carry >= 10)
        out.append(carry)
    return tuple(out)


def borrows(x: int, y: int) -> tuple[int, ...]:
    """Borrow out of each column of `x - y`, units first.

    b_0 = 0; b_(j+1) = 1 if x_j - y_j - b_j < 0.

    Example:
    >>> borrows(52, 27), borrows(100, 1)
    ((1, 0), (1, 1, 0))
    """
    out, borrow = [], 0
    for a, b in _columns(x, y):
        borrow = int(a - b - borrow < 0)
        out.append(borrow)
    return tuple(out)


def cascade(flags: tuple[int, ...]) -> int:
    """Length of the longest run of carries or borrows."""
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def arithmetic_strata(operator: str, operands: Operands, result: int) -> dict[str, str]:
    """Tags of one two-operand question.

    `digits` (of operand 1, operand 2 and the result), `magnitude` (decade of the result), `copy_shortcut`,
    `answer_is_operand`, `memorised` (both operands at most 9), and for addition `carries`, `carry_count`, `cascade`,
    for subtraction `borrows`, `borrow_count`, `cascade`, for modulo `mod_noop` (the first operand is the remainder),
    for a choice between the operands `larger_slot`.
    """
    x, y = operands
    tags = {
        "digits": f"{len(str(x))},{len(str(y))},{len(str(abs(result)))}",
        "magnitude": str(10 ** (len(str(abs(result))) - 1)),
        "copy_shortcut": flag(OPERATORS[operator].shortcut(x, y)),
        "answer_is_operand": flag(result in (x, y)),
        "memorised": flag(max(x, y) <= MEMORISED_UP_TO),
    }
    if operator == "add":
        _add_columns(tags, "carries", "carry_count", carries(x, y))
    if operator == "sub":
        _add_columns(tags, "borrows", "borrow_count", borrows(max(x, y), min(x, y)))
    if operator == "mod":
        tags["mod_noop"] = flag(x < y)
    if operator in ("first", "second", "larger", "smaller", "greater"):
        tags["larger_slot"] = "1" if x > y else "2"
    return tags


def _add_columns(tags: dict[str, str], name: str, count: str, flags: tuple[int, ...]) -> None:
    tags[name] = ",".join(map(str, flags))
    tags[count] = str(sum(flags))
    tags["cascade"] = str(cascade(flags))


def _columns(x: int, y: int) -> list[tuple[int, int]]:
    return list(zip_longest(map(int, reversed(str(x))), map(int, reversed(str(y))), fillvalue=0))


def flag(value: bool) -> str:
    """How a tag says whether something holds."""
    return "yes" if value else "no"
