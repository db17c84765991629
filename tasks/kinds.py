"""Counterfactual kinds of two-operand questions: which edits of a question are candidates, in random order."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import TypeVar

from arithloc.benchmark.api import Split
from arithloc.tasks.grid import Grid, Operands, Range, enumerate_grid, grid_buckets
from arithloc.tasks.operators import OPERATORS
from arithloc.tasks.splits import split_of_bucket

T = TypeVar("T")

BOTH = frozenset({"operand1", "operand2"})
CARRY_RANGES = frozenset({Range.D2, Range.D3})


class Kind(StrEnum):
    """How a counterfactual differs from the clean prompt."""

    OPERANDS = "operands"
    """Both operands redrawn, another answer."""
    SINGLE_OPERAND = "single_operand"
    """One operand redrawn, another answer."""
    CARRY_FLIP = "carry_flip"
    """Unit digit of one operand changed so that the unit carry or borrow flips."""
    CARRY_FLIP_ISO = "carry_flip_iso"
    """Unit digits of both changed: same unit digit of the result, other carry, so a' = a - 10 or a + 10."""
    OPERATOR_SWAP = "operator_swap"
    """Another operator on the same operands."""
    SELECTOR_SWAP = "selector_swap"
    """The other operand asked for (first or second, larger or smaller)."""
    OPERATOR_NULL = "operator_null"
    """The operator replaced by a word that is none; the answer is compared with a foil."""
    SAME_ANSWER = "same_answer"
    """Both operands redrawn, the same answer; compared with a foil."""
    SAME_ANSWER_OTHER_OP = "same_answer_other_op"
    """Other operands and another operator, the same answer (3 + 5 and 2 * 4); compared with a foil."""
    ORDER_SWAP = "order_swap"
    """Operands exchanged: the same answer, compared with a foil, or the other one of a yes/no question."""


@dataclass(frozen=True, slots=True)
class Edit:
    """Operands of a counterfactual, the classes at which the prompts may differ, and tags of the pair."""

    operands: Operands
    edited: frozenset[str]
    strata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Pool:
    """The operand pairs of one split.

    Attributes:
        grid: what makes a pair valid.
        members: all pairs of the split, ordered.
    """

    grid: Grid
    members: tuple[Operands, ...]

    @cached_property
    def present(self) -> frozenset[Operands]:
        """The members as a set."""
        return frozenset(self.members)

    @cached_property
    def by_x(self) -> dict[int, list[Operands]]:
        """Members by first operand."""
        return _group(self.members, [operands.x for operands in self.members])

    @cached_property
    def by_y(self) -> dict[int, list[Operands]]:
        """Members by second operand."""
        return _group(self.members, [operands.y for operands in self.members])

    @cached_property
    def by_result(self) -> dict[int, list[Operands]]:
        """Members by result."""
        apply = OPERATORS[self.grid.operator].apply
        return _group(self.members, [result for x, y in self.members if (result := apply(x, y)) is not None])

    @cached_property
    def results(self) -> tuple[int, ...]:
        """Distinct results of the split, ascending."""
        return tuple(sorted(self.by_result))

    def result(self, operands: Operands) -> int:
        """Result of a member."""
        value = OPERATORS[self.grid.operator].apply(*operands)
        if value is None:
            raise ValueError(f"{operands} is not in the grid")
        return value


@lru_cache(maxsize=64)
def pool(grid: Grid, split: Split, split_seed: int, reserved: frozenset[tuple[int, int]] = frozenset()) -> Pool:
    """The operand pairs of a split.

    Args:
        grid: all valid pairs.
        split: which part.
        split_seed: decides membership.
        reserved: canonical pairs kept out because they are used as exemplars.
    """
    wanted = {number for number in range(100) if split_of_bucket(number) is split}
    places = zip(enumerate_grid(grid), grid_buckets(grid, split_seed), strict=True)
    members = tuple(operands for operands, number in places if number in wanted)
    return Pool(grid, tuple(x for x in members if x.key not in reserved) if reserved else members)


