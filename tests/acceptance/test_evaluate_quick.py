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

from arithloc.benchmark.api.registry import methods
from arithloc.benchmark.runner.suites import ORACLE, QUICK

BENCH = Path(sys.executable).parent / "bench"
MAXIMUM_SECONDS = 120
MODELS = ("toy-a-base-1", "toy-a-base-3")
EXPECTED = {
    (model, str(granularity), name)
    for model in MODELS
    for granularity in QUICK.granularities
    for name in QUICK.methods
    if (granularity == "node" if name == ORACLE else methods.get(name).target.info.supports(granularity))
}


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
    assert all(cell["status"] == "ok" for cell in found.values())
    assert set(found) == EXPECTED
    assert {method for model, granularity, method in EXPECTED if (model, granularity) == (MODELS[0], "neuron")} >= {
        "random",
        "activation-norm",
        "cna",
        "integrated-gradients",
    }
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith(("Results", "Next")))
    assert "results/results.db" in done.stdout and "Next:    bench leaderboard" in done.stdout


def test_the_true_circuit_scores_highest_and_mediation_finds_it(quick):
    found = cells(quick[1])
    for model in MODELS:
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
    assert second.returncode == 0 and f"{len(EXPECTED)} of {len(EXPECTED)} cells are in" in second.stderr
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
