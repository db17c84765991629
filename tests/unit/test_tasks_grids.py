"""Splits, operand grids and strata against published counts and hand-worked numbers."""

import hashlib

import pytest

from arithloc.benchmark.api import Split
from arithloc.tasks.grid import Grid, Operands, Range, enumerate_grid
from arithloc.tasks.operators import OPERATORS
from arithloc.tasks.splits import bucket, cluster_name, split_of
from arithloc.tasks.strata import arithmetic_strata, borrows, carries, cascade


@pytest.mark.parametrize(
    ("key", "number", "split"),
    [
        ((1, 1), 3, Split.DISCOVERY),
        ((3, 5), 14, Split.DISCOVERY),
        ((27, 58), 29, Split.DISCOVERY),
        ((12, 34), 57, Split.VALIDATION),
        ((99, 99), 89, Split.TEST),
        ((8, 9), 92, Split.TEST),
    ],
)
def test_bucket_vectors(key, number, split):
    assert bucket(0, key) == number
    assert split_of(0, key) is split


def test_bucket_is_the_published_hash():
    digest = hashlib.sha256(b"arithloc/split/1/7/12/345").digest()
    assert bucket(7, (12, 345)) == int.from_bytes(digest[:8], "big") % 100


def split_counts(top):
    keys = [(a, b) for a in range(1, top + 1) for b in range(a, top + 1)]
    found = [split_of(0, key) for key in keys]
    return [found.count(split) for split in (Split.DISCOVERY, Split.VALIDATION, Split.TEST)]


def test_split_sizes():
    assert split_counts(9) == [22, 7, 16]
    assert split_counts(300) == [22_688, 8_917, 13_545]


def test_both_orders_are_one_cluster():
    assert Operands(5, 3).key == Operands(3, 5).key == (3, 5)
    assert cluster_name((3, 5)) == "3,5"


def test_two_digit_addition_carries():
    """8,100 ordered pairs: 1,980 without, 3,735 with one, 2,385 with two carries; unit carry in 3,645."""
    grid = enumerate_grid(Grid("add", Range.D2))
    flags = [carries(*operands) for operands in grid]
    assert len(grid) == len(set(grid)) == 8_100
    assert [sum(sum(f) == n for f in flags) for n in (0, 1, 2)] == [1_980, 3_735, 2_385]
    assert sum(f[0] for f in flags) == 3_645


def test_two_digit_subtraction_borrows():
    """x > y: 4,005 pairs, 2,385 without and 1,620 with a borrow."""
    grid = enumerate_grid(Grid("sub", Range.D2))
    counts = [sum(borrows(*operands)) for operands in grid]
    assert len(grid) == 4_005
    assert (counts.count(0), counts.count(1)) == (2_385, 1_620)
    assert len(enumerate_grid(Grid("sub", Range.D2, shortcuts=True))) == 4_005 + 90  # and the 90 of x - x


def test_grids_of_the_papers():
    assert len(enumerate_grid(Grid("add", Range.N300_EXCLUSIVE, shortcuts=True))) == 44_551
    assert len(enumerate_grid(Grid("sub", Range.N300_EXCLUSIVE, shortcuts=True))) == 44_850
    assert len(enumerate_grid(Grid("add", Range.N300))) == 300 * 299 // 2
    assert len(enumerate_grid(Grid("add", Range.SINGLE_DIGIT, shortcuts=True))) == 36
    assert len(enumerate_grid(Grid("sub", Range.SINGLE_DIGIT, shortcuts=True))) == 45
    assert len(enumerate_grid(Grid("mul", Range.SINGLE_DIGIT, shortcuts=True))) == 23
    assert len(enumerate_grid(Grid("div", Range.SINGLE_DIGIT, shortcuts=True))) == 23
    assert len(enumerate_grid(Grid("mul", Range.N300_EXCLUSIVE, shortcuts=True))) == 1_749
    assert len(enumerate_grid(Grid("div", Range.N300_EXCLUSIVE, shortcuts=True))) == 1_766


def test_division_and_modulo_grids():
    """8 divisors with quotients 2..99 (1 is x / x); 90 x 8 remainders."""
    assert len(enumerate_grid(Grid("div", Range.D1_BY))) == 8 * 98
    assert len(enumerate_grid(Grid("div", Range.D1_BY, shortcuts=True))) == 8 * 99
    assert len(enumerate_grid(Grid("mod", Range.D2D1))) == 90 * 8


@pytest.mark.parametrize(
    ("one", "other", "shared", "different"),
    [
        ("add", "sub", 22_201, 22_201),
        ("add", "mul", 1_747, 1_746),
        ("add", "div", 1_450, 1_450),
        ("sub", "mul", 866, 866),
        ("sub", "div", 1_466, 1_465),
        ("mul", "div", 467, 168),
    ],
)
def test_operator_swap_grids(one, other, shared, different):
    """Operands 1..300, results 1..299: valid for both operators, and with different results."""
    first, second = (Grid(o, Range.N300_EXCLUSIVE, shortcuts=True) for o in (one, other))
    both = [o for o in enumerate_grid(first) if second.result(o) is not None]
    assert (len(both), sum(first.result(o) != second.result(o) for o in both)) == (shared, different)


def test_negative_differences_double_the_grid():
    assert len(enumerate_grid(Grid("sub", Range.D1))) == 36
    assert len(enumerate_grid(Grid("sub", Range.D1, negative=True))) == 72


def test_hand_worked_carries_and_borrows():
    assert carries(27, 58) == (1, 0)
    assert carries(199, 1) == (1, 1, 0)
    assert carries(12, 34) == (0, 0)
    assert borrows(52, 27) == (1, 0)
    assert borrows(100, 1) == (1, 1, 0)
    assert borrows(85, 43) == (0, 0)
    assert [cascade(flags) for flags in [(0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)]] == [0, 1, 2, 3]


def test_carries_are_what_long_addition_needs():
    for x in range(1, 200, 7):
        for y in range(1, 200, 3):
            columns = max(len(str(x)), len(str(y)))
            carried = [(x % 10**k + y % 10**k) // 10**k for k in range(1, columns + 1)]
            assert list(carries(x, y)) == carried
            if x >= y:
                borrowed = [int(x % 10**k < y % 10**k) for k in range(1, columns + 1)]
                assert list(borrows(x, y)) == borrowed


def test_strata_of_one_question():
    assert arithmetic_strata("add", Operands(27, 58), 85) == {
        "digits": "2,2,2",
        "magnitude": "10",
        "copy_shortcut": "no",
        "answer_is_operand": "no",
        "memorised": "no",
        "carries": "1,0",
        "carry_count": "1",
        "cascade": "1",
    }
    tags = arithmetic_strata("sub", Operands(8, 4), 4)
    assert (tags["answer_is_operand"], tags["memorised"], tags["borrows"]) == ("yes", "yes", "0")


@pytest.mark.parametrize(
    ("operator", "operands", "expected"),
    [
        ("add", (3, 0), True),
        ("add", (3, 4), False),
        ("sub", (5, 5), True),
        ("sub", (5, 0), True),
        ("sub", (5, 3), False),
        ("mul", (1, 7), True),
        ("mul", (3, 7), False),
        ("div", (8, 1), True),
        ("div", (8, 8), True),
        ("div", (8, 4), False),
        ("mod", (3, 5), True),
        ("mod", (7, 5), False),
    ],
)
def test_copy_shortcuts(operator, operands, expected):
    assert OPERATORS[operator].shortcut(*operands) is expected
