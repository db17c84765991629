"""Gradients against central differences of full forwards."""

import math

import pytest
import torch
from support import reference, tiny
from support.random_pairs import random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api.errors import UnknownName
from arithloc.benchmark.engine import Site, SiteKind

STEP = 1e-6


def value(model, pair, metric, logits):
    fields = reference.readings_of(model, pair, logits)
    return {
        "logit_diff": fields["answer"] - fields["foil"],
        "logprob": fields["logprob_answer"],
        "prob": math.exp(fields["logprob_answer"]),
        "kl": fields["kl"],
    }[metric]


def slope(model, pair, site, direction, metric, base):
    """Directional derivative at one site of the run with `base` changes."""
    place = (site.kind.value, site.layer)

    def shifted(sign):
        def change(activation):
            moved = base[place](activation) if place in base else activation
            return moved + sign * STEP * direction

        return value(model, pair, metric, reference.run(model, pair.clean_ids, {**base, place: change})[1])

    return (shifted(1) - shifted(-1)) / (2 * STEP)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_gradient_of_every_kind_of_site(family):
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7), shots=1)
    sites = [Site(kind, 1) for kind in SiteKind]
    found = engine.gradients(model, pairs, sites)
    generator = torch.Generator().manual_seed(0)
    for i, pair in enumerate(pairs):
        for site in sites:
            gradient = found.ragged(site)[i].flatten(1)
            direction = torch.zeros(pair.n_tokens, gradient.shape[1], dtype=torch.float64)
            direction[1:] = torch.randn(direction[1:].shape, generator=generator, dtype=torch.float64)
            expected = slope(model, pair, site, direction, "logit_diff", {})
            assert float((gradient * direction[1:]).sum()) == pytest.approx(expected, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("metric", engine.DIFFERENTIABLE)
def test_metrics_and_indexed_sites(metric):
    model = tiny.subject("qwen2", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8,))
    site = Site(SiteKind.HEAD, 0, 2)
    found = engine.gradients(model, pairs, [site], metric, positions="operand1", steps=2)
    pair = pairs[0]
    clean, other = (reference.run(model, ids)[0]["residual", 0] for ids in (pair.clean_ids, pair.counterfactual_ids))
    rows = reference.touched(pair, "operand1")
    direction = torch.zeros(pair.n_tokens, 4 * model.shape.d_head, dtype=torch.float64)
    direction[rows, 2 * model.shape.d_head : 3 * model.shape.d_head] = 1
    total = 0.0
    for point in (other + 0.5 * (clean - other), clean):
        moved = {("residual", 0): lambda _, point=point: point}
        total += slope(model, pair, Site(SiteKind.HEAD, 0), direction, metric, moved) / 2
    assert float(found[site].sum()) == pytest.approx(total, abs=1e-6)


def test_path_through_the_activation_recovers_its_effect():
    """With many steps the integral along the site's own path is the effect of patching it."""
    model = tiny.subject("llama", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7))
    site = Site(SiteKind.MLP, 0)
    found = engine.gradients(model, pairs, [site], path="activations", steps=200)
    clean = engine.capture(model, pairs, [site], "clean", "all")
    other = engine.capture(model, pairs, [site], "counterfactual", "all")
    swept = engine.sweep(model, pairs, [site], run="clean", donor="counterfactual").metric("logit_diff")[0]
    effect = engine.read(model, pairs).metric("logit_diff") - swept
    for i in range(2):
        difference = clean.ragged(site)[i] - other.ragged(site)[i]
        assert float((found.ragged(site)[i] * difference).sum()) == pytest.approx(effect[i], rel=0.02)


def test_cost_and_wrong_metric():
    model = tiny.subject("llama")
    pairs = random_pairs(model.shape.vocab, (8,))
    with engine.Meter() as meter:
        engine.gradients(model, pairs, [Site(SiteKind.MLP, 0), Site(SiteKind.MLP, 1)], steps=5)
    assert meter.forward_equivalents == pytest.approx(2 + 5 * 3)
    with pytest.raises(UnknownName, match="accuracy"):
        engine.gradients(model, pairs, [Site(SiteKind.MLP, 0)], "accuracy")
