"""`bench evaluate` on a private split: reproducible from the secret, and the secret is nowhere else."""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

BENCH = Path(sys.executable).parent / "bench"
SECRET = hashlib.sha256(b"for this test").digest()
COMMITMENT = hashlib.sha256(SECRET).hexdigest()
ASKED = ("--model", "toy-a-base-3", "--task", "toy-arith", "--limit", "8", "--granularity", "layer")
PRYING = '''
"""Methods that print what a method can easily see of its process, and leave a log behind."""

import os
from pathlib import Path

import numpy as np

from arithloc.benchmark.api import MethodInfo, Scores


class Prying:
    info = MethodInfo(name="prying", summary="For tests.", granularities={"layer"})

    def localize(self, problem):
        print(dict(os.environ), Path("/proc/self/cmdline").read_bytes(), Path("/proc/self/environ").read_bytes())
        print(problem)
        raise RuntimeError(f"{problem.pairs[0]}")


class Ones:
    info = MethodInfo(name="ones", summary="For tests.", granularities={"layer"})

    def localize(self, problem):
        return Scores.of(problem.space, np.ones(len(problem.space)))
'''


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder, and what commands print there: a private run that leaves a log, one cell of it, a run without the seed."""
    folder = tmp_path_factory.mktemp("private")
    (folder / "mine.py").write_text(PRYING)
    environment = {**os.environ, "ARITHLOC_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    hidden = {**environment, "ARITHLOC_PRIVATE_SEED": SECRET.hex()}
    asked = ("evaluate", "--method", "mine.py:Prying", "--method", "mine.py:Ones", *ASKED, "--private")

    def run(*arguments, environment=environment):
        return subprocess.run(
            [str(BENCH), *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    found = {"private": run(*asked, "--json", "--debug", environment=hidden), "without": run(*asked)}
    assert found["private"].returncode == 1, found["private"].stderr
    key = next(cell["key"] for cell in json.loads(found["private"].stdout)["cells"] if cell["status"] == "ok")
    found["show"] = run("show", key[:12])
    return folder, found


def test_a_private_cell_says_so_and_how_to_run_it_again(runs):
    _, found = runs
    cell = next(cell for cell in json.loads(found["private"].stdout)["cells"] if cell["status"] == "ok")
    assert 0 <= cell["scores"]["public_share"]["value"] <= 1
    assert f"private test pairs, seed {COMMITMENT}" in found["show"].stdout and "--private" in found["show"].stdout
    assert found["without"].returncode == 2 and "--private-seed-file" in found["without"].stderr


def test_the_database_has_the_commitment_and_nothing_of_single_private_pairs(runs):
    folder, _ = runs
    with closing(sqlite3.connect(folder / "results" / "results.db")) as database:
        specs = [json.loads(text) for (text,) in database.execute("SELECT spec_json FROM cell")]
        roles = [role for (role,) in database.execute("SELECT role FROM cell_artifact")]
        splits = {split for (split,) in database.execute("SELECT split FROM dataset")}
    assert [spec["private_commitment"] for spec in specs] == [COMMITMENT, COMMITMENT]
    assert roles == ["scores"]  # no per-pair values, whose file also names operands
    assert splits == {"discovery", "private"}


def test_the_secret_is_in_no_output_log_or_file(runs):
    folder, found = runs
    shown = "".join(done.stdout + done.stderr for done in found.values()).encode()
    files = [path for path in (folder / "results").rglob("*") if path.is_file()]
    logs = b"".join(path.read_bytes() for path in files if path.suffix == ".log")
    assert b"ARITHLOC_CACHE" in logs and b"runner.worker" in logs  # the method did see its environment and arguments
    assert b"ARITHLOC_PRIVATE_SEED" not in logs
    for content in (shown, logs, *(path.read_bytes() for path in files)):
        for form in (SECRET.hex().encode(), SECRET, SECRET.hex()[:16].encode(), str(list(SECRET))[:24].encode()):
            assert form not in content
