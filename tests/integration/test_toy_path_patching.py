"""Path patching on compiled circuits: what its definition says it must find there, and nothing else."""

import numpy as np
import pytest

from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Problem, Split
from arithloc.benchmark.metrics.ground_truth import auroc
from arithloc.benchmark.models.loading import load
from arithloc.methods.path_patching import PathPatching
from arithloc.tasks.toy.models import SOURCES
from arithloc.tasks.toy.questions import ToyArith

BY_NAME = {source.name: source for source in SOURCES}


@pytest.fixture(scope="module", params=["toy-a-base-1", "toy-a-base-3"])
def toy(request, tmp_path_factory):
    source = BY_NAME[request.param]
    model = load(str(source.folder(tmp_path_factory.mktemp("cache"))), dtype="float64")
    return model, ToyArith().pairs(model.tokenizer, Split.DISCOVERY, 64, seed=0), source.truth()


def senders_to(document, receivers):
    return {edge["sender"] for edge in document["edges"] if edge["label"] == "in" and edge["receiver"] in receivers}


@pytest.mark.parametrize("frozen", ["all", "heads"])
def test_it_separates_the_proven_senders_of_direct_paths_from_all_other_nodes(toy, frozen):
    model, pairs, document = toy
    space = ComponentSpace(Granularity.NODE, model.shape)
    problem = Problem(model, pairs, space, "logit_diff", Ablation.COUNTERFACTUAL, 0, np.random.default_rng(0))
    found = np.abs(PathPatching(frozen=frozen).localize(problem).values)
    # with everything frozen a node reaches the logits by an edge of its own; MLPs that recompute pass changes on
    writers = senders_to(document, {"logits"})
    expected = writers if frozen == "all" else writers | senders_to(document, writers)
    direct = np.array([name in expected for name in space.names])
    assert len(writers) == 1 and direct.sum() == {"all": 1, "heads": len(expected - {"input"})}[frozen]
    assert auroc(found, direct) == 1.0
    assert found[direct].min() > 1 and found[~direct].max() < 1e-3
