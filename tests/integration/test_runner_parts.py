"""Parts of the runner on real modules: the check of a model's integrity, the oracle row, provenance."""

import os
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from arithloc.benchmark import engine, models
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Scores, Split, data_hash
from arithloc.benchmark.api.errors import MethodError
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.registry import model_sources, tasks
from arithloc.benchmark.metrics.size import prune
from arithloc.benchmark.runner.choices import instantiate
from arithloc.benchmark.runner.integrity import Fingerprint
from arithloc.benchmark.runner.job import Effort, Job
from arithloc.benchmark.runner.oracle import oracle_scores
from arithloc.benchmark.runner.pairs import PairSet
from arithloc.benchmark.runner.provenance import environment, packages
from arithloc.benchmark.runner.truth import roc_points, truth_for


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Dropout(0.1)).eval().requires_grad_(False)


def test_an_unchanged_module_keeps_its_fingerprint():
    module = network()
    before = Fingerprint.of(module)
    module(torch.ones(2, 4))
    assert Fingerprint.of(module) == before == Fingerprint.of(network())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_any_change_of_weights_hooks_or_mode_shows(dtype):
    def nudge(module):
        module[0].weight.data[1, 2] *= 1.01

    def swap(module):
        module[0].weight.data = module[0].weight.data[[1, 0, 2]]

    def swap_in_vector(module):
        module[0].bias.data = module[0].bias.data[[1, 0, 2]]

    changes = (
        nudge, swap, swap_in_vector,
        lambda m: m.train(),
        lambda m: m.requires_grad_(True),
        lambda m: m[0].register_forward_hook(lambda *a: None),
        lambda m: m[1].register_forward_pre_hook(lambda *a: None),
        lambda m: m[0].register_full_backward_hook(lambda *a: None),
        lambda m: m.register_buffer("extra", torch.ones(1)),
    )  # fmt: skip
    for change in changes:
        module = network().to(dtype)
        before = Fingerprint.of(module)
        change(module)
        assert Fingerprint.of(module) != before, change


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return models.load("toy-a-base-1", cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def pairs(toy):
    _, task = instantiate(tasks, Reference("toy-arith"))
    drawn = [tuple(task.pairs(toy.tokenizer, split, 16, 0)) for split in (Split.DISCOVERY, Split.TEST)]
    return PairSet(*drawn, *map(data_hash, drawn), 16, 16)


def job(model="toy-a-base-1"):
    return Job("0" * 64, Reference("oracle"), Reference("toy-arith"), model, "float32", Granularity.NODE,
               Ablation.COUNTERFACTUAL, "logit_diff", 0, Effort(16, 16, 10, 4), "a" * 64, "b" * 64)  # fmt: skip


def test_the_oracle_ranks_the_proven_circuit_first_in_its_best_order(toy, pairs):
    space = ComponentSpace(Granularity.NODE, toy.shape)
    truth = truth_for("toy-a-base-1", space)
    steps = []
    scores = oracle_scores(job(), toy, pairs, space, truth, lambda done, total: steps.append((done, total)))
    document = model_sources()["toy-a-base-1"].truth()
    inside = {node["id"] for node in document["nodes"] if node["label"] == "in"}
    order = np.argsort(-scores.values)
    assert {space.names[i] for i in order[: len(inside)]} == inside
    assert len(set(scores.values[order[: len(inside)]])) == len(inside)
    assert (scores.values[order[len(inside) :]] <= 0.5).all()
    assert steps[-1] == (len(inside), len(inside))

    # the component ranked last is the one without which the others recover most, by one plain run each
    members = np.flatnonzero(scores.values >= 1)
    without = np.zeros((len(members), len(space)), dtype=np.bool_)
    without[:, members] = True
    without[np.arange(len(members)), members] = False
    ends = np.stack([np.ones(len(space), dtype=np.bool_), np.zeros(len(space), dtype=np.bool_)])
    values = engine.circuit_forward(
        toy, pairs.discovery, space, np.concatenate([prune(space, without), ends]), Ablation.COUNTERFACTUAL
    ).metric("logit_diff").mean(axis=1)  # fmt: skip
    f = (values[:-2] - values[-1]) / (values[-2] - values[-1])
    closeness = 1 - np.minimum(np.abs(1 - f), 1)
    last = int(members[np.argmin(scores.values[members])])
    assert closeness[list(members).index(last)] == pytest.approx(closeness.max(), abs=1e-6)


def test_the_oracle_needs_a_known_circuit(toy, pairs):
    space = ComponentSpace(Granularity.LAYER, toy.shape)
    assert truth_for("toy-a-base-1", space) is None and truth_for("nothing-known", space) is None
    with pytest.raises(MethodError, match="known circuit"):
        oracle_scores(job("nothing-known"), toy, pairs, space, None, lambda done, total: None)


def test_the_roc_curve_has_one_point_per_distinct_score(toy):
    space = ComponentSpace(Granularity.NODE, toy.shape)
    truth = truth_for("toy-a-base-1", space)
    n, positives = int(truth.universe.sum()), int(truth.positive.sum())
    values = np.where(truth.positive, -2.0, 1.0)  # ranked by absolute score: all positives first, then all others
    first, last = roc_points(Scores.of(space, values), truth)
    assert (first.tpr, first.fpr, first.precision, first.recall, first.n) == (1.0, 0.0, 1.0, 1.0, positives)
    assert (last.tpr, last.fpr, last.n) == (1.0, 1.0, n) and last.precision == pytest.approx(positives / n)
    (tied,) = roc_points(Scores.of(space, np.ones(len(space))), truth)
    assert (tied.tpr, tied.fpr, tied.n) == (1.0, 1.0, n)


def test_the_environment_names_versions_and_no_person_or_host():
    found = environment()
    assert found.packages["torch"] == torch.__version__ and found.packages["numpy"] == np.__version__
    assert {"arithloc", "transformers"} <= set(packages())
    text = str(found)
    assert socket.gethostname() not in text and str(Path.home()) not in text and "/" not in found.os
    assert os.environ.get("USER", "no user") not in text.split()
    root = Path(__file__).parents[2]
    if (root / ".git").exists():
        head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        assert found.code_commit == head.stdout.strip()
    assert found.determinism["threads"] == torch.get_num_threads()
