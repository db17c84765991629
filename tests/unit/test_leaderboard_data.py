"""Queries and tables of the leaderboard on the demonstration database."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select
from support import demo
from support.results import ENVIRONMENT, MODEL, SPEC, TASK, attempt, result

from arithloc.benchmark.api import ComponentSpace, Granularity, ModelShape
from arithloc.benchmark.api.errors import StorageError, UsageError
from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.repository import Repository
from arithloc.benchmark.storage.suites import SuiteRecord
from arithloc.leaderboard import cells, components, data, raw, tables, truth


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    database = tmp_path_factory.mktemp("board") / "results.db"
    demo.build(database)
    with Repository.open(database, read_only=True) as repository:
        yield repository


def entry_called(results, label):
    (entry,) = [e for e in cells.entries(results).values() if e.label == label]
    return entry


def test_the_state_counts_cells_of_every_status(results):
    state = data.state(results)
    assert state.cells == len(list(demo.planned(demo.SKILLS)))
    assert state.scoring_versions == (SPEC.scoring_version,)
    assert state.results == results.revision()


def test_entries_of_one_name_are_told_apart_by_what_differs(results):
    labels = {entry.label for entry in cells.entries(results).values()}
    assert {"mediation[effect=direct]", "mediation[effect=indirect]", "path-patching", "twin"} <= labels
    assert not any("\u202e" in label for label in labels)


def test_the_argument_of_an_entry_has_all_its_options(results):
    assert entry_called(results, "path-patching").argument == "path-patching[receivers=logits]"


def test_failed_cells_are_listed_with_what_went_wrong(results):
    frame = cells.cells_of_entry(results, entry_called(results, "slow").entry_id)
    statuses = dict(zip(frame["model"], frame["status"], strict=True))
    assert statuses == {"smollm2": "timeout", "toy-a-base-1": "ok", "toy-a-stress1-1": "killed"}
    table = tables.cells_table(
        frame.assign(label=tables.cell_labels(frame)), cells.scores_of(results, list(frame["key"]))
    )
    by_status = table.groupby("Status")["Faithfulness area"].agg(set)
    assert by_status["timeout"] == by_status["killed"] == {""}
    assert by_status["ok"] != {""}
    sizes = table.groupby("Status")["Sparsity"].agg(set)
    assert sizes["timeout"] == sizes["killed"] == {""}  # nothing was measured, so nothing was "not reached"


def test_a_size_that_no_cell_reached_is_said_so(results):
    frame = cells.cells_of_entry(results, entry_called(results, "constant").entry_id)
    table = tables.cells_table(frame.assign(label=frame["task"]), cells.scores_of(results, list(frame["key"])))
    assert set(table["Sparsity"]) == {"not reached"}


def test_cells_come_nodes_first_and_have_one_label_each(results):
    frame = cells.cells_of_entry(results, entry_called(results, "mediation[effect=direct]").entry_id)
    first = frame[(frame["model"] == "toy-a-base-1") & (frame["ablation"] == "counterfactual")]
    assert list(first["granularity"]) == ["node", "layer"]
    labels = tables.cell_labels(frame)
    assert len(set(labels)) == len(labels) == len(frame)


def test_position_cells_are_told_from_those_without_positions(results):
    frame = cells.cells_of_entry(results, entry_called(results, "path-patching").entry_id)
    frame = frame[frame["ablation"] == "counterfactual"]
    labels = tables.cell_labels(frame)
    assert "toy-arith · toy-a-base-1" in labels
    assert "toy-arith · toy-a-base-1 · by position" in labels


def test_curves_are_ordered_by_size_and_at_most_eight(results):
    frame = cells.cells_of_task(results, *_question(results, "addition", "smollm2"), "node", "counterfactual")
    keys = list(frame[frame["status"] == "ok"]["key"])
    assert len(keys) > cells.MAX_CURVES
    points = cells.curves(results, keys)
    assert points["key"].nunique() == cells.MAX_CURVES
    for _, curve in points.groupby("key"):
        assert curve["size"].is_monotonic_increasing
        assert (curve["f_low"] <= curve["f_high"]).all()


def test_a_task_is_listed_best_first(results):
    frame = cells.cells_of_task(results, *_question(results, "addition", "smollm2"), "node", "counterfactual")
    scores = cells.scores_of(results, list(frame["key"]))
    ordered = tables.best_first(frame, scores, "faithfulness_area")
    values = ordered["key"].map(scores[scores["name"] == "faithfulness_area"].set_index("key")["value"])
    known = values.dropna()
    assert known.is_monotonic_decreasing
    assert values.iloc[len(known) :].isna().all()
    assert list(ordered["entry"])[:2] == ["oracle", "path-patching"]


def test_component_scores_have_the_names_and_places_of_their_space(results):
    frame = cells.cells_of_entry(results, entry_called(results, "oracle").entry_id)
    key = frame[(frame["model"] == "toy-a-base-1") & (frame["ablation"] == "counterfactual")]["key"].iloc[0]
    scores = components.component_scores(results, key)
    grid = scores.grid()
    assert list(grid["component"]) == list(demo.space(replace(SPEC, model=MODEL)).names)
    assert list(grid[grid["component"] == "a1.h2"][["layer", "slot"]].iloc[0]) == [1, "2"]
    assert list(grid[grid["component"] == "m1"][["layer", "slot"]].iloc[0]) == [1, "MLP"]
    strongest = scores.strongest(3)
    assert list(strongest["score"].abs()) == sorted(grid["score"].abs(), reverse=True)[:3]
    assert grid.set_index("component")["score"][strongest["component"].iloc[0]] == strongest["score"].iloc[0]


def test_position_scores_keep_the_strongest_slot_of_each_layer(results):
    frame = cells.cells_of_entry(results, entry_called(results, "path-patching").entry_id)
    key = frame[frame["positions_json"] != "[]"]["key"].iloc[0]
    scores = components.component_scores(results, key)
    by_position = scores.by_position()
    assert list(dict.fromkeys(scores.space.classes)) == ["operand1", "operator", "operand2", "last"]
    assert len(by_position) == MODEL.n_layers * 4
    for row in by_position.itertuples():
        there = scores.grid(row.slot)
        assert abs(row.score) == there[there["layer"] == row.layer]["score"].abs().max()
        assert row.component.endswith(f"@{row.slot}")


def test_neurons_are_counted_by_layer():
    shape = ModelShape(n_layers=2, n_heads=1, n_kv_heads=1, d_model=4, d_head=4, d_mlp=3, vocab=5)
    values = np.array([0.1, -9.0, 0.2, 5.0, -4.0, 0.3])  # units of layer 0, then of layer 1
    scores = components.Components(ComponentSpace(Granularity.NEURON, shape), values)
    assert scores.by_layer(3).to_dict("list") == {"layer": [0, 1], "n": [1, 2]}
    assert list(scores.strongest(3)["component"]) == ["m0.n1", "m1.n0", "m1.n1"]


def test_a_wrong_number_of_component_scores_is_one_clear_sentence(tmp_path):
    with Repository.open(tmp_path / "r.db") as repository:
        bad = replace(result(), components=np.ones(7))
        key = repository.store(SPEC, attempt(), bad, ENVIRONMENT).key
        with pytest.raises(StorageError, match=r"Expected 10 component scores .* found \(7,\)"):
            components.component_scores(repository, key)


def test_the_command_runs_the_cell_again(results):
    entry = entry_called(results, "path-patching")
    frame = cells.cells_of_entry(results, entry.entry_id)
    key = frame[frame["model"] == "smollm2"]["key"].iloc[0]
    assert cells.command(results, key, entry.argument) == (
        "bench evaluate --suite demo --method 'path-patching[receivers=logits]' --task 'addition[digits=2,frame=equals]' "
        "--model smollm2 --granularity node --ablation counterfactual --seed 0 --dtype float32"
    )


def test_the_command_of_a_cell_outside_named_suites_gives_its_number_of_pairs(tmp_path):
    with Repository.open(tmp_path / "r.db") as repository:
        key = repository.store(SPEC, attempt(), result(), ENVIRONMENT).key
        repository.put_suite(SuiteRecord("custom", "1", "Cells chosen on the command line."), [SPEC])
        assert cells.command(repository, key, "mediation").startswith(
            "bench evaluate --limit 64 --method mediation --task"
        )


def test_provenance_names_code_data_machine_and_run(results):
    key = cells.cells_of_entry(results, entry_called(results, "twin").entry_id)["key"].iloc[0]
    groups = cells.provenance(results, key)
    assert groups["Code"]["commit"] == "a" * 40
    assert "64 pairs in 60 clusters (test)" in groups["Inputs"]["evaluation"]
    assert groups["Run"]["cell"] == key
    assert len(groups["Run"]["result digest"]) == 64


def test_a_cell_shows_the_kinds_of_both_splits(tmp_path):
    asked = replace(SPEC.task, options={**SPEC.task.options, "kind": "operands"})
    with Repository.open(tmp_path / "r.db") as repository:
        usual, crossed = (
            repository.store(replace(SPEC, task=asked, discovery_kind=kind), attempt(), result(), ENVIRONMENT).key
            for kind in ("", "same_answer")
        )
        shown = [cells.provenance(repository, key)["Inputs"]["counterfactuals"] for key in (usual, crossed)]
        assert shown == ["operands (discovery), operands (test)", "same_answer (discovery), operands (test)"]
        again = cells.command(repository, crossed, "mediation")
        assert "discovery_kind=same_answer" in again and "kind=operands" in again
        assert "discovery_kind" not in cells.command(repository, usual, "mediation")


def test_every_attempt_of_a_retried_cell_is_kept(results):
    frame = cells.cells_of_entry(results, entry_called(results, "path-patching").entry_id)
    tries = cells.attempts(results, list(frame["key"]))
    retried = tries[tries["key"].duplicated(keep=False)]
    assert sorted(set(retried["status"])) == ["killed", "ok"]
    table = tables.attempts_table(tries, frame)
    assert len(table) == len(tries)
    assert table[table["Status"] == "killed"]["Message"].str.contains("signal 9").all()


def test_pages_of_the_raw_list_are_a_partition(results):
    everything = raw.raw_count(results, raw.Wanted())
    pages = [
        raw.raw_page(results, raw.Wanted(), sort, page, 10)
        for sort in raw.SORTS
        for page in range(1, everything // 10 + 2)
    ]
    per_sort = len(pages) // len(raw.SORTS)
    for start in range(0, len(pages), per_sort):
        keys = [key for page in pages[start : start + per_sort] for key in page["key"]]
        assert len(keys) == len(set(keys)) == everything


def test_the_raw_list_is_filtered_and_sorted(results):
    failed = raw.Wanted(statuses=("failed", "timeout", "killed"))
    page = raw.raw_page(results, failed, "newest first", 1)
    assert len(page) == raw.raw_count(results, failed) > 0
    assert set(page["status"]) == {"failed", "timeout", "killed"}
    assert page["finished_at"].is_monotonic_decreasing
    assert "BadScores: Expected finite scores" in " ".join(tables.raw_table(page)["Error"])
    assert raw.raw_count(results, raw.Wanted(entries=("nobody",))) == 0


@pytest.mark.parametrize("sort", list(raw.SORTS))
@pytest.mark.parametrize(
    "wanted", [raw.Wanted(), raw.Wanted(statuses=("failed",)), raw.Wanted(models=("m",)), raw.Wanted(entries=("e",))]
)
def test_every_order_and_filter_of_the_raw_list_uses_an_index(results, sort, wanted):
    query = select(schema.cell.c.key).where(*wanted.conditions()).order_by(*raw.SORTS[sort]).limit(100)
    with results.reading() as connection:
        text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
        plan = " ".join(row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))
    assert "INDEX" in plan
    assert not re.search(r"SCAN cell(?! USING)", plan), plan


@pytest.mark.parametrize(("sort", "page", "size"), [("key", 1, 10), ("newest first", 0, 10), ("newest first", 1, 501)])
def test_the_raw_list_refuses_other_orders_and_sizes(results, sort, page, size):
    with pytest.raises(UsageError, match="Expected a sort among"):
        raw.raw_page(results, raw.Wanted(), sort, page, size)


def test_toys_have_their_labels_and_roles(results):
    toys = {toy.name: toy for toy in truth.toys(results)}
    assert set(toys) == {"toy-a-base-1", "toy-a-stress1-1"}
    assert toys["toy-a-stress1-1"].stressors == "stress1"
    labels = truth.truth_components(results, toys["toy-a-base-1"].truth_id, "node")
    assert labels["label"].value_counts().to_dict() == {"in": 4, "out": 5, "undecided": 1}
    assert set(labels[labels["label"] == "in"]["role"]) == {"fetch", "sum"}


def test_roc_curves_start_above_all_scores(results):
    frame = cells.cells_of_entry(results, entry_called(results, "random").entry_id)
    points = truth.roc_points(results, list(frame["key"]))
    first = points.drop_duplicates("key")
    assert (first[["fpr", "tpr", "recall"]] == 0).all(axis=None)
    assert first["precision"].isin([0.0, 1.0]).all()


def test_the_band_of_chance_matches_enumeration():
    # 1 of the circuit, 1 other: half of the orders find it first
    chance = truth.chance(1, 1)
    assert chance.roc["fpr"].tolist() == [0.0, 1.0]
    assert chance.roc[["low", "high"]].values.tolist() == [[0.0, 1.0], [1.0, 1.0]]
    assert chance.precision[["recall", "low", "high"]].values.tolist() == [[1.0, 0.5, 1.0]]


def test_the_circuit_of_an_entry_is_as_large_as_the_proven_one():
    shape = ModelShape(n_layers=1, n_heads=4, n_kv_heads=4, d_model=4, d_head=1, d_mlp=3, vocab=5)
    scores = components.Components(ComponentSpace(Granularity.NODE, shape), np.array([5.0, -4.0, 1.0, 9.0, 0.5]))
    proven = pd.DataFrame(
        {
            "name": ["a0.h0", "a0.h1", "a0.h2", "a0.h3", "m0"],
            "label": ["in", "out", "in", "undecided", "out"],
            "role": ["fetch", None, "carry", None, None],
        }
    )
    found = truth.found_components(proven, scores).set_index("component")["state"]
    assert found.to_dict() == {
        "a0.h0": "found",
        "a0.h1": "extra",
        "a0.h2": "missed",
        "a0.h3": "undecided",
        "m0": "left out",
    }


def test_an_invented_task_appears_without_code_change(tmp_path):
    invented = replace(TASK, name="invented-task", options={}, family="new", summary="Never seen before.")
    with Repository.open(tmp_path / "r.db") as repository:
        repository.store(replace(SPEC, task=invented), attempt(), result(), ENVIRONMENT)
        assert cells.questions(repository)[["task", "summary"]].values.tolist() == [
            ["invented-task", "Never seen before."]
        ]
        assert raw.raw_page(repository, raw.Wanted(), "newest first", 1)["task"].tolist() == ["invented-task"]


def test_an_empty_database_gives_empty_answers(tmp_path):
    Repository.open(tmp_path / "r.db").close()
    with Repository.open(tmp_path / "r.db", read_only=True) as empty:
        assert data.state(empty).cells == 0
        assert cells.entries(empty) == {}
        assert cells.questions(empty).empty
        assert truth.toys(empty) == []
        assert raw.raw_page(empty, raw.Wanted(), "newest first", 1).empty


def _question(results, task, model):
    frame = cells.questions(results)
    row = frame[(frame["task"] == task) & (frame["model"] == model)].iloc[0]
    return row["task_id"], row["model_id"]
