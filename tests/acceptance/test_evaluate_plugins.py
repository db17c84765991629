"""`bench evaluate` as a user runs it, with methods of their own in a file outside the package."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

BENCH = Path(sys.executable).parent / "bench"
PLUGINS = Path(__file__).parents[1] / "support" / "evaluate_plugins.py"
SMALL = ("--model", "toy-a-base-1", "--task", "toy-arith", "--limit", "4", "--granularity", "layer")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """The plugins in a folder that has nothing to do with the project."""
    path = tmp_path_factory.mktemp("elsewhere") / "mine.py"
    path.write_text(PLUGINS.read_text())
    return path


@pytest.fixture
def bench(tmp_path, cache):
    environment = {**os.environ, "ARITHLOC_CACHE": str(cache), "OMP_NUM_THREADS": "1", "COLUMNS": "120"}

    def run(*arguments, check=None, **more):
        done = subprocess.run(
            [str(BENCH), *map(str, arguments)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, **more,
        )  # fmt: skip
        assert "Traceback" not in done.stderr + done.stdout, done.stderr
        if check is not None:
            assert done.returncode == check, done.stderr
        return done

    run.environment = environment
    return run


def stored(path):
    with closing(sqlite3.connect(path)) as database:
        query = "SELECT method.name, status, error_type, error_message, attempts FROM cell JOIN entry USING (entry_id) JOIN method USING (method_id)"
        return {name: rest for name, *rest in database.execute(query)}


def methods(mine, *names):
    return [part for name in names for part in ("--method", f"{mine}:{name}")]


def test_bad_plugins_cost_their_own_cells_and_a_second_run_skips_all(bench, mine, tmp_path):
    names = ("Steady", "Raises", "WrongShape", "NotFinite", "Hangs", "Noise")
    arguments = ("evaluate", *methods(mine, *names), *SMALL, "--timeout", "8")
    first = bench(*arguments, check=1)
    found = stored(tmp_path / "results" / "results.db")
    assert {name: row[:2] for name, row in found.items()} == {
        "steady": ["ok", ""],
        "noise": ["ok", ""],
        "raises": ["failed", "MethodCrashed"],
        "wrong-shape": ["failed", "BadScores"],
        "not-finite": ["failed", "BadScores"],
        "hangs": ["timeout", "CellTimeout"],
    }
    for name, (status, error, message, _) in found.items():
        if status != "ok":
            lines = [line for line in first.stdout.splitlines() if line.startswith(f"{status}: {name} ")]
            assert lines == [f"{status}: {name} on toy-arith, toy-a-base-1, layer: {error}: {message}"]
    assert "ValueError: first line" in found["raises"][2] and "mine.py, line" in found["raises"][2]
    assert "faithfulness area" in first.stdout and "steady" in first.stdout
    assert "results.db" in first.stdout and "bench leaderboard" in first.stdout
    assert "[6/6]" in first.stderr

    second = bench(*arguments, check=1)
    assert "6 of 6 cells are in" in second.stderr and "[1/" not in second.stderr
    assert [line for line in second.stdout.splitlines() if "steady" in line] == [
        line for line in first.stdout.splitlines() if "steady" in line
    ]

    shown = bench("show", check=0).stdout
    assert "wrong-shape" in shown and "timeout" in shown
    with closing(sqlite3.connect(tmp_path / "results" / "results.db")) as database:
        (key,) = database.execute("SELECT key FROM cell WHERE error_type = 'MethodCrashed'").fetchone()
    details = bench("show", key[:12], check=0).stdout
    assert key in details and "ValueError: first line" in details and "again:" in details
    log = next(line.partition(":")[2].strip() for line in details.splitlines() if line.startswith("log:"))
    assert "in localize" in Path(log).read_text()

    retried = json.loads(bench("evaluate", *methods(mine, "Raises"), *SMALL, "--retry", "failed", "--json").stdout)
    assert retried["schema"] == 1 and retried["cells"][0]["status"] == "failed"
    assert stored(tmp_path / "results" / "results.db")["raises"][3] == 2


def test_a_file_in_the_working_folder_and_its_options(bench, mine, tmp_path):
    (tmp_path / "mine.py").write_text(mine.read_text())
    done = bench(
        "evaluate", "--method", "./mine.py:Steady", "--option", "./mine.py:Steady.scale=3", *SMALL, "--json", check=0
    )
    (cell,) = json.loads(done.stdout)["cells"]
    assert (cell["method"], cell["title"], cell["status"]) == ("steady", "steady[scale=3.0]", "ok")
    area = cell["scores"]["faithfulness_area"]
    assert area["low"] <= area["value"] <= area["high"]
    view = json.loads(bench("show", cell["key"][:10], "--json", check=0).stdout)
    assert view["schema"] == 1 and view["cell"]["status"] == "ok" and view["environment"]["packages"]["torch"]
    assert view["curve"] and Path(view["artifacts"]["scores"]).is_file()
    assert view["attempts"][0]["device"] == "cpu"
    for text in json.dumps(view["environment"]), json.dumps(view["cell"]["spec"]):
        assert str(tmp_path) not in text


def test_a_killed_worker_is_replaced_and_the_cell_tried_again(bench, mine, tmp_path):
    tries = tmp_path / "tries"
    method = f"{mine}:Dies[file={tries},times=1]"
    done = bench("evaluate", "--method", method, "--method", f"{mine}:Steady", *SMALL, "--json", check=0)
    assert [cell["status"] for cell in json.loads(done.stdout)["cells"]] == ["ok", "ok"]
    found = stored(tmp_path / "results" / "results.db")
    assert found["dies"][3] == 2 and found["steady"][3] == 1
    with closing(sqlite3.connect(tmp_path / "results" / "results.db")) as database:
        history = database.execute(
            "SELECT number, status, exit_code FROM attempt WHERE key IN (SELECT key FROM attempt WHERE number = 2) ORDER BY number"
        ).fetchall()
    assert history == [(1, "killed", 3), (2, "ok", None)]


def test_ctrl_c_keeps_finished_cells_and_exits_130(bench, mine, tmp_path):
    child = tmp_path / "child"
    arguments = ["evaluate", "--method", f"{mine}:Steady", "--method", f"{mine}:Hangs[pid_file={child}]", *SMALL]
    process = subprocess.Popen(
        [str(BENCH), *arguments, "--grace", "0.2"],
        cwd=tmp_path, env=bench.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (child.exists() and child.read_text()) and process.poll() is None:
        assert time.monotonic() < deadline, "the second cell never started"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err + out and "Interrupted: 1 of 2" in err
    assert {name: row[0] for name, row in stored(tmp_path / "results" / "results.db").items()} == {"steady": "ok"}
    assert not Path(f"/proc/{child.read_text()}").exists() or "Z" in Path(f"/proc/{child.read_text()}/stat").read_text()
    resumed = bench("evaluate", "--method", f"{mine}:Steady", "--method", f"{mine}:Noise", *SMALL, check=0)
    assert "1 of 2 cells are in" in resumed.stderr and "[1/1] " in resumed.stderr


def test_a_dry_run_prints_the_cells_and_writes_nothing(bench, mine, tmp_path):
    done = bench("evaluate", *methods(mine, "Steady", "Noise"), *SMALL, "--dry-run", "--json", check=0)
    document = json.loads(done.stdout)
    assert document["schema"] == 1 and [cell["run"] for cell in document["cells"]] == [True, True]
    assert all(cell["stored"] is None and len(cell["key"]) == 64 for cell in document["cells"])
    assert (
        "2 of 2 cells would be run" in bench("evaluate", *methods(mine, "Steady", "Noise"), *SMALL, "--dry-run").stdout
    )
    assert not (tmp_path / "results").exists()
