"""Relevance propagation: its rules conserve relevance, leave the forward pass alone and are what they say."""

import dataclasses

import numpy as np
import pytest
import torch
from support import reference, tiny
from support.random_pairs import random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Problem
from arithloc.benchmark.api.edges import edge_arrays, n_senders
from arithloc.benchmark.api.errors import UnsupportedArchitecture
from arithloc.benchmark.engine import NormParts, Site, SiteKind
from arithloc.methods.attribution_patching import AttributionPatching
from arithloc.methods.relp import RelP

WITHOUT_BIAS = ("llama", "mistral", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "olmo", "olmo2")


def problem(model, granularity, lengths=(6, 7)):
    return Problem(
        model=model,
        pairs=random_pairs(model.shape.vocab, lengths),
        space=ComponentSpace(granularity, model.shape),
        metric="logit_diff",
        ablation=Ablation.COUNTERFACTUAL,
        seed=0,
        rng=np.random.default_rng(0),
    )


@pytest.mark.parametrize("family", WITHOUT_BIAS)
def test_relevance_is_conserved_from_the_logits_to_the_embedding(family) -> None:
    """With constant attention a model without biases is linear in every residual stream, so coefficients times it add up."""
    softcap = {"final_logit_softcapping": None} if family == "gemma2" else {}
    model = tiny.subject(family, dtype=torch.float64, **softcap)
    (pair,) = random_pairs(model.shape.vocab, (6,))
    acts, logits = reference.run(model, pair.clean_ids)
    expected = float(logits[pair.answer_token] - logits[pair.foil_token])
    sites = [Site(SiteKind.RESIDUAL, layer) for layer in range(3)]
    with engine.relevance_rules(model, frozen_attention=True):
        assert torch.equal(reference._run(model, pair.clean_ids, {})[1], logits)
        coefficients = engine.gradients(model, [pair], sites)
    for site in sites:
        total = float((coefficients[site][0] * acts["residual", site.layer]).sum())
        assert total == pytest.approx(expected, rel=1e-9, abs=1e-9), site
    plain = engine.gradients(model, [pair], sites[:1])[sites[0]][0]
    assert abs(float((plain * acts["residual", 0]).sum()) - expected) > 1e-3


@pytest.mark.parametrize("family", ["gpt2", "gemma"])
def test_a_norm_with_its_scale_held(family) -> None:
    model = tiny.subject(family, dtype=torch.float64)
    norm, generator = model.input_norm(1), torch.Generator().manual_seed(0)
    x, other = torch.randn(2, 24, dtype=torch.float64, generator=generator)
    parts = NormParts.of(norm, x)
    inverse = parts.inverse_scale(x, norm(x))
    if family == "gpt2":
        scale = (x.var(unbiased=False) + norm.eps).sqrt()
        expected = norm.weight * (other - other.mean()) / scale + norm.bias
    else:
        expected = (1 + norm.weight) * other / (x.pow(2).mean() + norm.eps).sqrt()
    torch.testing.assert_close(parts.bias + inverse * parts.scaled(other), expected, rtol=1e-10, atol=1e-10)
    assert float(parts.adjoint(x) @ other) == pytest.approx(float(x @ parts.scaled(other)))


def test_each_factor_of_a_gate_receives_half_and_an_activation_its_ratio() -> None:
    model = tiny.subject("llama", dtype=torch.float64)
    mlp, generator = model.mlp(0), torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, 24, dtype=torch.float64, generator=generator)
    upstream = torch.randn(24, dtype=torch.float64, generator=generator)
    gate, up = mlp.gate_proj(x), mlp.up_proj(x)
    towards = upstream @ mlp.down_proj.weight / 2
    ratio = mlp.act_fn(gate) / gate
    expected = (towards * ratio * up) @ mlp.gate_proj.weight + (towards * ratio * gate) @ mlp.up_proj.weight
    with engine.relevance_rules(model):
        (found,) = torch.autograd.grad((mlp(x.requires_grad_()) * upstream).sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "qwen2"])
@pytest.mark.parametrize("attention", ["frozen", "gradient"])
def test_edges_of_a_sender_add_up_and_frozen_attention_has_no_queries_and_keys(family, attention) -> None:
    model = tiny.subject(family, dtype=torch.float64)
    question = problem(model, Granularity.EDGE)
    method = RelP(attention=attention)
    scores = method.localize(question).values
    sums = np.zeros(n_senders(model.shape))
    np.add.at(sums, edge_arrays(model.shape).sender, scores)
    nodes = method.localize(dataclasses.replace(question, space=ComponentSpace(Granularity.NODE, model.shape))).values
    np.testing.assert_allclose(sums[1:], nodes, rtol=0, atol=1e-10)
    into = {
        slot: [abs(v) for v, n in zip(scores, question.space.names, strict=True) if f"<{slot}>" in n] for slot in "qkv"
    }
    assert max(into["v"]) > 1e-3
    assert bool(max(into["q"] + into["k"]) == 0) is (attention == "frozen")


def test_it_differs_from_attribution_patching_and_leaves_no_hooks() -> None:
    model = tiny.subject("gpt2", dtype=torch.float64)
    question = problem(model, Granularity.NODE)
    before = AttributionPatching().localize(question).values
    found = RelP().localize(question).values
    assert np.abs(found - before).max() > 1e-3
    assert np.array_equal(AttributionPatching().localize(question).values, before)


def test_an_activation_function_that_is_no_module_is_refused() -> None:
    model = tiny.subject("llama")
    del model.mlp(1).act_fn
    with pytest.raises(UnsupportedArchitecture, match="activation function"), engine.relevance_rules(model):
        pass
    assert not model.final_norm._forward_hooks
