"""Boards from stored cells: required cells, seeds, failed cells, reference rows, revisions."""

import math
from dataclasses import replace

import numpy as np
import pytest
from support import demo
from support.results import ENVIRONMENT, SPEC, attempt, result

from arithloc.benchmark.storage.boards import read_boards, update_boards
from arithloc.benchmark.storage.keys import entry_id
from arithloc.benchmark.storage.records import Direction, RankingRule, ScoreRecord, Status
from arithloc.benchmark.storage.repository import Repository
from arithloc.benchmark.storage.suites import SuiteRecord

SUITE = SuiteRecord("quick", "1", "The quick suite")


@pytest.fixture
def repository(tmp_path):
    with Repository.open(tmp_path / "results.db") as opened:
        yield opened


def spec(name, **changes):
    return replace(SPEC, method=replace(SPEC.method, name=name, sanity=name == "oracle"), **changes)


def measured(value, draws, name="faithfulness_area", reason="", direction=Direction.HIGHER):
    score = ScoreRecord(name, value, ranking_rule=RankingRule.ABSOLUTE, direction=direction, reason=reason)
    return replace(result(), scores=(score,), replicates={name: np.array(draws)})


def test_a_board_asks_for_the_questions_of_its_suite_only(repository):
    first, second = spec("good"), spec("good", evaluation_hash="f" * 64)
    suite = repository.put_suite(SUITE, [first, second])
    for cell, value in ((first, 0.5), (second, 0.75), (spec("good", evaluation_hash="0" * 64), 0.0)):
        repository.store(cell, attempt(), measured(value, [value, value + 0.25]), ENVIRONMENT)
    repository.store(spec("half"), attempt(), measured(0.875, [0.875, 0.875]), ENVIRONMENT)
    failed = spec("half", evaluation_hash="f" * 64)
    repository.store(failed, attempt(Status.FAILED), None, ENVIRONMENT)
    repository.store(spec("elsewhere", n_draws=99), attempt(), measured(0.9, [0.9, 0.9]), ENVIRONMENT)
    assert update_boards(repository) == 1
    (board,) = read_boards(repository, suite)
    assert (board.granularity, board.ablation, board.score) == ("node", "counterfactual", "faithfulness_area")
    good, half = board.rows
    assert (good.entry_id, good.done, good.required, good.rank_low, good.rank_high) == (
        entry_id(first.method), 2, 2, 1, 1,
    )  # fmt: skip
    assert good.value == pytest.approx(0.625)
    assert (half.complete, half.done, half.rank_low, half.value) == (False, 1, None, 0.875)
    repository.store(failed, attempt(), measured(0.875, [0.875, 0.875]), ENVIRONMENT)
    update_boards(repository)
    (board,) = read_boards(repository, suite)
    assert [row.entry_id for row in board.rows] == [half.entry_id, good.entry_id]
    assert board.rows[0].complete


def test_seeds_are_averaged_inside_a_question(repository):
    """Question one has seeds 0.2 and 0.4, question two one seed 0.9: (0.3 + 0.9) / 2 = 0.6."""
    cells = [(spec("m"), 0.2), (spec("m", seed=1), 0.4), (spec("m", evaluation_hash="f" * 64), 0.9)]
    suite = repository.put_suite(SUITE, [cell for cell, _ in cells])
    for cell, value in cells:
        repository.store(cell, attempt(), measured(value, [value, value]), ENVIRONMENT)
    update_boards(repository)
    (board,) = read_boards(repository, suite)
    assert board.rows[0].value == pytest.approx(0.6)
    assert (board.rows[0].done, board.rows[0].required) == (3, 3)


def test_a_size_that_is_not_reached_counts_as_the_whole_model(repository):
    specs = [spec("m"), spec("m", evaluation_hash="f" * 64), spec("m", evaluation_hash="0" * 64)]
    suite = repository.put_suite(SUITE, specs[:2])
    low = math.log(0.01)
    reached = measured(0.01, [low, low], "sparsity", direction=Direction.LOWER)
    repository.store(specs[0], attempt(), reached, ENVIRONMENT)
    never = measured(None, [0.0, 0.0], "sparsity", "not-reached", Direction.LOWER)
    repository.store(specs[1], attempt(), never, ENVIRONMENT)
    update_boards(repository)
    (board,) = read_boards(repository, suite)
    assert board.rows[0].value == pytest.approx(0.1)
    assert board.rows[0].complete
    other = repository.put_suite(SUITE, specs)
    undefined = measured(None, [0.0, 0.0], "sparsity", "denominator", Direction.LOWER)
    repository.store(specs[2], attempt(), undefined, ENVIRONMENT)
    update_boards(repository)
    (board,) = read_boards(repository, other)
    assert (board.rows[0].complete, board.rows[0].done) == (False, 2)


def test_the_demonstration_has_the_boards_it_promises(tmp_path):
    suite, zero = demo.build(tmp_path / "results.db")
    with Repository.open(tmp_path / "results.db") as repository:
        before = repository.revision()
        assert update_boards(repository) == 6
        assert repository.revision() == before + 1
        boards = {board.score: board for board in read_boards(repository, suite)}
        assert {board.ablation for board in read_boards(repository, zero)} == {"zero"}
        titles = {cell.entry_id: cell.title for cell in repository.cells()}
    board = boards["faithfulness_area"]
    assert board.results_revision == before + 1
    rows = {titles[row.entry_id]: row for row in board.rows}
    assert (rows["path-patching[receivers=logits]"].rank_low, rows["path-patching[receivers=logits]"].rank_high) == (
        1,
        1,
    )
    assert rows["constant"].value == 0.0
    assert rows["twin"].value == rows["other-twin"].value
    assert rows["twin"].entry_id in rows["other-twin"].tied_with
    assert rows["mediation[effect=direct]"].entry_id in rows["mediation[effect=indirect]"].tied_with
    assert {name for name, row in rows.items() if not row.complete} == {"slow", "fragile"}
    assert {titles[name] for name in board.reference} == {"oracle", "random"}
    assert all(row.rank_low is None for name, row in rows.items() if name in ("oracle", "random", "slow", "fragile"))
    assert boards["sparsity"].direction is Direction.LOWER
    assert titles[boards["sparsity"].rows[0].entry_id] == "path-patching[receivers=logits]"


def test_boards_of_no_suites_are_none(repository):
    repository.store(SPEC, attempt(), result(), ENVIRONMENT)
    assert update_boards(repository) == 0
