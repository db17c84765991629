"""Boards on the demonstration database: stored and computed rows, filters, ties, directions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from support import demo
from support.results import ENVIRONMENT, SPEC, attempt, result

from arithloc.benchmark.storage.boards import update_boards
from arithloc.benchmark.storage.records import Direction, RankingRule, ScoreRecord
from arithloc.benchmark.storage.repository import Repository
from arithloc.benchmark.storage.suites import SuiteRecord
from arithloc.leaderboard import boards, tables
from arithloc.leaderboard.filters import Filters


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boards")
    demo.build(folder / "without.db")
    demo.build(folder / "with.db")
    with Repository.open(folder / "with.db") as repository:
        update_boards(repository)
    return folder


@pytest.fixture(scope="module")
def results(folder):
    with Repository.open(folder / "with.db", read_only=True) as repository:
        yield repository


@pytest.fixture(scope="module")
def question(results):
    (suite,) = [suite for suite in boards.suites(results) if suite.label == "demo 1"]
    return boards.Question(suite.suite_id, "node", "counterfactual")


def test_suites_with_most_entries_come_first(results):
    found = boards.suites(results)
    assert [suite.label for suite in found] == ["demo 1", "demo-zero 1"]
    assert found[0].questions == (("node", "counterfactual"),)
    assert found[1].questions == (("node", "zero"),)


def test_suites_of_one_name_are_told_apart_by_their_date(tmp_path):
    with Repository.open(tmp_path / "r.db") as repository:
        for seed in (0, 1):
            spec = replace(SPEC, seed=seed)
            repository.store(spec, attempt(), result(), ENVIRONMENT)
            repository.put_suite(SuiteRecord("mine", "1", "Mine"), [spec])
        labels = [suite.label for suite in boards.suites(repository)]
    assert len(labels) == 2
    assert all(label.startswith("mine 1, 20") for label in labels)


@pytest.mark.parametrize("score", ["faithfulness_area", "sparsity", "cmd"])
def test_stored_and_computed_boards_are_the_same(folder, results, question, score):
    stored = boards.ranking(results, question, score, Filters())
    with Repository.open(folder / "without.db", read_only=True) as without:
        computed = boards.ranking(without, question, score, Filters())
    assert stored.stored and not computed.stored
    assert stored.higher == computed.higher == (score == "faithfulness_area")
    for part in ("ranked", "incomplete", "sanity"):
        pd.testing.assert_frame_equal(getattr(stored, part), getattr(computed, part))


def test_a_board_behind_the_results_is_computed(tmp_path):
    demo.build(tmp_path / "r.db", demo.SKILLS[2:4])
    with Repository.open(tmp_path / "r.db") as repository:
        update_boards(repository)
        suite = next(s for s in boards.suites(repository) if s.label == "demo 1")
        question = boards.Question(suite.suite_id, "node", "counterfactual")
        assert boards.ranking(repository, question, "faithfulness_area", Filters()).stored
        repository.store(replace(SPEC, seed=9), attempt(), result(), ENVIRONMENT)
        assert not boards.ranking(repository, question, "faithfulness_area", Filters()).stored


def test_a_filter_takes_the_mean_over_the_kept_cells(results, question):
    everything = boards.ranking(results, question, "faithfulness_area", Filters())
    kept = boards.ranking(results, question, "faithfulness_area", Filters(models=("smollm2",)))
    assert (everything.required, kept.required) == (4, 2)
    one = [
        boards.ranking(results, question, "faithfulness_area", Filters(models=("smollm2",), tasks=(task,)))
        for task in ("addition", "subtraction")
    ]
    values = [board.ranked.set_index("label")["value"]["path-patching"] for board in (kept, *one)]
    assert values[0] == pytest.approx((values[1] + values[2]) / 2, abs=1e-12)
    assert "fragile" in set(kept.ranked["label"])
    assert "fragile" not in set(everything.ranked["label"])


def test_sizes_are_averaged_as_logarithms(results, question):
    both, *one = (
        boards.ranking(results, question, "sparsity", Filters(models=("smollm2",), tasks=tasks)).ranked.set_index(
            "label"
        )["value"]
        for tasks in ((), ("addition",), ("subtraction",))
    )
    assert both["twin"] == pytest.approx(np.sqrt(one[0]["twin"] * one[1]["twin"]), abs=1e-12)
    assert np.isnan(both["constant"])  # never reached


def test_exact_ties_share_a_rank_and_name_each_other(results, question):
    ranked = boards.ranking(results, question, "faithfulness_area", Filters()).ranked.set_index("label")
    assert ranked.loc["twin", "tied"] == ("other-twin",)
    assert ranked.loc["other-twin", "tied"] == ("twin",)
    assert ranked.loc["path-patching", "tied"] == ()
    assert tuple(ranked.loc["twin", ["rank_low", "rank_high"]]) == (4, 5)
    assert ranked["value"].is_monotonic_decreasing


def test_incomplete_and_reference_rows_have_no_rank(results, question):
    board = boards.ranking(results, question, "faithfulness_area", Filters())
    assert board.incomplete[["label", "done"]].values.tolist() == [["fragile", 3], ["slow", 1]]
    assert board.sanity["label"].tolist() == ["oracle", "random"]
    assert "rank_low" not in board.incomplete and "rank_low" not in board.sanity
    assert set(board.ranked["done"]) == {4}


def test_hiding_entries_changes_no_rank(tmp_path):
    skills = (replace(demo.SKILLS[2]), replace(demo.SKILLS[3]))
    demo.build(tmp_path / "r.db", skills)
    other = replace(SPEC.method, name="none-needed", access="none", options={})
    with Repository.open(tmp_path / "r.db") as repository:
        for skill, spec in demo.planned(skills[:1]):
            own = demo.result(replace(skill, name="x", middle=-2.2), spec)
            repository.store(replace(spec, method=other), attempt(), own, ENVIRONMENT)
        suite = next(s for s in boards.suites(repository) if s.label == "demo 1")
        question = boards.Question(suite.suite_id, "node", "counterfactual")
        assert boards.facets(repository, question).access == {"forward": 2, "none": 1}
        whole = boards.ranking(repository, question, "faithfulness_area", Filters()).ranked.set_index("label")
        hidden = boards.ranking(repository, question, "faithfulness_area", Filters(access=("forward",))).ranked
    assert set(whole.index) - set(hidden["label"]) == {"none-needed"}
    for row in hidden.itertuples():
        assert (row.rank_low, row.rank_high) == tuple(whole.loc[row.label, ["rank_low", "rank_high"]])


def test_toys_only_keeps_the_models_with_a_known_circuit(results, question):
    toys = replace(question, toys_only=True)
    assert set(boards.facets(results, toys).models) == {"toy-a-base-1", "toy-a-stress1-1"}
    board = boards.ranking(results, toys, "auroc", Filters())
    assert board.required == 2
    assert board.ranked["low"].isna().all()  # no replicates: a ranking against a fixed circuit has no pairs
    assert set(board.incomplete["label"]) == {"fragile", "slow"}


def test_facets_count_cells_and_entries(results, question):
    facets = boards.facets(results, question)
    assert facets.models == {"smollm2": 2, "toy-a-base-1": 1, "toy-a-stress1-1": 1}
    assert facets.tasks == {"addition": 1, "subtraction": 1, "toy-arith": 2}
    assert facets.entries == 12


def test_scores_without_any_value_are_not_offered(results, question):
    assert boards.scores(results, question) == ["auroc", "cmd", "faithfulness_area", "sparsity"]


def test_an_invented_score_can_be_ranked_in_its_own_direction(tmp_path):
    with Repository.open(tmp_path / "r.db") as repository:
        for name, value in (("small", 0.1), ("large", 0.9)):
            spec = replace(SPEC, method=replace(SPEC.method, name=name, options={}))
            record = ScoreRecord("invented", value, ranking_rule=RankingRule.NONE, direction=Direction.LOWER)
            own = replace(result(), scores=(record,), replicates={"invented": value + np.linspace(-0.01, 0.01, 50)})
            repository.store(spec, attempt(), own, ENVIRONMENT)
        repository.put_suite(SuiteRecord("mine", "1", "Mine"), [SPEC])
        suite = boards.suites(repository)[0]
        board = boards.ranking(
            repository, boards.Question(suite.suite_id, "node", "counterfactual"), "invented", Filters()
        )
    assert board.ranked["label"].tolist() == ["small", "large"]
    assert not board.higher


def test_the_table_shows_ranks_then_the_score_then_ties_then_the_rest(results, question):
    board = boards.ranking(results, question, "cmd", Filters())
    area = boards.ranking(results, question, "faithfulness_area", Filters())
    values = {
        name: pd.concat([b.ranked, b.incomplete, b.sanity]) for name, b in (("cmd", board), ("faithfulness_area", area))
    }
    table = tables.board_table(tables.with_scores(board.ranked, values), ["cmd", "faithfulness_area"])
    assert table.columns.tolist() == [
        "Entry", "Rank", "CMD", "Tied with", "Faithfulness area", "Time", "Access", "Cells", "Page",
    ]  # fmt: skip
    assert table["Page"][0].startswith("entry?id=path-patching-")
    assert len(table) == len(board.ranked)
