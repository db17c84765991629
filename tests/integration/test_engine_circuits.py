"""`circuit_forward` against hooks that ablate one site after the other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference, tiny
from support.random_pairs import CLASSES, random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, TooFewPairs
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.engine.donors import ResampleSource

DTYPES = (torch.float64, torch.float32)


def outside(space, circuit):
    """(kind, layer, index) -> classes at which it is ablated; the input only in the empty circuit."""
    s, out = space.shape, {}
    classes = space.classes or ("all",)
    grid = circuit.reshape(*space.grid_shape).reshape(s.n_layers, -1, len(classes))
    if space.granularity is not Granularity.NEURON and not circuit.any():
        out["residual", 0, None] = set(classes)
    for layer, column, cls in zip(*np.nonzero(~grid), strict=True):
        if space.granularity is Granularity.NEURON:
            key = [("hidden", layer, column)]
        elif column == grid.shape[1] - 1:
            key = [("mlp", layer, None)]
        elif space.granularity is Granularity.LAYER:
            key = [("head", layer, h) for h in range(s.n_heads)]
        else:
            key = [("head", layer, column)]
        for k in key:
            out.setdefault((k[0], int(k[1]), None if k[2] is None else int(k[2])), set()).add(classes[cls])
    return out


def donor_of(model, pair, ablation, others, pairs):
    match ablation:
        case Ablation.COUNTERFACTUAL:
            return reference.run(model, pair.counterfactual_ids)[0]
        case Ablation.MEAN:
            return reference.mean_activations(model, pair, others)
        case Ablation.RESAMPLE:
            partner = ResampleSource(model, others, 4).partner(pair)
            assert partner.classes == pair.classes
            return reference.run(model, partner.counterfactual_ids)[0]
    return {place: 0 * value for place, value in reference.run(model, pair.clean_ids)[0].items()}


def compare(model, space, ablation, dtype, *, rows=5, seed=0, lengths=(8, 7, 8)):
    pairs = random_pairs(model.shape.vocab, lengths, shots=2)
    others = random_pairs(model.shape.vocab, (7, 8, 8, 7, 9), shots=2, seed=5, frames=("f0", "f1"))
    rng = np.random.default_rng(seed)
    kept = rng.random((rows, len(space))) < np.linspace(0, 1, rows)[:, None]
    found = engine.circuit_forward(model, pairs, space, kept, ablation, reference=others, seed=4)
    for i, pair in enumerate(pairs):
        donor = donor_of(model, pair, ablation, others, pairs)
        for row in range(rows):
            logits = reference.circuit_one(model, pair, outside(space, kept[row]), donor)
            reference.assert_equal(found, (row,), i, reference.readings_of(model, pair, logits), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("granularity", (Granularity.LAYER, Granularity.NODE, Granularity.NEURON))
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_counterfactual_circuits(family, granularity, dtype):
    model = tiny.subject(family, dtype=dtype)
    compare(model, ComponentSpace(granularity, model.shape), Ablation.COUNTERFACTUAL, dtype)


@pytest.mark.parametrize("ablation", (Ablation.MEAN, Ablation.ZERO, Ablation.RESAMPLE))
@pytest.mark.parametrize("granularity", (Granularity.LAYER, Granularity.NODE, Granularity.NEURON))
@pytest.mark.parametrize("family", ("llama", "gpt2", "gpt_neox", "gemma3_text"))
def test_other_ablations(family, granularity, ablation):
    model = tiny.subject(family, dtype=torch.float64)
    compare(model, ComponentSpace(granularity, model.shape), ablation, torch.float64)


@pytest.mark.parametrize("classes", (CLASSES, ("operand1", "last")))
@pytest.mark.parametrize("granularity", (Granularity.LAYER, Granularity.NODE, Granularity.NEURON))
@pytest.mark.parametrize("family", ("qwen2", "gptj", "olmo2"))
def test_position_classes(family, granularity, classes):
    model = tiny.subject(family, dtype=torch.float64)
    compare(model, ComponentSpace(granularity, model.shape, classes=classes), Ablation.COUNTERFACTUAL, torch.float64)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_full_and_empty_circuits(family):
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7), shots=2)
    for granularity in (Granularity.LAYER, Granularity.NODE):
        for classes in ((), CLASSES):
            space = ComponentSpace(granularity, model.shape, classes=classes)
            kept = np.array([[True] * len(space), [False] * len(space)])
            found = engine.circuit_forward(model, pairs, space, kept, Ablation.COUNTERFACTUAL)
            np.testing.assert_allclose(found.answer[0], engine.read(model, pairs).answer, rtol=0, atol=1e-12)
            empty = engine.read(model, pairs, "counterfactual")
            np.testing.assert_allclose(found.answer[1], empty.answer, rtol=0, atol=1e-12)
            np.testing.assert_allclose(found.kl[1], empty.kl, rtol=0, atol=1e-12)


def test_results_do_not_depend_on_the_batch():
    model = tiny.subject("mistral", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7, 12, 8, 7), shots=1)
    space = ComponentSpace(Granularity.NODE, model.shape)
    kept = np.random.default_rng(1).random((7, len(space))) < 0.5
    for ablation in (Ablation.COUNTERFACTUAL, Ablation.RESAMPLE):
        others = random_pairs(model.shape.vocab, (7, 8, 12), shots=1, seed=9)
        together = engine.circuit_forward(model, pairs, space, kept, ablation, reference=others)
        apart = engine.circuit_forward(
            model, pairs, space, kept, ablation, reference=others, batcher=engine.Batcher(model, tokens=11)
        )
        np.testing.assert_allclose(apart.answer, together.answer, rtol=0, atol=1e-12)
        alone = engine.circuit_forward(model, pairs[2:3], space, kept, ablation, reference=others)
        np.testing.assert_allclose(alone.answer, together.answer[:, 2:3], rtol=0, atol=1e-12)


def test_wrong_input_is_named():
    model = tiny.subject("llama")
    pairs = random_pairs(model.shape.vocab, (8,))
    space = ComponentSpace(Granularity.NODE, model.shape)
    with pytest.raises(BadOption, match=r"one column per component \(10\), found 9"):
        engine.circuit_forward(model, pairs, space, np.ones((1, 9), dtype=bool), Ablation.ZERO)
    kept = np.ones((1, 10), dtype=bool)
    with pytest.raises(BadOption, match="reference"):
        engine.circuit_forward(model, pairs, space, kept, Ablation.MEAN)
    with pytest.raises(TooFewPairs, match="resample"):
        engine.circuit_forward(model, pairs, space, kept, Ablation.RESAMPLE)
    renamed = [replace(p, classes=tuple(c.replace("operator", "sign") for c in p.classes)) for p in pairs]
    with pytest.raises(TooFewPairs, match="class 'operator'"):
        engine.circuit_forward(model, pairs, space, ~kept, Ablation.MEAN, reference=renamed)


@settings(max_examples=8, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_any_circuits_lengths_classes_and_batches(data):
    """Random family, granularity, classes, ablation, circuits, lengths, exemplars and batch size."""
    model = tiny.subject(data.draw(st.sampled_from(("qwen2", "gpt_neox", "gemma2"))), dtype=torch.float64)
    lengths = data.draw(st.lists(st.integers(6, 9), min_size=1, max_size=3))
    shots, seed = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 99))
    pairs = random_pairs(model.shape.vocab, lengths, shots=shots, seed=seed)
    others = random_pairs(model.shape.vocab, [*lengths, *lengths, 7], shots=shots, seed=seed + 100)
    granularity = data.draw(st.sampled_from((Granularity.LAYER, Granularity.NODE, Granularity.NEURON)))
    classes = tuple(c for c in CLASSES if data.draw(st.booleans()))
    space = ComponentSpace(granularity, model.shape, classes=classes)
    rng = np.random.default_rng(seed)
    kept = np.array([rng.random(len(space)) < p for p in data.draw(st.lists(st.floats(0, 1), min_size=1, max_size=3))])
    ablation = data.draw(st.sampled_from(list(Ablation)))
    batcher = engine.Batcher(model, tokens=data.draw(st.integers(1, 200)))
    found = engine.circuit_forward(model, pairs, space, kept, ablation, reference=others, seed=4, batcher=batcher)
    for i, pair in enumerate(pairs):
        donor = donor_of(model, pair, ablation, others, pairs)
        for row, circuit in enumerate(kept):
            logits = reference.circuit_one(model, pair, outside(space, circuit), donor)
            reference.assert_equal(found, (row,), i, reference.readings_of(model, pair, logits), torch.float64)
