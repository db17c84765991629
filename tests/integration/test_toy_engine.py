"""The engine and the audit's own forward pass agree on compiled circuits, and causal methods find them."""

import numpy as np
import pytest

from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Problem, Split
from arithloc.benchmark.engine import circuit_forward, sites_of, sweep
from arithloc.benchmark.metrics.ground_truth import auroc
from arithloc.benchmark.metrics.truth import truth_of
from arithloc.benchmark.metrics.truth_document import read_truth_document
from arithloc.benchmark.models.loading import load
from arithloc.methods.mediation import Mediation
from arithloc.tasks.toy.interchange import output, replaced
from arithloc.tasks.toy.models import SOURCES
from arithloc.tasks.toy.questions import ToyArith
from arithloc.tasks.toy.subject import Subject

BY_NAME = {source.name: source for source in SOURCES}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def loaded(name, cache, count):
    source = BY_NAME[name]
    folder = source.folder(cache)
    model = load(str(folder), dtype="float64")
    pairs = ToyArith().pairs(model.tokenizer, Split.DISCOVERY, count, seed=0)
    space = ComponentSpace(Granularity.NODE, model.shape)
    return folder, model, pairs, space, truth_of(read_truth_document(source.truth()), space)


@pytest.mark.parametrize("name", ["toy-a-base-2", "toy-a-stress-5"])
def test_patching_every_node_gives_the_flips_of_the_plain_forward(name, cache):
    folder, model, pairs, space, _ = loaded(name, cache, 24)
    readings = sweep(model, pairs, space, run="clean", donor="counterfactual")
    network = Subject.load(folder).network
    assert len(sites_of(space)) == len(space)
    flips = np.zeros(len(space))
    for column, pair in enumerate(pairs):
        clean = network.run(np.array([pair.clean_ids]))
        donor = network.run(np.array([pair.counterfactual_ids]))
        for row, node in enumerate(space.names):
            logits = network.run(np.array([pair.clean_ids]), replaced({node: output(donor, node)}), clean).logits[0, -1]
            flips[row] += logits.argmax() != pair.answer_token
            assert readings.answer[row, column] == pytest.approx(logits[pair.answer_token], abs=1e-6)
            assert readings.foil[row, column] == pytest.approx(logits[pair.foil_token], abs=1e-6)
            assert readings.top[row, column] == logits.argmax()
    assert flips.max() > 6 and (flips == 0).any()


@pytest.mark.parametrize("name", ["toy-a-base-1", "toy-a-base-3"])
def test_the_true_circuit_alone_does_all_the_work(name, cache):
    _, model, pairs, space, truth = loaded(name, cache, 64)
    kept = np.stack([np.ones(len(space), dtype=bool), truth.positive, ~truth.positive])
    readings = circuit_forward(model, pairs, space, kept, Ablation.COUNTERFACTUAL)
    full, circuit, rest = readings.metric("logit_diff")
    assert np.abs(circuit - full).max() < 0.01 and full.min() > 10
    # without the circuit the model gives the counterfactual answer
    assert rest.max() < -10


@pytest.mark.parametrize("name", ["toy-a-base-1", "toy-a-base-2"])
def test_mediation_finds_the_circuit(name, cache):
    _, model, pairs, space, truth = loaded(name, cache, 64)
    rng = np.random.default_rng(0)
    scores = Mediation().localize(Problem(model, pairs, space, "logit_diff", Ablation.COUNTERFACTUAL, 0, rng))
    assert auroc(np.abs(scores.values)[truth.universe], truth.positive[truth.universe]) == 1.0
