"""Learned masks: the masked run is the circuit's, its gradient a slope, the samplers unbiased, and a needed part is kept."""

import dataclasses

import numpy as np
import pytest
import torch
from support import tiny
from support.random_pairs import CLASSES, random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Problem
from arithloc.benchmark.api.errors import BadOption, NoEffect
from arithloc.methods import hard_concrete
from arithloc.methods.hard_concrete import HardConcrete
from arithloc.methods.uniform_gradient_sampling import UniformGradientSampling

STEP = 1e-5


def problem(model, granularity, *, lengths=(6, 7), metric="logit_diff", seed=0):
    return Problem(
        model=model,
        pairs=random_pairs(model.shape.vocab, lengths, shots=1),
        space=ComponentSpace(granularity, model.shape),
        metric=metric,
        ablation=Ablation.COUNTERFACTUAL,
        seed=seed,
        rng=np.random.default_rng(seed),
    )


@pytest.mark.parametrize(
    ("family", "granularity", "classes", "ablation"),
    [
        ("qwen2", Granularity.LAYER, (), Ablation.COUNTERFACTUAL),
        ("gemma2", Granularity.NODE, CLASSES, Ablation.COUNTERFACTUAL),
        ("gpt2", Granularity.NEURON, (), Ablation.MEAN),
        ("qwen3", Granularity.EDGE, (), Ablation.COUNTERFACTUAL),
        ("gpt_neox", Granularity.EDGE, CLASSES, Ablation.MEAN),
    ],
)
def test_masks_of_zeros_and_ones_are_circuits_and_gradients_are_slopes(family, granularity, classes, ablation) -> None:
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (6, 7), shots=1)
    space = ComponentSpace(granularity, model.shape, classes)
    rng = np.random.default_rng(0)
    run = engine.MaskGradients(model, pairs, space, "logit_diff", ablation=ablation, reference=pairs)
    kept = rng.random((1, len(space))) < 0.6
    expected = engine.circuit_forward(model, pairs, space, kept, ablation, reference=pairs).metric("logit_diff")[0]
    np.testing.assert_allclose(run(kept[0].astype(float)).values, expected, rtol=0, atol=1e-9)
    mask, direction = rng.random(len(space)), rng.standard_normal(len(space))
    found = run(mask, [1])
    slope = (run(mask + STEP * direction, [1]).values - run(mask - STEP * direction, [1]).values) / (2 * STEP)
    assert found.gradient @ direction == pytest.approx(slope.mean(), rel=1e-6, abs=1e-8)
    with pytest.raises(BadOption, match="shares"):
        run(mask[:-1])


def test_uniform_shares_give_the_difference_between_keeping_and_ablating() -> None:
    """For one component at a time, the others being fixed: E[dL / d share] = L(1) - L(0), hence dE[L] / d probability."""
    model = tiny.subject("llama", dtype=torch.float64)
    question = problem(model, Granularity.LAYER, lengths=(6,))
    run = engine.MaskGradients(model, question.pairs, question.space, "kl")
    others = np.array([1.0, 0.0, 1.0, 1.0])

    def with_share(share):
        mask = others.copy()
        mask[1] = share
        return mask

    midpoints = (np.arange(40) + 0.5) / 40
    mean_slope = np.mean([run(with_share(share)).gradient[1] for share in midpoints])
    difference = float(run(with_share(1.0)).values[0] - run(with_share(0.0)).values[0])
    assert mean_slope == pytest.approx(difference, rel=1e-3)


def test_a_uniform_draw_estimates_the_gradient_of_a_linear_loss_without_bias() -> None:
    method, generator = UniformGradientSampling(uniform=0.25), torch.Generator().manual_seed(0)
    logits, weights = torch.tensor([0.0, 1.0, -2.0]).double(), torch.tensor([1.0, -2.0, 3.0]).double()
    draw = method.draw(logits.repeat(20000), generator)  # components are drawn independently
    found = draw.backward(weights.repeat(20000)).view(-1, 3).mean(0)
    probability = torch.sigmoid(logits)
    torch.testing.assert_close(found, weights * probability * (1 - probability), rtol=0.05, atol=0.0)
    torch.testing.assert_close(draw.mask.view(-1, 3).mean(0), 0.75 * probability + 0.25 * 0.5, rtol=0.03, atol=0.0)


def test_hard_concrete_gates_open_as_often_as_they_say() -> None:
    generator = torch.Generator().manual_seed(0)
    log_alpha = torch.tensor([-3.0, 0.0, 2.0]).double()
    gates = hard_concrete.draw_gates(log_alpha.repeat(20000), generator).mask.view(-1, 3)
    expected = hard_concrete.open_probability(log_alpha)
    torch.testing.assert_close((gates > 0).double().mean(0), expected, rtol=0, atol=0.01)
    # Louizos et al., equation 12, by hand for log alpha = 0: sigmoid(-2/3 log(0.1 / 1.1)) = sigmoid(1.598597)
    assert float(expected[1]) == pytest.approx(0.8318, abs=1e-4)
    assert ((gates == 0) | (gates == 1)).double().mean() > 0.3


@pytest.mark.parametrize("method", [HardConcrete, UniformGradientSampling])
def test_what_the_predictions_need_is_kept_and_what_does_nothing_is_dropped(method) -> None:
    model = tiny.subject("gpt2", dtype=torch.float64)
    for layer, head in ((0, 1), (1, 3)):  # these heads write nothing
        width = model.shape.d_head
        model.attention_output(layer).weight.data[head * width : (head + 1) * width] = 0
    question = problem(model, Granularity.NODE, lengths=(6,))
    found = method(steps=25, rate=0.3).localize(question).values
    assert (found > 0).all() and (found < 1).all()
    idle = [1, 8]
    assert set(idle) <= set(np.argsort(found)[:5].tolist())
    assert found.max() > 2 * found[idle].max()


@pytest.mark.parametrize("method", [HardConcrete(steps=2, batch=1), UniformGradientSampling(steps=2, batch=1)])
def test_a_seed_gives_one_mask_and_another_seed_another(method) -> None:
    question = problem(tiny.subject("llama"), Granularity.LAYER)
    found = method.localize(question).values
    assert np.array_equal(found, method.localize(question).values)
    assert not np.array_equal(found, method.localize(dataclasses.replace(question, seed=1)).values)


def test_what_cannot_be_trained_is_refused() -> None:
    model = tiny.subject("llama")
    question = problem(model, Granularity.NODE)
    with pytest.raises(BadOption, match="steps"):
        HardConcrete(steps=0).localize(question)
    with pytest.raises(BadOption, match="uniform"):
        UniformGradientSampling(uniform=0.0).localize(question)
    same = [dataclasses.replace(pair, counterfactual_ids=pair.clean_ids) for pair in question.pairs]
    with pytest.raises(NoEffect, match="divergence"):
        HardConcrete(steps=1).localize(dataclasses.replace(question, pairs=same))
