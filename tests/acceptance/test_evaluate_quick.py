"""`bench evaluate` with no arguments: the quick suite, from process start to table and database."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

BENCH = Path(sys.executable).parent / "bench"
MAXIMUM_SECONDS = 120


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quick")
    environment = {**os.environ, "ARITHLOC_CACHE": str(folder / "cache"), "COLUMNS": "80"}
    for name in ("ARITHLOC_DB", "ARITHLOC_RESULTS"):
        environment.pop(name, None)

    def bench(*arguments):
        return subprocess.run(
            [str(BENCH), *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )

    started = time.monotonic()
    done = bench("evaluate")
    return folder, bench, done, time.monotonic() - started


def cells(bench):
    found = json.loads(bench("evaluate", "--json").stdout)["cells"]
    return {(cell["model"], cell["granularity"], cell["method"]): cell for cell in found}


def test_every_cell_has_scores_within_two_minutes(quick):
    _, bench, done, seconds = quick
    assert done.returncode == 0, done.stderr
    assert seconds < MAXIMUM_SECONDS
    found = cells(bench)
    assert len(found) == 22 and all(cell["status"] == "ok" for cell in found.values())
    assert {model for model, _, _ in found} == {"toy-a-base-1", "toy-a-base-3"}
    assert {method for _, granularity, method in found if granularity == "node"} == {
        "random", "activation-norm", "mediation", "path-patching", "oracle",
    }  # fmt: skip
    assert {method for _, granularity, method in found if granularity == "neuron"} == {
        "random",
        "activation-norm",
        "cna",
    }
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith(("Results", "Next")))
    assert "results/results.db" in done.stdout and "Next:    bench leaderboard" in done.stdout


def test_the_true_circuit_scores_highest_and_mediation_finds_it(quick):
    found = cells(quick[1])
    for model in ("toy-a-base-1", "toy-a-base-3"):
        scores = {m: cell["scores"] for (name, g, m), cell in found.items() if (name, g) == (model, "node")}
        areas = {method: score["faithfulness_area"]["value"] for method, score in scores.items()}
        assert all(areas["oracle"] >= area - 1e-6 for area in areas.values()), areas
        assert scores["mediation"]["auroc"]["value"] == scores["oracle"]["auroc"]["value"] == 1.0
        null = scores["random"]["auroc_null"]
        assert null["low"] <= scores["random"]["auroc"]["value"] <= null["high"]
        assert areas["random"] < areas["mediation"]


def test_a_second_run_computes_nothing(quick):
    _, bench, first, _ = quick
    second = bench("evaluate")
    assert second.returncode == 0 and "22 of 22 cells are in" in second.stderr
    assert second.stdout == first.stdout


def test_the_database_has_boards_circuits_and_no_reference_row_with_a_rank(quick):
    with closing(sqlite3.connect(quick[0] / "results" / "results.db")) as database:
        assert database.execute("SELECT count(*) FROM truth").fetchone() == (2,)
        assert database.execute("SELECT DISTINCT name FROM suite").fetchall() == [("quick",)]
        sane = "SELECT DISTINCT method.name FROM board_row JOIN entry USING (entry_id) JOIN method USING (method_id)"
        ranked = {name for (name,) in database.execute(sane + " WHERE rank_low IS NOT NULL")}
        assert {"mediation", "activation-norm"} <= ranked and not {"random", "oracle"} & ranked
        assert database.execute("SELECT count(*) FROM cell WHERE device != 'cpu' AND device != 'cuda'").fetchone() == (
            0,
        )
        (log,) = database.execute("SELECT count(*) FROM attempt WHERE number > 1").fetchone()
        assert log == 0
