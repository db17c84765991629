"""The symbolic program against Python's integers."""

from collections import Counter

import numpy as np
import pytest

from arithloc.tasks.toy.arithmetic import (
    Questions,
    answers,
    carries,
    enumerate_questions,
    random_questions,
    strata,
    token_ids,
)
from arithloc.tasks.toy.formats import VOCAB, Format
from arithloc.tasks.toy.kinds import Question
from arithloc.tasks.toy.questions import as_batch


def numbers(digits):
    return (digits * 10 ** np.arange(digits.shape[1])).sum(axis=1)


def assert_right(q):
    x, y, found = numbers(q.x), numbers(q.y), answers(q)
    expected = np.where(q.minus, x - y, x + y)
    assert np.array_equal(found.negative, expected < 0)
    assert np.array_equal(numbers(found.digits), np.abs(expected))


def test_answers_are_those_of_integers_for_all_two_digit_questions():
    q = enumerate_questions(2, "+-")
    assert len(q) == 20_000
    assert_right(q)


def test_answers_are_those_of_integers_for_random_six_digit_questions():
    assert_right(random_questions(6, "+-", 100_000, np.random.default_rng(0), transparent=0.3))


def lookahead(values, column, transparent, generates):
    """Carry by definition: the highest lower column that is not transparent decides."""
    for j in range(column - 1, -1, -1):
        if not transparent(values[j]):
            return generates(values[j])
    return False


def tri_add(high, low):
    return low if high == "U" else high


def test_ripple_lookahead_and_triadd_agree():
    q = random_questions(5, "+-", 3_000, np.random.default_rng(1), transparent=0.5)
    found = carries(q)
    for row in range(len(q)):
        s, d = q.x[row] + q.y[row], q.x[row] - q.y[row]
        for column in range(6):
            if q.minus[row]:
                up = lookahead(d, column, lambda v: v == 0, lambda v: v < 0)
                swapped = lookahead(d, column, lambda v: v == 0, lambda v: v > 0)
            else:
                up, swapped = lookahead(s, column, lambda v: v == 9, lambda v: v >= 10), False
                state = 0
                for j in range(column):
                    # in the lowest column a sum of 9 cannot pass anything on
                    own = 1 if s[j] >= 10 else "U" if s[j] == 9 and j else 0
                    state = tri_add(own, state)
                assert bool(state) == found.up[row, column]
            assert (up, swapped) == (found.up[row, column], found.swapped[row, column])


def stratum(x, operator, y, n):
    return strata(as_batch([Question(x, y, operator)], n))[0]


@pytest.mark.parametrize(
    ("x", "operator", "y", "n", "name"),
    [
        (6665, "+", 3335, 5, "S4"),  # sums 10, 9, 9, 9, 0: a carry and three columns that pass it on
        (12, "+", 34, 2, "S0"),
        (27, "+", 58, 2, "S1"),
        (99999, "+", 1, 5, "S5"),
        (111, "-", 222, 3, "N1"),
        (100, "-", 1, 3, "M2"),
        (55, "-", 55, 2, "M0"),
    ],
)
def test_strata_by_hand(x, operator, y, n, name):
    assert stratum(x, operator, y, n).name == name


def test_swapped_depth_is_that_of_the_subtraction_that_runs():
    # 001 - 100: the columns of X - Y from the units are 1, 0, -1, a chain of one; Y - X runs 99, borrowing through the 0
    found = stratum(1, "-", 100, 3)
    assert (found.name, found.swapped) == ("N1", 2)


def test_strata_counts_of_all_two_digit_questions():
    counts = Counter(s.name for s in strata(enumerate_questions(2, "+-")))
    # Addition: of 100 digit pairs 45 have s >= 10, 10 have s = 9, 45 less. S2: units carry, tens 9: 45 * 10.
    # S1: any column generates, without the chain: (1 - 0.55^2) * 10,000 - 450 = 6,975 - 450. S0: 55 * 55.
    # Subtraction X >= Y: tens d > 0 (45 pairs) or d = 0 and units d >= 0 (10 * 55): no borrow 45 * 55 + 10 * 55.
    assert counts == {
        "S0": 3_025,
        "S1": 6_525,
        "S2": 450,
        "M0": 3_025,
        "M1": 2_025,
        # X < Y: tens d < 0 (45 * 100), or tens equal and units d < 0 (10 * 45); then the equal tens are transparent
        # above the borrow, unless both tens are 0 (1 of 10)
        "N1": 4_500 + 45,
        "N2": 405,
    }


def test_tokens_of_a_question_by_hand():
    q = as_batch([Question(12, 34, "-")], 2)
    text = "".join(VOCAB[i] for i in token_ids(q, Format(2, "+-", bos=True))[0])
    assert text == "<bos>12-34=-022"


def test_questions_can_be_sliced():
    q = enumerate_questions(2, "+")[10:12]
    assert isinstance(q, Questions) and len(q) == 2
