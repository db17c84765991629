"""Rows of a board, worked by hand."""

import math

import numpy as np
import pytest

from arithloc.benchmark.storage.ranks import Answer, board_rows
from arithloc.benchmark.storage.records import Direction

A = Answer(1.0, 0.80, np.array([0.80, 0.82, 0.78, 0.81, 0.79]))
B = Answer(1.0, 0.79, np.array([0.79, 0.80, 0.79, 0.79, 0.78]))
C = Answer(1.0, 0.50, np.array([0.50, 0.55, 0.48, 0.52, 0.45]))
NONE = frozenset()


def ranks(rows):
    return {row.entry_id: (row.rank_low, row.rank_high, row.tied_with) for row in rows}


def test_rank_intervals_and_ties():
    """The example of the ranking metric (c = 1.62): A and B are not separated, C is below both."""
    rows = board_rows({"c": [C], "b": [B], "a": [A]}, 1, NONE, Direction.HIGHER, logarithmic=False)
    assert [row.entry_id for row in rows] == ["a", "b", "c"]
    assert ranks(rows) == {"a": (1, 2, ("b",)), "b": (1, 2, ("a",)), "c": (3, 3, ())}


def test_the_direction_turns_the_order():
    rows = board_rows({"a": [A], "b": [B], "c": [C]}, 1, NONE, Direction.LOWER, logarithmic=False)
    assert [row.entry_id for row in rows] == ["c", "b", "a"]
    assert ranks(rows)["c"][:2] == (1, 1)


def test_the_value_is_the_weighted_mean_and_its_interval_that_of_the_mean_replicates():
    """Weights 1 and 3: (0.8 + 3 * 0.5) / 4 = 0.575; replicates (0.8 + 3 * 0.5, 0.9 + 3 * 0.3) / 4 = 0.575, 0.45."""
    answers = [Answer(1.0, 0.8, np.array([0.8, 0.9])), Answer(3.0, 0.5, np.array([0.5, 0.3]))]
    (row,) = board_rows({"x": answers}, 2, NONE, Direction.HIGHER, logarithmic=False)
    assert row.value == pytest.approx(0.575, abs=1e-12)
    assert row.low == pytest.approx(0.45 + 0.025 * 0.125, abs=1e-12)
    assert row.high == pytest.approx(0.45 + 0.975 * 0.125, abs=1e-12)


def test_incomplete_and_reference_rows_have_no_rank_and_come_last():
    answers = {"half": [A], "whole": [C, C], "oracle": [A, A], "nothing": [], "whole2": [B, B]}
    rows = board_rows(answers, 2, frozenset({"oracle"}), Direction.HIGHER, logarithmic=False)
    assert [(row.entry_id, row.complete, row.done) for row in rows] == [
        ("whole2", True, 2),
        ("whole", True, 2),
        ("half", False, 1),
        ("nothing", False, 0),
        ("oracle", True, 2),
    ]
    assert ranks(rows) == {
        "whole2": (1, 1, ()),
        "whole": (2, 2, ()),
        "half": (None, None, ()),
        "nothing": (None, None, ()),
        "oracle": (None, None, ()),
    }
    assert {row.entry_id: row.value for row in rows}["nothing"] is None
    assert {row.entry_id: row.value for row in rows}["half"] == A.value


def test_logarithms_are_averaged_and_given_back_as_numbers():
    """Sizes 0.01 and 1 (not reached): the geometric mean is 0.1."""
    sizes = [Answer(1.0, math.log(0.01), np.log([0.01, 0.01])), Answer(1.0, 0.0, np.log([1.0, 1.0]))]
    (row,) = board_rows({"x": sizes}, 2, NONE, Direction.LOWER, logarithmic=True)
    assert (row.value, row.low, row.high) == pytest.approx((0.1, 0.1, 0.1))


def test_equal_entries_share_their_ranks_in_the_order_of_their_names():
    rows = board_rows({"b": [A], "a": [A]}, 1, NONE, Direction.HIGHER, logarithmic=False)
    assert [(row.entry_id, row.rank_low, row.rank_high) for row in rows] == [("a", 1, 2), ("b", 1, 2)]


def test_a_board_without_complete_entries_ranks_nobody():
    rows = board_rows({"a": [A], "b": []}, 2, NONE, Direction.HIGHER, logarithmic=False)
    assert ranks(rows) == {"a": (None, None, ()), "b": (None, None, ())}
