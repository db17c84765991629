"""lm-eval's own command line on our task files gives the accuracy that `bench accuracy` stores."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support import tiny, tiny_tokenizers

BIN = Path(sys.executable).parent
TASKS = ("modulo", "division")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm-eval")
    model = tiny.folder(folder, "llama", tokenizer=tiny_tokenizers.numbers(), seed=1)

    def run(program, *arguments):
        environment = {**os.environ, "HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        environment["ARITHLOC_CACHE"] = str(folder / "cache")
        done = subprocess.run(
            [str(BIN / program), *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return folder, model, run


def test_the_command_lines_agree(place):
    folder, model, run = place
    include = run("bench", "tasks", "lm-eval-path").strip()
    names = [f"arithloc_{task}" for task in TASKS]
    arguments = ["--model", "hf", "--model_args", f"pretrained={model}", "--device", "cpu", "--batch_size", "8"]
    run("lm_eval", "run", *arguments, "--tasks", ",".join(names), "--include_path", include, "--output_path", "out")
    (file,) = (folder / "out").rglob("results_*.json")
    theirs = json.loads(file.read_text())["results"]
    asked = [word for task in TASKS for word in ("--task", task)]
    document = json.loads(run("bench", "accuracy", "--model", str(model), *asked, "--device", "cpu", "--json"))
    with closing(sqlite3.connect(folder / "results" / "results.db")) as opened:
        query = "SELECT t.name, a.acc, a.exact_match, a.n_pairs FROM accuracy a JOIN task t USING (task_id)"
        stored = {name: rest for name, *rest in opened.execute(query)}
    assert stored.keys() == set(TASKS) and len(document["accuracies"]) == 2
    for task, name in zip(TASKS, names, strict=True):
        assert stored[task][:2] == pytest.approx(
            [theirs[name]["acc,none"], theirs[name]["exact_match,none"]], abs=1e-12
        )
    assert 0 < stored["modulo"][0] < 1 and stored["modulo"][2] == 200
