"""First-order edge effects against central differences of edges cut by a little."""

import numpy as np
import pytest
import torch
from support import reference, tiny
from support.random_pairs import CLASSES, random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import ComponentSpace, Granularity, UnsupportedGranularity
from arithloc.benchmark.api.errors import UnsupportedArchitecture

STEP = 1e-5
FAMILIES = tuple(family for family in tiny.FAMILIES if family not in ("gemma2", "gemma3_text", "olmo2"))


def slope(model, pair, edge, at):
    """d(logit difference) / d(share of the clean write that one edge carries), at the clean run.

    A donor that lies STEP times the way from clean to counterfactual, read by this edge alone.
    """
    clean, other = (reference.run(model, ids)[0] for ids in (pair.clean_ids, pair.counterfactual_ids))

    def cut(share):
        donor = {place: clean[place] + share * (other[place] - clean[place]) for place in clean}
        return reference.edges_one(model, pair, lambda name, t: name != edge or t not in at, donor)

    def difference(logits):
        return float(logits[pair.answer_token] - logits[pair.foil_token])

    return (difference(cut(-STEP)) - difference(cut(STEP))) / (2 * STEP)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_edge(family):
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (7,), shots=1)
    space = ComponentSpace(Granularity.EDGE, model.shape)
    found = engine.edge_effects(model, pairs, space)
    edges = ["input->a0.h1<q>", "a0.h3->a1.h0<k>", "m0->a1.h1<v>", "a0.h2->m1", "a1.h0->logits", "m0->logits"]
    edges += [] if model.shape.parallel else ["a1.h2->m1"]
    for edge in edges:
        expected = slope(model, pairs[0], edge, reference.touched(pairs[0], "all"))
        assert found[space.names.index(edge), 0] == pytest.approx(expected, abs=1e-7, rel=1e-5), edge


def test_keys_clamped_in_place():
    """OLMo's clip_qkv: a clamped coordinate passes no gradient back."""
    model = tiny.subject("olmo", dtype=torch.float64, clip_qkv=0.5)
    pairs = random_pairs(model.shape.vocab, (7,), shots=1)
    space = ComponentSpace(Granularity.EDGE, model.shape)
    found = engine.edge_effects(model, pairs, space)
    for edge in ("input->a0.h1<q>", "a0.h3->a1.h0<k>", "m0->a1.h1<v>"):
        expected = slope(model, pairs[0], edge, reference.touched(pairs[0], "all"))
        assert found[space.names.index(edge), 0] == pytest.approx(expected, abs=1e-7, rel=1e-5), edge


def test_classes_share_out_the_effects():
    model = tiny.subject("qwen2", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7), shots=1)
    space = ComponentSpace(Granularity.EDGE, model.shape, classes=CLASSES)
    plain = engine.edge_effects(model, pairs, ComponentSpace(Granularity.EDGE, model.shape), steps=3)
    found = engine.edge_effects(model, pairs, space, steps=3)
    inner = len(plain) - (1 + 2 * 5)
    np.testing.assert_allclose(found[: inner * 6].reshape(inner, 6, 2).sum(1), plain[:inner], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[inner * 6 :], plain[inner:], rtol=0, atol=1e-12)
    edge = "input->a0.h1<v>"
    one = engine.edge_effects(model, pairs, space)
    expected = slope(model, pairs[1], edge, reference.touched(pairs[1], "operand1"))
    assert one[space.names.index(f"{edge}@operand1"), 1] == pytest.approx(expected, abs=1e-7, rel=1e-5)


def test_what_has_no_edges_is_refused():
    model = tiny.subject("olmo2")
    pairs = random_pairs(model.shape.vocab, (8,))
    with pytest.raises(UnsupportedArchitecture, match="olmo2"):
        engine.edge_effects(model, pairs, ComponentSpace(Granularity.EDGE, model.shape))
    with pytest.raises(UnsupportedGranularity, match="node"):
        engine.edge_effects(model, pairs, ComponentSpace(Granularity.NODE, model.shape))
