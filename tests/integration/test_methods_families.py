"""Every registered method on a tiny model of every architecture family: it scores, or refuses the family by name."""

import dataclasses

import numpy as np
import pytest
from support import tiny
from support.random_pairs import random_pairs

from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Problem
from arithloc.benchmark.api.errors import UnsupportedArchitecture
from arithloc.benchmark.api.registry import OWN, methods

CHEAP = {
    "acdc": {"thresholds": (0.1,)},
    "hard-concrete": {"steps": 2},
    "uniform-gradient-sampling": {"steps": 2, "uniform": 0.9},
    "integrated-gradients": {"steps": 2},
    "eap-ig": {"steps": 2},
    "eap-ig-activations": {"steps": 2},
}
NO_QUESTION = ("imported", "subtask-search", "useful-nodes", "cot-copy-attention", "cot-patch")
"""Methods whose scores come from elsewhere, that read the questions of toy models alone, prompts that hold the answer, or
answers that are right."""
REFUSED = {
    Granularity.EDGE: (
        {"gemma2", "gemma3_text", "olmo2"},
        set(methods.names()) - {"random"},
    ),
    Granularity.NEURON: ({"gemma2", "gemma3_text", "olmo2"}, {"cna"}),
}


def question(model, granularity):
    return Problem(
        model=model,
        pairs=random_pairs(model.shape.vocab, (6,)),
        space=ComponentSpace(granularity, model.shape),
        metric="logit_diff",
        ablation=Ablation.COUNTERFACTUAL,
        seed=0,
        rng=np.random.default_rng(0),
    )


def own():
    return [plugin for plugin in methods.all() if plugin.distribution == OWN and plugin.name not in NO_QUESTION]


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_method_scores_every_granularity_or_refuses_the_family_by_name(family) -> None:
    model = tiny.subject(family)
    shallow = tiny.subject(family, layers=1)
    for plugin in own():
        method = plugin.target(**CHEAP.get(plugin.name, {}))
        for granularity in sorted(map(Granularity, method.info.granularities)):
            # two blocks have ten times the edges of one
            asked = question(shallow if granularity is Granularity.EDGE else model, granularity)
            families, names = REFUSED.get(granularity, (set(), set()))
            if family in families and plugin.name in names:
                with pytest.raises(UnsupportedArchitecture, match=family):
                    method.localize(asked)
                continue
            scores = method.localize(asked)
            assert scores.space == asked.space and np.isfinite(scores.values).all(), (plugin.name, granularity)
            assert np.ptp(scores.values) > 0, (plugin.name, granularity)


def test_every_method_repeats_itself() -> None:
    model = tiny.subject("qwen2")
    for plugin in own():
        method = plugin.target(**CHEAP.get(plugin.name, {}))
        granularity = min(map(Granularity, method.info.granularities), key=["node", "neuron", "edge", "layer"].index)
        asked = question(model, granularity)
        again = dataclasses.replace(asked, rng=np.random.default_rng(0))
        assert np.array_equal(method.localize(asked).values, method.localize(again).values), plugin.name


def test_every_method_says_what_it_needs_and_what_it_costs() -> None:
    for plugin in own():
        info = plugin.target.info
        assert info.name == plugin.name
        assert info.access in ("none", "weights", "forward", "gradient", "training")
        assert info.cost in ("none", "constant", "layers", "components", "training")
        assert info.reference or plugin.name in ("random", "activation-norm", "weight-norm")
