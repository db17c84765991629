"""Weight norm and direct logit attribution against sums that they must give."""

import dataclasses

import numpy as np
import pytest
import torch
from support import reference, tiny
from support.random_pairs import CLASSES, random_pairs

from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Problem
from arithloc.benchmark.api.errors import BadOption
from arithloc.methods.direct_logit_attribution import DirectLogitAttribution
from arithloc.methods.weight_norm import WeightNorm


def problem(model, granularity, classes=(), lengths=(7,)):
    return Problem(
        model=model,
        pairs=random_pairs(model.shape.vocab, lengths),
        space=ComponentSpace(granularity, model.shape, classes),
        metric="logit_diff",
        ablation=Ablation.COUNTERFACTUAL,
        seed=0,
        rng=np.random.default_rng(0),
    )


def frozen(model, x, final):
    """Logits (before a soft-cap) of a part x of the last residual stream, the final norm's scale held, its bias left out."""
    norm = model.final_norm
    if isinstance(norm, torch.nn.LayerNorm):
        normed = norm.weight * (x - x.mean()) / (final.var(unbiased=False) + norm.eps).sqrt()
    else:
        plain = x / (final.pow(2).mean() + norm.eps).sqrt()
        normed = plain * (1 + norm.weight)
    return model.unembedding.weight @ normed


@pytest.mark.parametrize("family", ["gpt2", "gptj", "gemma", "gemma2"])
def test_writes_add_up_to_the_logit_difference(family) -> None:
    model = (
        tiny.subject(family, dtype=torch.float64, final_logit_softcapping=None)
        if family == "gemma2"
        else tiny.subject(family, dtype=torch.float64)
    )
    question = problem(model, Granularity.LAYER)
    (pair,) = question.pairs
    acts, logits = reference.run(model, pair.clean_ids)
    final, layers = acts["residual", 2][-1], range(2)

    def difference(values):
        return float(values[pair.answer_token] - values[pair.foil_token])

    by_block = DirectLogitAttribution().localize(question).values.reshape(2, 2)
    start = difference(frozen(model, acts["residual", 0][-1], final))
    constant = difference(logits) - difference(frozen(model, final, final))
    bias = model.final_norm.bias if isinstance(model.final_norm, torch.nn.LayerNorm) else None
    if bias is None:
        assert constant == pytest.approx(0, abs=1e-9)
    assert by_block.sum() + start + constant == pytest.approx(difference(logits), abs=1e-9)
    for layer in layers:
        assert by_block[layer, 1] == pytest.approx(difference(frozen(model, acts["mlp", layer][-1], final)), abs=1e-9)

    nodes = DirectLogitAttribution().localize(problem(model, Granularity.NODE)).values.reshape(2, 5)
    units = DirectLogitAttribution().localize(problem(model, Granularity.NEURON)).values.reshape(2, -1)
    for layer in layers:
        output, down = model.attention_output(layer).bias, model.mlp_down(layer).bias
        of_bias = [0.0 if b is None else difference(frozen(model, b, final)) for b in (output, down)]
        assert nodes[layer, :-1].sum() + of_bias[0] == pytest.approx(by_block[layer, 0], abs=1e-9)
        assert units[layer].sum() + of_bias[1] == pytest.approx(by_block[layer, 1], abs=1e-9)


def test_only_the_last_class_writes_directly() -> None:
    model = tiny.subject("llama", dtype=torch.float64)
    plain = DirectLogitAttribution().localize(problem(model, Granularity.NODE)).values
    found = (
        DirectLogitAttribution().localize(problem(model, Granularity.NODE, CLASSES)).values.reshape(-1, len(CLASSES))
    )
    assert np.array_equal(found[:, -1], plain) and not found[:, :-1].any()


def test_a_metric_that_is_not_linear_is_refused() -> None:
    question = problem(tiny.subject("llama"), Granularity.NODE)
    with pytest.raises(BadOption, match="linear"):
        DirectLogitAttribution().localize(dataclasses.replace(question, metric="prob"))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_weight_norm_is_frobenius(family) -> None:
    model = tiny.subject(family)
    output, down = model.attention_output(1).weight.double(), model.mlp_down(1).weight.double()
    output, down = (output, down) if family == "gpt2" else (output.T, down.T)
    d_head = model.shape.d_head
    nodes = WeightNorm().localize(problem(model, Granularity.NODE)).values.reshape(2, 5)
    assert nodes[1, 2] == pytest.approx(float(output[2 * d_head : 3 * d_head].pow(2).sum().sqrt()), rel=1e-6)
    assert nodes[1, 4] == pytest.approx(float(down.pow(2).sum().sqrt()), rel=1e-6)
    blocks = WeightNorm().localize(problem(model, Granularity.LAYER)).values.reshape(2, 2)
    assert blocks[1, 0] ** 2 == pytest.approx((nodes[1, :4] ** 2).sum())
    units = WeightNorm().localize(problem(model, Granularity.NEURON, CLASSES)).values.reshape(2, -1, len(CLASSES))
    assert units[1, 5] == pytest.approx(np.full(len(CLASSES), float(down[5].norm())), rel=1e-6)