def edits(kind: Kind, pool: Pool, clean: Operands, rng: random.Random, keep_digits: bool) -> Iterator[Edit]:
    """Candidate edits of the operands of a clean question, without repeats, within its split.

    Args:
        kind: any kind that leaves the operator as it is.
        pool: operand pairs of the split.
        clean: operands of the clean question.
        rng: source of the order.
        keep_digits: offer only operands with as many digits as the clean ones.
    """
    match kind:
        case Kind.OPERANDS:
            found = _operands(pool, clean, rng)
        case Kind.SINGLE_OPERAND:
            found = _single_operand(pool, clean, rng)
        case Kind.CARRY_FLIP:
            found = _carry_flip(pool, clean, rng)
        case Kind.CARRY_FLIP_ISO:
            found = _carry_flip_iso(pool, clean, rng)
        case Kind.SAME_ANSWER:
            found = _same_answer(pool, clean, rng)
        case Kind.ORDER_SWAP:
            swapped = Operands(clean.y, clean.x)
            usable = swapped != clean and pool.grid.result(swapped) is not None
            found = iter([Edit(swapped, BOTH)] if usable else [])
        case _:
            raise ValueError(f"The kind {kind} does not edit operands")
    for edit in found:
        if not keep_digits or widths(edit.operands) == widths(clean):
            yield edit


def _operands(pool: Pool, clean: Operands, rng: random.Random) -> Iterator[Edit]:
    answer = pool.result(clean)
    for other in in_random_order(pool.members, rng):
        if other.x != clean.x and other.y != clean.y and other.key != clean.key and pool.result(other) != answer:
            yield Edit(other, BOTH)


def _single_operand(pool: Pool, clean: Operands, rng: random.Random) -> Iterator[Edit]:
    answer = pool.result(clean)
    sides = [("1", pool.by_y[clean.y]), ("2", pool.by_x[clean.x])]
    if rng.random() < 0.5:
        sides.reverse()
    for side, others in sides:
        for other in in_random_order(others, rng):
            if other != clean and pool.result(other) != answer:
                yield Edit(other, frozenset({f"operand{side}"}), (("edited_operand", side),))


def _carry_flip(pool: Pool, clean: Operands, rng: random.Random) -> Iterator[Edit]:
    answer, flag = pool.result(clean), _unit_flag(pool.grid.operator, clean)
    options = []
    for digit in range(10):
        options.append(("1", Operands(clean.x // 10 * 10 + digit, clean.y)))
        options.append(("2", Operands(clean.x, clean.y // 10 * 10 + digit)))
    for side, other in in_random_order(options, rng):
        if other in pool.present and _unit_flag(pool.grid.operator, other) != flag and pool.result(other) != answer:
            yield Edit(other, frozenset({f"operand{side}"}), (("edited_operand", side),))


def _carry_flip_iso(pool: Pool, clean: Operands, rng: random.Random) -> Iterator[Edit]:
    answer, flag = pool.result(clean), _unit_flag(pool.grid.operator, clean)
    options = [
        Operands(clean.x // 10 * 10 + i, clean.y // 10 * 10 + j)
        for i in range(10)
        for j in range(10)
        if i != clean.x % 10 and j != clean.y % 10
    ]
    for other in in_random_order(options, rng):
        if other not in pool.present or _unit_flag(pool.grid.operator, other) == flag:
            continue
        if abs(pool.result(other) - answer) == 10:
            yield Edit(other, BOTH)


def _same_answer(pool: Pool, clean: Operands, rng: random.Random) -> Iterator[Edit]:
    for other in in_random_order(pool.by_result[pool.result(clean)], rng):
        if other.key != clean.key:
            yield Edit(other, BOTH)


def in_random_order(members: Sequence[T], rng: random.Random) -> Iterator[T]:
    """The members in random order, drawn lazily (Fisher-Yates), so that the first few of many are cheap."""
    moved: dict[int, int] = {}
    for index in range(len(members)):
        chosen = rng.randrange(index, len(members))
        yield members[moved.get(chosen, chosen)]
        moved[chosen] = moved.pop(index, index)


def _unit_flag(operator: str, operands: Operands) -> bool:
    """Whether the unit column carries (addition) or borrows (subtraction)."""
    x, y = operands.x % 10, operands.y % 10
    return x + y >= 10 if operator == "add" else x < y


def widths(operands: Operands) -> tuple[int, int]:
    """Digit counts of both operands."""
    return len(str(operands.x)), len(str(operands.y))


def _group(members: Sequence[Operands], keys: Sequence[int]) -> dict[int, list[Operands]]:
    groups: dict[int, list[Operands]] = {}
    for member, key in zip(members, keys, strict=True):
        groups.setdefault(key, []).append(member)
    return groups
