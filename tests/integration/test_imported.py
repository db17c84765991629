"""Scores from a file, measured on a toy: the same numbers as the method that they came from, and clear refusals."""

import json

import numpy as np
import pytest

from arithloc.benchmark.api.registry import methods
from arithloc.benchmark.cli.app import command
from arithloc.benchmark.cli.guard import guarded
from arithloc.benchmark.storage.components import component_scores
from arithloc.benchmark.storage.queries import CellFilter
from arithloc.benchmark.storage.repository import Repository

COMMON = ("--model", "toy-a-base-1", "--task", "toy-arith", "--limit", "6", "--executor", "serial", "--device", "cpu")


def bench(*arguments):
    return guarded(command, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A database with one cell of a built-in method, and its scores as CSV and as circuit file."""
    folder = tmp_path_factory.mktemp("imported")
    db = folder / "results.db"
    assert bench("evaluate", *COMMON, "--method", "mediation", "--granularity", "node", "--db", db) == 0
    with Repository.open(db, read_only=True) as repository:
        (cell,) = repository.cells()
    for name in ("scores.csv", "scores.json"):
        assert bench("export", folder / name, "--cell", cell.key[:10], "--db", db) == 0
    return folder, cell


@pytest.mark.parametrize("name", ["scores.csv", "scores.json"])
def test_exported_scores_give_the_same_numbers_when_they_are_imported(original, name, capsys):
    folder, cell = original
    db = folder / "results.db"
    command_line = ("evaluate", *COMMON, "--scores", folder / name, "--db", db)
    assert bench(*command_line, "--option", f"imported.label=mine {name}") == 0
    with Repository.open(db, read_only=True) as repository:
        (again,) = [c for c in repository.cells(CellFilter(methods=["imported"])) if name in c.title]
        same = component_scores(repository, again.key).values == component_scores(repository, cell.key).values
        view = repository.show(again.key)
    assert same.all() and again.title == f"mine {name} (imported)" and again.granularity == "node"
    for score in ("faithfulness_area", "sparsity", "cmd", "auroc"):
        assert again.scores[score].value == cell.scores[score].value
    # the entry is the content of the file, not its place
    options = view.entry["options"]
    assert options["file"] == name and len(options["sha256"]) == 64 and str(folder) not in json.dumps(options)


def test_another_content_is_another_cell_and_a_changed_one_is_refused(original, tmp_path):
    folder, _ = original
    text = (folder / "scores.csv").read_text()
    mine = tmp_path / "mine.csv"
    keys = set()
    for content in (text, text.replace("m0,", "m0,1")):
        mine.write_text(content)
        assert bench("evaluate", *COMMON, "--scores", mine, "--db", tmp_path / "one.db") == 0
        with Repository.open(tmp_path / "one.db", read_only=True) as repository:
            keys |= {cell.key for cell in repository.cells()}
    assert len(keys) == 2
    changed = methods.get("imported").target
    with pytest.raises(ValueError, match=r"expected mine\.csv with SHA-256 aaaaaaaaaaaa, found"):
        changed(file=str(mine), sha256="a" * 64)


def test_incomplete_files(original, tmp_path, capsys):
    folder, _ = original
    lines = (folder / "scores.csv").read_text().splitlines()
    part = tmp_path / "part.csv"
    part.write_text("\n".join([lines[0], *lines[2:]]) + "\n")
    db = tmp_path / "results.db"
    assert bench("evaluate", *COMMON, "--scores", part, "--db", db) == 1
    assert "found none for a0.h0" in " ".join(capsys.readouterr().out.split())
    assert bench("evaluate", *COMMON, "--scores", part, "--db", db, "--option", "imported.missing=zero") == 0
    with Repository.open(db, read_only=True) as repository:
        (done,) = [c for c in repository.cells() if c.status == "ok"]
        values = component_scores(repository, done.key).values
    assert values[0] == 0 and np.count_nonzero(values) >= 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "--scores", "{folder}/scores.csv"], "Expected --model with --scores"),
        (["evaluate", *COMMON, "--scores", "nothing.csv"], "found none"),
        (["export", "{folder}/x.csv", "--cell", "0123456789", "--db", "{folder}/results.db"], "No cell is called"),
        (
            ["export", "{folder}/x.db", "--cell", "{key}", "--db", "{folder}/results.db"],
            "csv, parquet, mib with --cell",
        ),
    ],
)
def test_wrong_use(original, arguments, words, capsys):
    folder, cell = original
    filled = [text.format(folder=folder, key=cell.key) for text in arguments]
    assert bench(*filled) == 2
    assert words in " ".join(capsys.readouterr().err.split())
