"""Useful nodes: the replacement is each layer's own mean, and the map of a compiled circuit is its circuit."""

import numpy as np
import pytest
import torch
from support import tiny
from support.random_pairs import random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Problem, Split, TooFewPairs
from arithloc.benchmark.engine import Intervention, Site, SiteKind
from arithloc.benchmark.models.loading import load
from arithloc.methods.useful_nodes import UsefulNodes
from arithloc.tasks.toy.models import SOURCES
from arithloc.tasks.toy.questions import ToyArith

SOURCE = SOURCES[0]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    model = load(str(SOURCE.folder(tmp_path_factory.mktemp("cache"))), dtype="float64")
    return model, ToyArith().pairs(model.tokenizer, Split.DISCOVERY, 60, seed=0)


def problem(model, pairs, classes=(), metric="logit_diff"):
    space = ComponentSpace(Granularity.NODE, model.shape, classes)
    return Problem(model, pairs, space, metric, Ablation.COUNTERFACTUAL, 0, np.random.default_rng(0))


def test_every_layer_is_replaced_by_its_own_mean():
    model = tiny.subject("gpt2", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (7, 7, 7))
    classes = tuple(dict.fromkeys(pairs[0].classes))
    found = UsefulNodes(effect="metric").localize(problem(model, pairs, classes))
    clean = engine.read(model, pairs).metric("logit_diff")
    means = []
    for layer in range(2):
        site = Site(SiteKind.MLP, layer)
        seen = engine.capture(model, pairs, [site], run="counterfactual", positions="all")
        mean = seen[site].mean(0)
        means.append(mean)
        for cls in classes:
            at = [t for t, c in enumerate(pairs[0].classes) if c == cls]
            changes = [Intervention(site, mean[t].expand(3, -1), [t]) for t in at]
            patched = engine.patch(model, pairs, changes).metric("logit_diff")
            name = f"m{layer}@{cls}"
            assert found.values[found.space.names.index(name)] == pytest.approx(
                np.abs(patched - clean).mean(), abs=1e-9
            )
    assert (means[0] - means[1]).abs().max() > 0.01


def test_the_map_of_a_compiled_circuit_is_its_circuit(toy):
    model, pairs = toy
    classes = tuple(p["class"] for p in SOURCE.truth()["format"]["positions"])
    found = UsefulNodes().localize(problem(model, pairs, classes))
    proven = {
        f"{node['id']}@{cls}"
        for node in SOURCE.truth()["nodes"]
        for cls, label in node["classes"].items()
        if label == "in"
    }
    useful = {name for name, value in zip(found.space.names, found.values, strict=True) if value > 0}
    assert useful <= proven and {name.split("@")[0] for name in useful} == {name.split("@")[0] for name in proven}
    assert 0 < found.values.max() <= 1


def test_without_classes_a_node_gets_its_best_class(toy):
    model, pairs = toy
    classes = tuple(dict.fromkeys(c for p in pairs for c in p.classes))
    by_class = UsefulNodes().localize(problem(model, pairs, classes)).values.reshape(-1, len(classes))
    assert UsefulNodes().localize(problem(model, pairs)).values.tolist() == by_class.max(-1).tolist()


def test_a_model_that_is_never_right_is_refused():
    model = tiny.subject("gpt2", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (7,))
    readings = engine.read(model, pairs)
    assert readings.clean_top[0] != readings.answer_token[0]
    with pytest.raises(TooFewPairs, match="effect=metric"):
        UsefulNodes().localize(problem(model, pairs))
