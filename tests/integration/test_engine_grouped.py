"""A model with grouped keys and values equals its un-grouped copy."""

import numpy as np
import pytest
import torch
from support import tiny
from support.random_pairs import CLASSES, random_pairs

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity
from arithloc.benchmark.api.edges import edge_arrays

FAMILIES = ("llama", "qwen2")


def twins(family):
    """A model with two query heads to each key/value head, and the same one with keys and values written out."""
    grouped = tiny.subject(family, dtype=torch.float64)
    apart = tiny.subject(family, dtype=torch.float64, seed=1, num_key_value_heads=grouped.shape.n_heads)
    state = grouped.module.state_dict()
    for name, value in state.items():
        if "k_proj" in name or "v_proj" in name:
            by_head = value.unflatten(0, (grouped.shape.n_kv_heads, -1))
            state[name] = by_head.repeat_interleave(grouped.group_size, 0).flatten(0, 1)
    apart.module.load_state_dict(state)
    assert (grouped.shape.n_kv_heads, apart.shape.n_kv_heads) == (2, 4)
    return grouped, apart, random_pairs(grouped.shape.vocab, (8, 7), shots=1)


def same(found, expected, rows=slice(None)):
    for field in ("answer", "foil", "kl", "logprob_answer"):
        np.testing.assert_allclose(getattr(found, field), getattr(expected, field)[rows], rtol=0, atol=1e-11)


def native(name):
    """Name of the grouped receiver that a receiver of the un-grouped copy is part of, two heads to a group."""
    if not name.endswith(("<k>", "<v>")):
        return name
    block, rest = name.split(".h")
    return f"{block}.h{int(rest[:-3]) // 2}{rest[-3:]}"


@pytest.mark.parametrize("family", FAMILIES)
def test_runs_sweeps_and_node_circuits(family):
    grouped, apart, pairs = twins(family)
    same(engine.read(grouped, pairs), engine.read(apart, pairs))
    for granularity in (Granularity.LAYER, Granularity.NODE):
        spaces = [ComponentSpace(granularity, model.shape) for model in (grouped, apart)]
        same(engine.sweep(grouped, pairs, spaces[0]), engine.sweep(apart, pairs, spaces[1]))
        kept = np.random.default_rng(0).random((4, len(spaces[0]))) < 0.5
        found, expected = (
            engine.circuit_forward(model, pairs, space, kept, Ablation.COUNTERFACTUAL)
            for model, space in zip((grouped, apart), spaces, strict=True)
        )
        same(found, expected)


@pytest.mark.parametrize("classes", ((), CLASSES))
@pytest.mark.parametrize("family", FAMILIES)
def test_edge_circuits_keep_all_edges_of_a_group(family, classes):
    grouped, apart, pairs = twins(family)
    few, many = (ComponentSpace(Granularity.EDGE, model.shape, classes=classes) for model in (grouped, apart))
    columns = {name: i for i, name in enumerate(few.names)}
    of_native = []
    for name in many.names:
        edge, at, cls = name.partition("@")
        sender, receiver = edge.split("->")
        of_native.append(columns[f"{sender}->{native(receiver)}{at}{cls}"])
    kept = np.random.default_rng(1).random((3, len(few))) < [[0.3], [0.6], [0.9]]
    found = engine.circuit_forward(grouped, pairs, few, kept, Ablation.COUNTERFACTUAL)
    same(found, engine.circuit_forward(apart, pairs, many, kept[:, of_native], Ablation.COUNTERFACTUAL))
    if not classes:  # an edge weighs as many edges as it stands for
        weight = edge_arrays(grouped.shape).weight
        np.testing.assert_array_equal(kept @ weight, kept[:, of_native].sum(1))


@pytest.mark.parametrize("family", FAMILIES)
def test_edge_effects_add_up_over_a_group(family):
    grouped, apart, pairs = twins(family)
    few, many = (ComponentSpace(Granularity.EDGE, model.shape) for model in (grouped, apart))
    columns = {name: i for i, name in enumerate(few.names)}
    expected = np.zeros((len(few), len(pairs)))
    for name, effect in zip(many.names, engine.edge_effects(apart, pairs, many), strict=True):
        sender, receiver = name.split("->")
        expected[columns[f"{sender}->{native(receiver)}"]] += effect
    np.testing.assert_allclose(engine.edge_effects(grouped, pairs, few), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("family", FAMILIES)
def test_direct_effects(family):
    grouped, apart, pairs = twins(family)
    few, many = (ComponentSpace(Granularity.NODE, model.shape) for model in (grouped, apart))
    same(engine.direct_effect(grouped, pairs, few), engine.direct_effect(apart, pairs, many))
    found = engine.direct_effect(grouped, pairs, few, receivers=["a1.h1<k>", "a1.h0<v>", "a1.h2<q>"])
    written_out = ["a1.h2<k>", "a1.h3<k>", "a1.h0<v>", "a1.h1<v>", "a1.h2<q>"]
    same(found, engine.direct_effect(apart, pairs, many, receivers=written_out))
