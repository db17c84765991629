"""When two results for one key count as the same, worked by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from arithloc.benchmark.storage.digest import ResultRows, largest_difference, result_digest, tolerance

ROWS = ResultRows(
    scores=[
        {"key": "a", "name": "cmd", "value": 0.25, "low": None, "reason": "", "ranking_rule": "absolute"},
        {"key": "a", "name": "area", "value": 200.0, "low": 100.0, "reason": "", "ranking_rule": "absolute"},
    ],
    curve=[{"key": "a", "curve": "kept", "ranking_rule": "absolute", "i": 0, "n_components": 3, "f": 0.5}],
    roc=[{"key": "a", "kind": "node", "i": 0, "fpr": 0.0, "tpr": 1.0, "n": 4}],
    replicates={"area": np.array([0.5, math.inf, math.nan])},
)


def with_score(**changes):
    return replace(ROWS, scores=[ROWS.scores[0], {**ROWS.scores[1], **changes}])


def test_the_key_and_the_order_of_rows_are_not_part_of_the_digest():
    other = replace(ROWS, scores=[{**row, "key": "b"} for row in reversed(ROWS.scores)])
    assert result_digest(other) == result_digest(ROWS)
    assert largest_difference(ROWS, other) == 0.0


def test_the_digest_rounds_to_ten_significant_digits():
    assert result_digest(with_score(value=200.0 * (1 + 1e-12))) == result_digest(ROWS)
    assert result_digest(with_score(value=200.0 * (1 + 1e-8))) != result_digest(ROWS)


def test_a_negative_zero_is_zero():
    assert result_digest(with_score(value=-0.0)) == result_digest(with_score(value=0.0))


@pytest.mark.parametrize(
    "changed",
    [
        with_score(value=199.0),
        with_score(low=None),
        with_score(reason="not-reached"),
        with_score(ranking_rule="signed"),
        replace(ROWS, scores=ROWS.scores[:1]),
        replace(ROWS, curve=[{**ROWS.curve[0], "f": 0.75}]),
        replace(ROWS, curve=[{**ROWS.curve[0], "n_components": 4}]),
        replace(ROWS, roc=[{**ROWS.roc[0], "tpr": 0.5}]),
        replace(ROWS, replicates={"area": np.array([0.75, math.inf, math.nan])}),
        replace(ROWS, replicates={"area": np.array([0.5, 0.0, math.nan])}),
        replace(ROWS, replicates={"area": np.array([0.5, math.inf])}),
        replace(ROWS, replicates={"cmd": ROWS.replicates["area"]}),
        replace(ROWS, replicates={}),
    ],
)
def test_every_part_of_a_result_counts(changed):
    assert result_digest(changed) != result_digest(ROWS)
    assert largest_difference(ROWS, changed) > 1e-9


def test_differences_are_relative_to_the_kept_value_but_at_least_to_one():
    assert largest_difference(ROWS, with_score(value=201.0)) == 1 / 200
    assert largest_difference(with_score(value=0.5), with_score(value=0.25)) == 0.25
    changed = replace(ROWS, replicates={"area": np.array([0.625, math.inf, math.nan])})
    assert largest_difference(ROWS, changed) == 0.125
    assert largest_difference(ROWS, replace(ROWS, curve=[{**ROWS.curve[0], "n_components": 4}])) == math.inf
    assert largest_difference(ROWS, with_score(low=None)) == math.inf


def test_the_largest_of_several_differences_is_found():
    rows = replace(with_score(value=201.0), curve=[{**ROWS.curve[0], "f": 0.25}])
    assert largest_difference(ROWS, rows) == 0.25


def test_tolerances():
    assert (tolerance("float64"), tolerance("float32"), tolerance("bfloat16"), tolerance("float16")) == (
        1e-9,
        1e-4,
        2e-2,
        2e-2,
    )
