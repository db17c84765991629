"""Wrong input: one clear message, exit code 2, no traceback, and the database unharmed."""

import hashlib
import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from support import tiny

BENCH = Path(sys.executable).parent / "bench"
PLUGINS = Path(__file__).parents[1] / "support" / "evaluate_plugins.py"
SMALL = ("--model", "toy-a-base-1", "--limit", "4", "--granularity", "layer", "--method", "random")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a good database, and models that cannot be used."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "mine.py").write_text(PLUGINS.read_text())
    slow = tiny.folder(folder / "slow", "llama")
    (slow / "tokenizer.json").unlink()
    tiny.folder(folder, "llama")
    (folder / "text.db").write_text("this is no database\n")
    assert bench(folder, "evaluate", *SMALL).returncode == 0
    return folder


def bench(folder, *arguments):
    environment = {**os.environ, "ARITHLOC_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    environment.pop("ARITHLOC_DB", None)
    return subprocess.run(
        [str(BENCH), *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def digest(path):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        return hashlib.sha256("\n".join(database.iterdump()).encode()).hexdigest()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "--model", "smollm3"], ["smollm3"]),
        (["evaluate", *SMALL, "--method", "mine.py:NoInfo"], ["info", "localize"]),
        (["evaluate", *SMALL, "--method", "mine.py:Missing"], ["Missing"]),
        (["evaluate", *SMALL, "--method", "cna", "--option", "cna.mode=sideways"], ["cna.mode", "input", "sideways"]),
        (["evaluate", *SMALL, "--method", "cna", "--option", "cna.mod=input"], ["mod", "mode"]),
        (["evaluate", "--model", "slow/tiny-llama", "--task", "addition"], ["fast tokenizer"]),
        (["evaluate", "--model", "toy-a-base-1", "--task", "addition"], ["addition on toy-a-base-1"]),
        (["evaluate", "--model", "tiny-llama", "--task", "toy-arith"], ["toy-arith on tiny-llama"]),
        (["evaluate", *SMALL, "--task", "mine.py:Impossible"], ["Impossible", "Expected at least one valid pair"]),
        (["evaluate", *SMALL, "--db", "text.db"], ["text.db", "not a SQLite database"]),
        (["evaluate", *SMALL, "--db", "mysql://host/x"], ["mysql"]),
        (["evaluate", *SMALL, "--device", "cuda:99"], ["cuda"]),
        (["evaluate", "--method", "mediation", "--granularity", "neuron", "--model", "toy-a-base-1"], ["mediation", "layer, node"]),
        (["show", "zzzz"], ["hexadecimal"]),
        (["show", "0000000000000000"], ["0000000000000000"]),
        (["show", "--db", "nowhere.db"], ["nowhere.db", "bench evaluate"]),
        (["leaderboard", "--db", "nowhere.db"], ["nowhere.db", "bench evaluate"]),
        (["leaderboard", "--db", "text.db"], ["text.db"]),
        (["export", "out.xyz"], ["csv", "out.xyz"]),
        (["merge", "new.db", "nowhere.db"], ["nowhere.db"]),
        (["models", "build", "smollm3"], ["smollm3", "smollm2"]),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_clearly(place, arguments, words):
    database = place / "results" / "results.db"
    before, text = digest(database), (place / "text.db").read_text()
    done = bench(place, *arguments)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    for word in words:
        assert word in errors[0]
    assert digest(database) == before and (place / "text.db").read_text() == text


def test_good_commands_on_the_same_place(place):
    listed = bench(place, "list", "methods")
    assert listed.returncode == 0 and "mediation" in listed.stdout
    assert bench(place, "export", "out.csv").returncode == 0
    assert (place / "out.csv").read_text().count("faithfulness_area") >= 1
    assert bench(place, "merge", "merged.db", "results/results.db").stdout.startswith(
        "results/results.db: 1 cells added"
    )
    doctor = bench(place, "doctor", "--model", "toy-a-base-1")
    assert doctor.returncode == 0, doctor.stdout
    assert "1 ok" in doctor.stdout and "toy-a-base-1: gpt2, 2 layers" in doctor.stdout
    assert bench(place, "doctor", "--db", "text.db").returncode == 1
    module = subprocess.run(
        [sys.executable, "-m", "arithloc.benchmark", "list", "suites"], cwd=place, capture_output=True, text=True
    )
    assert module.returncode == 0 and "quick" in module.stdout


def test_the_leaderboard_starts_on_the_database_and_ends_with_its_process(place):
    with closing(socket.socket()) as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "ARITHLOC_DB": str(place / "results" / "results.db")}
    server = subprocess.Popen(
        [str(BENCH), "leaderboard", "--port", str(port)],
        cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while True:
            assert server.poll() is None, server.stdout.read()
            try:
                with urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=5) as answer:
                    assert answer.read() == b"ok"
                break
            except urllib.error.URLError:
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.1)
    finally:
        server.terminate()
        out, _ = server.communicate(timeout=30)
    assert "Traceback" not in out
