"""`direct_effect` against the three-pass form with hooks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reference, tiny
from support.random_pairs import CLASSES, random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import ComponentSpace, Granularity, UnsupportedGranularity
from arithloc.benchmark.api.errors import BadOption

DTYPES = (torch.float64, torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("frozen", ("heads", "all"))
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_every_sender_agrees(family, frozen, dtype):
    model = tiny.subject(family, dtype=dtype, layers=3)
    pairs = random_pairs(model.shape.vocab, (8, 7, 8), shots=1)
    for granularity in (Granularity.NODE, Granularity.LAYER):
        space = ComponentSpace(granularity, model.shape)
        found = engine.direct_effect(model, pairs, space, frozen=frozen)
        for i, pair in enumerate(pairs):
            donor = reference.run(model, pair.counterfactual_ids)[0]
            for row, site in enumerate(engine.sites_of(space)):
                sender = (site.kind.value, site.layer, site.index)
                logits = reference.direct_one(model, pair.clean_ids, donor, [sender], frozen)
                reference.assert_equal(found, (row,), i, reference.readings_of(model, pair, logits), dtype)


def test_other_direction_and_no_change():
    model = tiny.subject("qwen2", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7))
    space = ComponentSpace(Granularity.NODE, model.shape)
    found = engine.direct_effect(model, pairs, space, run="counterfactual", donor="clean")
    for i, pair in enumerate(pairs):
        donor = reference.run(model, pair.clean_ids)[0]
        logits = reference.direct_one(model, pair.counterfactual_ids, donor, [("head", 1, 2)], "heads")
        reference.assert_equal(found, (7,), i, reference.readings_of(model, pair, logits), torch.float64)
    same = engine.direct_effect(model, pairs, space, run="clean", donor="clean")
    assert np.abs(same.answer - engine.read(model, pairs).answer).max() < 1e-12


def test_position_classes_reach_the_logits_from_the_last_position_only():
    model = tiny.subject("llama", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8, 7))
    plain = ComponentSpace(Granularity.NODE, model.shape)
    space = ComponentSpace(Granularity.NODE, model.shape, classes=CLASSES)
    found = engine.direct_effect(model, pairs, space).answer.reshape(len(plain), len(CLASSES), 2)
    np.testing.assert_allclose(found[:, -1], engine.direct_effect(model, pairs, plain).answer, rtol=0, atol=1e-12)
    unpatched = np.broadcast_to(engine.read(model, pairs).answer, found[:, :-1].shape)
    np.testing.assert_allclose(found[:, :-1], unpatched, rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", ("gptj", "gpt_neox"))
def test_last_parallel_block_has_nothing_after_it(family):
    model = tiny.subject(family, dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8,))
    space = ComponentSpace(Granularity.NODE, model.shape)
    heads = engine.direct_effect(model, pairs, space, frozen="heads").answer[5:]
    frozen = engine.direct_effect(model, pairs, space, frozen="all").answer[5:]
    np.testing.assert_allclose(heads, frozen, rtol=0, atol=1e-12)


def test_recomputed_mlps_matter():
    model = tiny.subject("llama", dtype=torch.float64)
    pairs = random_pairs(model.shape.vocab, (8,))
    space = ComponentSpace(Granularity.NODE, model.shape)
    heads = engine.direct_effect(model, pairs, space, frozen="heads").answer
    frozen = engine.direct_effect(model, pairs, space, frozen="all").answer
    assert np.abs(heads - frozen)[:5].max() > 1e-3


def test_units_and_edges_are_refused():
    model = tiny.subject("llama")
    with pytest.raises(UnsupportedGranularity, match="neuron"):
        engine.direct_effect(
            model, random_pairs(model.shape.vocab, (8,)), ComponentSpace(Granularity.NEURON, model.shape)
        )


@pytest.mark.parametrize("frozen", ("heads", "all"))
@pytest.mark.parametrize("family", ("llama", "olmo2", "gemma2", "qwen3", "gpt2", "gptj", "gpt_neox", "phi3"))
def test_receivers_inside_the_model(family, frozen):
    """Queries, keys and values of separate and fused projections, and what an MLP writes."""
    model = tiny.subject(family, dtype=torch.float64, layers=3)
    pairs = random_pairs(model.shape.vocab, (8, 7), shots=1)
    space = ComponentSpace(Granularity.NODE, model.shape)
    found = engine.direct_effect(
        model, pairs, space, receivers=["a1.h2<q>", "a2.h1<k>", "a1.h0<v>", "m1"], frozen=frozen
    )
    q, v, late = (model.head_rows(*place) for place in ((1, "q", 2), (1, "v", 0), (2, "k", 1)))
    receivers = [(q.module, q.rows), (v.module, v.rows), (model.mlp(1), slice(None)), (late.module, late.rows)]
    for i, pair in enumerate(pairs):
        donor = reference.run(model, pair.counterfactual_ids)[0]
        for row, site in enumerate(engine.sites_of(space)):
            sender = (site.kind.value, site.layer, site.index)
            rows = reference.touched(pair, "all")
            logits = reference.receivers_one(model, pair.clean_ids, donor, sender, rows, receivers, frozen)
            reference.assert_equal(found, (row,), i, reference.readings_of(model, pair, logits), torch.float64)


def test_unknown_receivers_are_named():
    model = tiny.subject("llama")
    space = ComponentSpace(Granularity.NODE, model.shape)
    for name in ("a2.h0<q>", "a0.h4<q>", "a0.h2<k>", "m2", "logits"):
        with pytest.raises(BadOption, match=name):
            engine.direct_effect(model, random_pairs(model.shape.vocab, (8,)), space, receivers=[name])


@settings(max_examples=10, deadline=None, database=None, derandomize=True)
@given(data=st.data())
def test_any_senders_lengths_directions_and_batches(data):
    """Random family, granularity, freezing, direction, lengths, exemplars and batch size; to the logits and to an MLP."""
    model = tiny.subject(data.draw(st.sampled_from(("llama", "gptj", "gemma2"))), dtype=torch.float64)
    lengths = data.draw(st.lists(st.integers(6, 9), min_size=1, max_size=3))
    pairs = random_pairs(
        model.shape.vocab, lengths, shots=data.draw(st.integers(0, 3)), seed=data.draw(st.integers(0, 99))
    )
    to_mlp, frozen = data.draw(st.booleans()), data.draw(st.sampled_from(("heads", "all")))
    granularity = Granularity.NODE if to_mlp else data.draw(st.sampled_from((Granularity.NODE, Granularity.LAYER)))
    run, donor = data.draw(st.permutations(("clean", "counterfactual")))
    cls = data.draw(st.sampled_from(("all", *CLASSES))) if to_mlp else "last"
    space = ComponentSpace(granularity, model.shape, classes=(cls,) if cls in CLASSES else ())
    sites = engine.sites_of(ComponentSpace(granularity, model.shape))
    options = {"receivers": ["m1"]} if to_mlp else {}
    batcher = engine.Batcher(model, tokens=data.draw(st.integers(1, 200)))
    found = engine.direct_effect(model, pairs, space, frozen=frozen, run=run, donor=donor, batcher=batcher, **options)
    for i, pair in enumerate(pairs):
        ids = {"clean": pair.clean_ids, "counterfactual": pair.counterfactual_ids}
        values = reference.run(model, ids[donor])[0]
        for row, site in enumerate(sites):
            sender = (site.kind.value, site.layer, site.index)
            if to_mlp:
                rows, receivers = reference.touched(pair, cls), [(model.mlp(1), slice(None))]
                logits = reference.receivers_one(model, ids[run], values, sender, rows, receivers, frozen)
            else:
                logits = reference.direct_one(model, ids[run], values, [sender], frozen)
            reference.assert_equal(found, (row,), i, reference.readings_of(model, pair, logits), torch.float64)
