"""Edge circuits against receiver-by-receiver recomputation."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference, tiny
from support.random_pairs import CLASSES, random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity
from arithloc.benchmark.api.errors import UnsupportedArchitecture

MIXED = ("gemma2", "gemma3_text", "olmo2")
FAMILIES = tuple(family for family in tiny.FAMILIES if family not in MIXED)


def donor_of(model, pair, ablation, others):
    match ablation:
        case Ablation.MEAN:
            return reference.mean_activations(model, pair, others)
        case Ablation.ZERO:
            return {place: 0 * value for place, value in reference.run(model, pair.clean_ids)[0].items()}
        case Ablation.RESAMPLE:
            (partner,) = (other for other in others if other.classes == pair.classes)
            return reference.run(model, partner.counterfactual_ids)[0]
    return reference.run(model, pair.counterfactual_ids)[0]


def compare(model, space, pairs, kept, ablation=Ablation.COUNTERFACTUAL, others=None, dtype=torch.float64, **options):
    found = engine.circuit_forward(model, pairs, space, kept, ablation, reference=others, **options)
    columns = {name: i for i, name in enumerate(space.names)}
    for i, pair in enumerate(pairs):
        donor = donor_of(model, pair, ablation, others)
        for row in range(len(kept)):

            def is_kept(edge, t, row=row, pair=pair):
                if not space.classes:
                    return bool(kept[row, columns[edge]])
                cls = space.classes[-1] if edge.endswith("logits") else pair.classes[t]
                return cls not in space.classes or bool(kept[row, columns[f"{edge}@{cls}"]])

            logits = reference.edges_one(model, pair, is_kept, donor)
            reference.assert_equal(found, (row,), i, reference.readings_of(model, pair, logits), dtype)


@pytest.mark.parametrize("family", FAMILIES)
def test_random_edge_circuits(family):
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7), shots=1)
    space = ComponentSpace(Granularity.EDGE, model.shape)
    kept = np.random.default_rng(0).random((2, len(space))) < [[0.3], [0.8]]
    compare(model, space, pairs, kept)


@pytest.mark.parametrize("family", FAMILIES)
def test_float32(family):
    model = tiny.subject(family, dtype=torch.float32)
    pairs = random_pairs(model.shape.vocab, (6,), shots=1)
    space = ComponentSpace(Granularity.EDGE, model.shape)
    compare(model, space, pairs, np.random.default_rng(1).random((1, len(space))) < 0.5, dtype=torch.float32)


@pytest.mark.parametrize("classes", (CLASSES, ("operand1", "last")))
def test_position_classes(classes):
    model = tiny.subject("llama", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (7, 8), shots=1)
    space = ComponentSpace(Granularity.EDGE, model.shape, classes=classes)
    compare(model, space, pairs, np.random.default_rng(2).random((2, len(space))) < 0.5)


def test_mean_ablation():
    model = tiny.subject("gpt2", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (7,), shots=1)
    others = random_pairs(model.shape.vocab, (7, 7, 8), shots=1, seed=3)
    space = ComponentSpace(Granularity.EDGE, model.shape)
    compare(model, space, pairs, np.random.default_rng(2).random((2, len(space))) < 0.5, Ablation.MEAN, others)


@pytest.mark.parametrize("ablation", (Ablation.ZERO, Ablation.RESAMPLE))
@pytest.mark.parametrize("family", ("llama", "gpt2", "gptj"))
def test_zero_and_resample_ablation(family, ablation):
    """Each pair has one other pair of its length to take values from."""
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (7, 6), shots=1)
    others = random_pairs(model.shape.vocab, (6, 7), shots=1, seed=3)
    space = ComponentSpace(Granularity.EDGE, model.shape)
    compare(model, space, pairs, np.random.default_rng(2).random((1, len(space))) < 0.5, ablation, others, seed=4)


def test_edges_into_the_logits_are_at_the_scored_position_of_every_pair():
    """In a space whose classes leave out the last token, and in a pair that has none of its classes."""
    model = tiny.subject("qwen2", dtype=torch.float64)
    first, second = random_pairs(model.shape.vocab, (7, 7), shots=1)
    renamed = tuple("late" if cls == "operand1" else cls for cls in second.classes)
    pairs = [first, dataclasses.replace(second, classes=renamed)]
    space = ComponentSpace(Granularity.EDGE, model.shape, classes=("operand1",))
    logits = [name.endswith("->logits@operand1") for name in space.names]
    assert sum(logits) == 11
    kept = np.array([np.ones(len(space), dtype=bool), ~np.array(logits)])
    for ablation in (Ablation.ZERO, Ablation.COUNTERFACTUAL):
        compare(model, space, pairs, kept, ablation)
    found = engine.circuit_forward(model, pairs, space, kept, Ablation.ZERO).answer
    assert np.abs(found[1] - found[0]).min() > 1e-3


@pytest.mark.parametrize("family", ("gpt2", "gpt_neox", "gptj"))
def test_a_node_circuit_equals_the_edges_between_its_nodes(family):
    """On families whose heads have keys and values of their own, with circuits of heads and MLPs drawn at random."""
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7), shots=1)
    node_space, edge_space = (ComponentSpace(g, model.shape) for g in (Granularity.NODE, Granularity.EDGE))
    nodes = np.random.default_rng(4).random((4, len(node_space))) < 0.6
    edges = []
    for circuit in nodes:
        members = {"input", "logits", *np.array(node_space.names)[circuit]}
        ends = [(sender, receiver.split("<")[0]) for sender, receiver in (e.split("->") for e in edge_space.names)]
        edges.append([sender in members and receiver in members for sender, receiver in ends])
    by_nodes = engine.circuit_forward(model, pairs, node_space, nodes, Ablation.COUNTERFACTUAL)
    by_edges = engine.circuit_forward(model, pairs, edge_space, np.array(edges), Ablation.COUNTERFACTUAL)
    np.testing.assert_allclose(by_edges.answer, by_nodes.answer, rtol=0, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_and_no_edges(family):
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7), shots=2)
    space = ComponentSpace(Granularity.EDGE, model.shape)
    kept = np.array([[True] * len(space), [False] * len(space)])
    found = engine.circuit_forward(model, pairs, space, kept, Ablation.COUNTERFACTUAL)
    np.testing.assert_allclose(found.answer[0], engine.read(model, pairs).answer, rtol=0, atol=1e-11)
    np.testing.assert_allclose(found.answer[1], engine.read(model, pairs, "counterfactual").answer, rtol=0, atol=1e-11)
    apart = engine.circuit_forward(
        model, pairs, space, kept, Ablation.COUNTERFACTUAL, batcher=engine.Batcher(model, tokens=5)
    )
    np.testing.assert_allclose(apart.answer, found.answer, rtol=0, atol=1e-11)


@pytest.mark.parametrize("family", MIXED)
def test_heads_behind_a_norm_are_refused_by_name(family):
    model = tiny.subject(family)
    space = ComponentSpace(Granularity.EDGE, model.shape)
    pairs = random_pairs(model.shape.vocab, (8,))
    with pytest.raises(UnsupportedArchitecture, match=family):
        engine.circuit_forward(model, pairs, space, np.ones((1, len(space)), dtype=bool), Ablation.COUNTERFACTUAL)


@settings(max_examples=6, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_any_edges_lengths_classes_and_batches(data):
    """Random family, classes, ablation, circuits, lengths, exemplars and batch size."""
    model = tiny.subject(data.draw(st.sampled_from(("qwen2", "gpt_neox"))), dtype=torch.float64)
    lengths = data.draw(st.lists(st.integers(6, 8), min_size=1, max_size=2))
    shots, seed = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 99))
    pairs = random_pairs(model.shape.vocab, lengths, shots=shots, seed=seed)
    others = random_pairs(model.shape.vocab, [*lengths, 7], shots=shots, seed=seed + 100)
    classes = tuple(c for c in CLASSES[:-1] if data.draw(st.booleans()))
    space = ComponentSpace(Granularity.EDGE, model.shape, classes=(*classes, "last") if classes else ())
    kept = np.random.default_rng(seed).random((1, len(space))) < data.draw(st.floats(0, 1))
    ablation = data.draw(st.sampled_from((Ablation.COUNTERFACTUAL, Ablation.MEAN)))
    batcher = engine.Batcher(model, tokens=data.draw(st.integers(1, 200)))
    compare(model, space, pairs, kept, ablation, others, batcher=batcher)
