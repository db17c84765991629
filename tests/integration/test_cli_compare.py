"""`bench compare` on a database: who is found, what is paired, what is printed."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from support.results import ENVIRONMENT, SPEC, TASK, attempt, result

from arithloc.benchmark.api import Ablation
from arithloc.benchmark.cli.app import command
from arithloc.benchmark.cli.guard import guarded
from arithloc.benchmark.storage.keys import entry_id
from arithloc.benchmark.storage.records import Direction, RankingRule, ScoreRecord
from arithloc.benchmark.storage.repository import Repository

NOISE = np.random.default_rng(0).normal(0, 0.02, 500)


def spec(name, **changes):
    return replace(SPEC, method=replace(SPEC.method, name=name, options={}), **changes)


def measured(value, noise=NOISE, n_clusters=60, **sparsity):
    scores = [ScoreRecord("faithfulness_area", value, n_pairs=64, n_clusters=n_clusters)]
    replicates = {"faithfulness_area": value + noise}
    if sparsity:
        reached = sparsity["size"]
        scores.append(
            ScoreRecord(
                "sparsity", reached, n_pairs=64, n_clusters=n_clusters, ranking_rule=RankingRule.ABSOLUTE,
                direction=Direction.LOWER, reason="" if reached else "not-reached",
            )
        )  # fmt: skip
        replicates["sparsity"] = math.log(reached or 1.0) + noise
    return replace(result(), scores=tuple(scores), replicates=replicates)


@pytest.fixture
def database(tmp_path):
    file = tmp_path / "results.db"
    other = replace(TASK, name="subtraction")
    with Repository.open(file) as repository:
        for name, area, size, shift in (("good", 0.6, 0.02, 0), ("poor", 0.3, 0.08, 1), ("close", 0.59, None, 2)):
            noise = np.roll(NOISE, shift)
            repository.store(spec(name), attempt(), measured(area, noise, size=size), ENVIRONMENT)
        repository.store(spec("good", task=other), attempt(), measured(0.2), ENVIRONMENT)
        repository.store(spec("poor", task=other), attempt(), measured(0.2), ENVIRONMENT)
        for seed, area in ((0, 0.5), (1, 0.6), (2, 0.7)):
            zero = spec("seeds", seed=seed, ablation=Ablation.ZERO)
            repository.store(zero, attempt(), measured(area), ENVIRONMENT)
        repository.store(spec("good", ablation=Ablation.ZERO), attempt(), measured(0.6), ENVIRONMENT)
        repository.store(spec("odd"), attempt(), measured(0.5, n_clusters=59), ENVIRONMENT)
        several = spec("several")
        for version in ("1", "2"):
            cell = replace(several, method=replace(several.method, version=version))
            repository.store(cell, attempt(), measured(0.5), ENVIRONMENT)
    return file


def document(database, capsys, *arguments):
    code = guarded(command, ["compare", *arguments, "--db", str(database), "--json"])
    out = capsys.readouterr()
    return code, json.loads(out.out) if code == 0 else out.err


def test_each_common_cell_is_compared_and_the_family_corrected(database, capsys):
    code, found = document(database, capsys, "good", "poor")
    assert code == 0 and found["schema"] == 1 and found["a"]["entry_id"] == entry_id(spec("good").method)
    first, second = found["cells"]
    assert (first["task"], first["verdict"]) == ("addition[digits=2,frame=equals]", "better")
    assert first["difference"] == pytest.approx(0.3) and first["low"] < 0.3 < first["high"]
    # no replicate is below zero: p = 2 / 501, times two for two cells
    assert (first["p"], first["p_holm"]) == (pytest.approx(2 / 501), pytest.approx(4 / 501))
    assert first["clusters_needed"] < 60 and first["pairs_needed"] >= first["clusters_needed"]
    assert (second["difference"], second["p"], second["verdict"]) == (0.0, 1.0, "not separable at this n")
    code, found = document(database, capsys, "good", "poor", "--task", "addition")
    (only,) = found["cells"]
    assert only["p_holm"] == pytest.approx(2 / 501)


def test_close_entries_are_not_separated_and_the_table_says_what_it_takes(database, capsys):
    _, found = document(database, capsys, "close", "good")
    (cell,) = found["cells"]
    assert cell["verdict"] == "not separable at this n" and cell["clusters_needed"] > 60
    assert guarded(command, ["compare", "close", "good", "--db", str(database)]) == 0
    text = capsys.readouterr().out
    assert "a = close, b = good" in text and str(cell["clusters_needed"]) in text and "-0.010 [" in text


def test_the_table_names_once_what_all_cells_share(database, capsys):
    assert guarded(command, ["compare", "good", "poor", "--db", str(database)]) == 0
    head, shared, *table = capsys.readouterr().out.splitlines()
    assert head == "faithfulness_area: a = good, b = poor"
    assert shared == "on toy-a-base-1, node, counterfactual"
    assert not any("counterf" in line for line in table) and any("subtr" in line for line in table)


def test_sparsities_are_compared_as_ratios(database, capsys):
    _, found = document(database, capsys, "good", "poor", "--score", "sparsity")
    (cell,) = found["cells"]
    assert (cell["scale"], cell["difference"]) == ("ratio", pytest.approx(0.25))
    assert cell["verdict"] == "better" and cell["direction"] == "lower"  # smaller circuits are better
    _, found = document(database, capsys, "close", "poor", "--score", "sparsity")
    assert found["cells"][0]["a"] == 1.0  # never reached counts as the whole model


def test_seeds_are_averaged_and_their_spread_is_apart(database, capsys):
    _, found = document(database, capsys, "seeds", "good")
    (cell,) = found["cells"]
    assert (cell["a"], cell["a_seed_sd"], cell["b_seed_sd"]) == (pytest.approx(0.6), pytest.approx(0.1), None)
    assert cell["p"] == 1.0  # mean of the seeds' replicates: the noise is the same in all
    assert guarded(command, ["compare", "seeds", "good", "--db", str(database)]) == 0
    assert "spread of a over seeds, toy-a-base-1: sd 0.100" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["goud", "poor"], ["goud", "good"]),
        (["several", "poor"], ["Several entries", "several-"]),
        (["seeds", "poor"], ["no common cell", "seeds has addition, toy-a-base-1, node, zero"]),
        (["good", "poor", "--task", "division"], ["no common cell", "good has none that fits"]),
        (["good", "poor", "--score", "auroc"], ["replicates", "faithfulness_area, sparsity", "auroc"]),
        (["good", "odd"], ["same pairs"]),
    ],
)
def test_what_cannot_be_compared_is_said(database, capsys, arguments, words):
    assert guarded(command, ["compare", *arguments, "--db", str(database)]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words) and "Traceback" not in message
