"""Writing cells: whole or not at all, ok rows never overwritten, history only grows."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import func, select
from support.results import ENVIRONMENT, SPEC, attempt, result

from arithloc.benchmark.api.errors import StorageError
from arithloc.benchmark.storage import schema, writing
from arithloc.benchmark.storage.digest import ResultRows, result_digest
from arithloc.benchmark.storage.keys import cell_key, key_of_text, localization_key
from arithloc.benchmark.storage.records import CellSpec, RankingRule, ScoreRecord, Status
from arithloc.benchmark.storage.repository import Fate, Repository

KEY = cell_key(SPEC)


@pytest.fixture
def repository(tmp_path):
    with Repository.open(tmp_path / "deep" / "results.db") as opened:
        yield opened


def cells(repository):
    with repository.reading() as connection:
        return {row["key"]: dict(row) for row in connection.execute(select(schema.cell)).mappings()}


def count(repository, table):
    with repository.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def attempts(repository):
    table = schema.attempt
    with repository.reading() as connection:
        return connection.execute(select(table.c.number, table.c.status).order_by(table.c.number)).all()


def test_a_result_comes_back_as_it_went_in(repository):
    measured = result()
    assert repository.store(SPEC, attempt(), measured, ENVIRONMENT).fate is Fate.STORED
    row = cells(repository)[KEY]
    assert row["status"] == "ok"
    assert row["granularity"] == "node"
    assert row["error_type"] == ""
    assert (row["wall_localize_s"], row["peak_host_bytes"], row["peak_device_bytes"]) == (0.5, 100_000_000, None)
    assert (row["discovery_requested"], row["discovery_kept_fraction"]) == (40, 0.8)
    assert key_of_text(row["spec_json"]) == KEY
    with repository.reading() as connection:
        stored = writing.read_result(connection, KEY)
    assert result_digest(stored) == row["result_digest"]
    np.testing.assert_array_equal(stored.replicates["faithfulness_area"], measured.replicates["faithfulness_area"])
    by_name = {score["name"]: score for score in stored.scores}
    assert by_name["auroc"]["value"] is None
    assert by_name["auroc"]["reason"] == "no known circuit"
    assert by_name["cmd"]["direction"] == "lower"
    assert by_name["cmd"]["flags_json"] == '["few-clusters"]'
    assert [point["f"] for point in stored.curve] == [point.f for point in measured.curve]
    assert [(point["tpr"], point["n"]) for point in stored.roc] == [(0.5, 1), (1.0, 10)]


def test_component_scores_are_found_again_by_what_determines_them(repository):
    measured = result()
    repository.store(SPEC, attempt(), measured, ENVIRONMENT)
    rescored = replace(SPEC, scoring_version=2, evaluation_hash="f" * 64)
    np.testing.assert_array_equal(repository.localization(localization_key(rescored)), measured.components)
    assert repository.localization(localization_key(replace(SPEC, seed=1))) is None


def test_pair_values_and_clusters_are_kept_in_one_file(repository):
    measured = result()
    repository.store(SPEC, attempt(), measured, ENVIRONMENT)
    link = schema.cell_artifact.c
    with repository.reading() as connection:
        sha256 = connection.execute(select(link.sha256).where(link.role == "values")).scalar_one()
    arrays, notes = repository.artifacts.arrays(sha256), repository.artifacts.notes(sha256)
    np.testing.assert_array_equal(arrays["kept"], measured.pair_values["kept"].astype(np.float32))
    assert tuple(notes["clusters"][i] for i in arrays["cluster"]) == measured.pair_clusters


def test_numbers_that_are_not_finite_become_null_with_a_flag(repository):
    scores = (
        ScoreRecord("sparsity", 0.25, 0.125, float("inf"), ranking_rule=RankingRule.ABSOLUTE),
        ScoreRecord("cpr", float("nan")),
    )
    repository.store(SPEC, attempt(), replace(result(), scores=scores, replicates={}), ENVIRONMENT)
    with repository.reading() as connection:
        rows = {score["name"]: score for score in writing.read_result(connection, KEY).scores}
    assert (rows["sparsity"]["value"], rows["sparsity"]["high"]) == (0.25, None)
    assert rows["sparsity"]["flags_json"] == '["high=inf"]'
    assert (rows["cpr"]["value"], rows["cpr"]["reason"]) == (None, "not defined")


def test_a_failed_cell_is_recorded_and_replaced_by_a_retry(repository):
    repository.store(SPEC, attempt(Status.FAILED), None, ENVIRONMENT)
    assert repository.statuses([KEY, "0" * 64]) == {KEY: Status.FAILED}
    assert cells(repository)[KEY]["error_message"] == "expected 1, found 2"
    repository.store(SPEC, attempt(Status.TIMEOUT), None, ENVIRONMENT)
    assert repository.store(SPEC, attempt(), result(), ENVIRONMENT).fate is Fate.STORED
    assert repository.statuses([KEY]) == {KEY: Status.OK}
    assert cells(repository)[KEY]["attempts"] == 3
    assert attempts(repository) == [(1, "failed"), (2, "timeout"), (3, "ok")]


def test_an_ok_cell_is_never_overwritten(repository):
    repository.store(SPEC, attempt(), result(), ENVIRONMENT)
    before = cells(repository)[KEY]
    assert repository.store(SPEC, attempt(Status.KILLED), None, ENVIRONMENT).fate is Fate.OUTDONE
    assert repository.store(SPEC, attempt(), result(), ENVIRONMENT).fate is Fate.SAME
    close = repository.store(SPEC, attempt(), result(shift=3e-5), ENVIRONMENT)
    assert close.fate is Fate.CLOSE
    assert close.difference == pytest.approx(3e-5, rel=1e-6)
    different = repository.store(SPEC, attempt(), result(shift=0.5), ENVIRONMENT)
    assert different.fate is Fate.DIFFERENT
    assert different.difference == pytest.approx(0.5, rel=1e-6)
    after = cells(repository)[KEY]
    assert after["note"] == "agrees within tolerance; a later run differs by 0.5"
    assert {name: after[name] for name in before if name not in ("note", "attempts")} == {
        name: before[name] for name in before if name not in ("note", "attempts")
    }
    assert [status for _, status in attempts(repository)] == ["ok", "killed", "ok", "ok", "ok"]


def test_the_tolerance_is_that_of_the_floating_point_type(repository):
    precise = replace(SPEC, dtype="float64")
    repository.store(precise, attempt(), result(), ENVIRONMENT)
    assert repository.store(precise, attempt(), result(shift=3e-5), ENVIRONMENT).fate is Fate.DIFFERENT
    coarse = replace(SPEC, dtype="bfloat16")
    repository.store(coarse, attempt(), result(), ENVIRONMENT)
    assert repository.store(coarse, attempt(), result(shift=1e-2), ENVIRONMENT).fate is Fate.CLOSE


def test_nothing_of_a_cell_is_left_when_one_row_is_refused(repository):
    repository.store(SPEC, attempt(Status.FAILED), None, ENVIRONMENT)
    twice = ScoreRecord("faithfulness_area", 0.5)
    broken = replace(result(), scores=(twice, twice), replicates={})
    with pytest.raises(StorageError, match="refused"):
        repository.store(SPEC, attempt(), broken, ENVIRONMENT)
    assert repository.statuses([KEY]) == {KEY: Status.FAILED}
    assert count(repository, schema.attempt) == 1
    assert count(repository, schema.score) == count(repository, schema.curve_point) == 0
    assert repository.revision() == 1


def test_every_change_raises_the_revision_and_reading_does_not(repository):
    assert repository.revision() == 0
    repository.store(SPEC, attempt(), result(), ENVIRONMENT)
    repository.statuses([KEY])
    assert repository.revision() == 1
    repository.store(replace(SPEC, seed=1), attempt(Status.FAILED), None, ENVIRONMENT)
    assert repository.revision() == 2


def test_a_result_belongs_to_an_ok_attempt_only(repository):
    with pytest.raises(ValueError, match="result"):
        repository.store(SPEC, attempt(Status.FAILED), result(), ENVIRONMENT)
    with pytest.raises(ValueError, match="result"):
        repository.store(SPEC, attempt(), None, ENVIRONMENT)
    with pytest.raises(ValueError, match=r"replicates without a score: \['cpr'\]"):
        odd = replace(result(), replicates={"cpr": np.zeros(50)})
        repository.store(SPEC, attempt(), odd, ENVIRONMENT)
    assert cells(repository) == {}


def test_long_and_odd_messages_are_cut_and_cleaned(repository):
    message = "nul \0 and surrogate \udcff " + "x" * 10_000
    repository.store(SPEC, attempt(Status.FAILED, error_message=message), None, ENVIRONMENT)
    stored = cells(repository)[KEY]["error_message"]
    assert len(stored) == 4000
    assert stored.startswith("nul \\x00 and surrogate \\udcff xxx")
    assert stored.endswith(" ... [cut]")


def test_statuses_of_more_keys_than_a_statement_takes(repository):
    specs = [replace(SPEC, seed=seed) for seed in range(3)]
    for spec in specs:
        repository.store(spec, attempt(Status.FAILED), None, ENVIRONMENT)
    absent = [f"{i:064x}" for i in range(40_000)]
    assert set(repository.statuses([*absent, *map(cell_key, specs)])) == set(map(cell_key, specs))


def test_results_do_not_depend_on_the_order_of_rows():
    spec_rows = result()
    forward = ResultRows([{"name": "a", "value": 1.0}, {"name": "b", "value": 2.0}], [], [], {})
    backward = ResultRows([{"name": "b", "value": 2.0}, {"name": "a", "value": 1.0}], [], [], {})
    swapped = ResultRows([{"name": "a", "value": 2.0}, {"name": "b", "value": 1.0}], [], [], {})
    assert result_digest(forward) == result_digest(backward) != result_digest(swapped)
    assert isinstance(SPEC, CellSpec) and spec_rows.scores
