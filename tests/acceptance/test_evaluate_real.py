"""One real cell through the installed command: a pretrained model, pairs that it answers, a method against the null."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(sys.executable).parent / "bench"


@pytest.mark.real_model
def test_mediation_beats_the_null_on_a_pretrained_model(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            BENCH, "evaluate", "--json", "--model", "smollm2", "--task", "addition[shots=1]", "--granularity", "layer",
            "--method", "mediation", "--method", "random", "--limit", "8", "--db", tmp_path / "results.db",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cells = {cell["method"]: cell for cell in json.loads(done.stdout)["cells"]}
    assert {name: cell["status"] for name, cell in cells.items()} == {"mediation": "ok", "random": "ok"}
    scores = {name: cell["scores"] for name, cell in cells.items()}
    assert (
        scores["mediation"]["accuracy_full"]["value"] == 1.0
    )  # only pairs that the model answers correctly are scored
    assert scores["mediation"]["metric_full"]["value"] > 0 > scores["mediation"]["metric_empty"]["value"]
    area = {name: values["faithfulness_area"] for name, values in scores.items()}
    assert 0 <= area["random"]["value"] < area["mediation"]["low"] <= area["mediation"]["value"] <= 1
