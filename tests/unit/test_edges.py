"""Edge enumeration: closed forms, names, and a slow enumeration that walks the architecture."""

import numpy as np
import pytest

from arithloc.benchmark.api.components import ComponentSpace, ModelShape
from arithloc.benchmark.api.edges import (
    edge_arrays,
    edge_name,
    layer_edges,
    logits_edges,
    n_edges,
    n_edges_by_class,
    n_receivers,
    n_senders,
    receiver_name,
    sender_name,
    total_weight,
)
from arithloc.benchmark.api.vocabulary import Granularity

# (layers, heads, key/value heads, parallel), total weighted edges, native edges: published totals and closed forms
TABLE = {
    "gpt2": ((12, 12, 12, False), 32_491, 32_491),
    "qwen2.5-0.5b": ((24, 14, 2, False), 179_749, 79_813),
    "gemma-2-2b": ((26, 8, 4, False), 74_218, 50_610),
    "llama-3.1-8b": ((32, 32, 8, False), 1_592_881, 805_681),
    "interpbench-ioi": ((6, 4, 4, False), 1_108, 1_108),
    "smollm2-135m": ((30, 9, 3, False), 123_211, 70_651),
    "llama-2-7b": ((32, 32, 32, False), 1_592_881, 1_592_881),
    "gpt-j-6b": ((28, 16, 16, True), 316_723, 316_723),
    "pythia-2.8b": ((32, 32, 32, True), 1_591_857, 1_591_857),
    "pythia-70m": ((6, 8, 8, True), 3_580, 3_580),
    "pythia-160m": ((12, 12, 12, True), 32_347, 32_347),
    "pythia-410m": ((24, 16, 16, True), 231_493, 231_493),
    "one layer, two heads": ((1, 2, 2, False), 13, 13),
    "one layer, grouped": ((1, 4, 2, False), 23, 19),
}
SMALL = [(1, 2, 2, False), (1, 4, 2, False), (2, 4, 1, True), (3, 2, 2, False), (3, 4, 2, False), (2, 6, 3, True)]


def shape(layers: int, heads: int, kv_heads: int, parallel: bool) -> ModelShape:
    return ModelShape(layers, heads, kv_heads, d_model=8, d_head=4, d_mlp=16, vocab=10, parallel=parallel)


def walk(s: ModelShape) -> list[tuple[str, float]]:
    """Names and weights of all edges, by walking the blocks as a forward pass does."""
    written, edges = ["input"], []
    group = s.n_heads / s.n_kv_heads
    for layer in range(s.n_layers):
        slots = [(f"a{layer}.h{h}<q>", 1.0) for h in range(s.n_heads)]
        slots += [(f"a{layer}.h{h}<{slot}>", group) for slot in "kv" for h in range(s.n_kv_heads)]
        edges += [(f"{sender}->{slot}", weight) for slot, weight in slots for sender in written]
        heads = [f"a{layer}.h{h}" for h in range(s.n_heads)]
        read_by_mlp = written if s.parallel else written + heads
        edges += [(f"{sender}->m{layer}", 1.0) for sender in read_by_mlp]
        written = [*written, *heads, f"m{layer}"]
    return edges + [(f"{sender}->logits", 1.0) for sender in written]


@pytest.mark.parametrize("name", TABLE)
def test_totals_of_published_architectures(name):
    sizes, weighted, native = TABLE[name]
    assert total_weight(shape(*sizes)) == weighted
    assert n_edges(shape(*sizes)) == native


@pytest.mark.parametrize("name", [n for n in TABLE if TABLE[n][2] < 900_000])
def test_the_enumeration_has_the_closed_form_totals(name):
    sizes, weighted, native = TABLE[name]
    edges = edge_arrays(shape(*sizes))
    assert len(edges.sender) == len(edges.receiver) == native
    assert edges.weight.sum() == weighted
    assert edges.sender.max() == n_senders(shape(*sizes)) - 1
    assert edges.receiver.max() == n_receivers(shape(*sizes)) - 1


@pytest.mark.parametrize("sizes", SMALL)
def test_names_weights_and_order_equal_a_walk_through_the_blocks(sizes):
    s = shape(*sizes)
    edges, expected = edge_arrays(s), walk(s)
    assert [edge_name(s, e) for e in range(n_edges(s))] == [name for name, _ in expected]
    assert edges.weight.tolist() == [weight for _, weight in expected]
    joined = [
        f"{sender_name(s, int(a))}->{receiver_name(s, int(b))}"
        for a, b in zip(edges.sender, edges.receiver, strict=True)
    ]
    assert joined == [name for name, _ in expected]


@pytest.mark.parametrize("sizes", SMALL)
def test_slices_of_blocks_and_logits_tile_the_edges(sizes):
    s = shape(*sizes)
    names = [edge_name(s, e) for e in range(n_edges(s))]
    seen = []
    for layer, part in enumerate(layer_edges(s)):
        attention, mlp = names[part.attention], names[part.mlp]
        assert all(f"->a{layer}.h" in name for name in attention)
        assert all(name.endswith(f"->m{layer}") for name in mlp)
        assert len(attention) == (s.n_heads + 2 * s.n_kv_heads) * part.attention_senders
        assert len(mlp) == part.mlp_senders
        grid = np.array(attention).reshape(-1, part.attention_senders)
        assert [name.split("->")[0] for name in grid[-1]] == [sender_name(s, i) for i in range(part.attention_senders)]
        seen += attention + mlp
    assert seen + names[logits_edges(s)] == names


def test_example_names():
    s = shape(5, 8, 2, False)
    names = {edge_name(s, e) for e in range(n_edges(s))}
    assert {"a3.h5->a4.h0<q>", "input->m0", "a3.h5->logits", "m3->a4.h1<v>"} <= names
    assert "a3.h5->a4.h2<k>" not in names  # only two key/value heads


@pytest.mark.parametrize("sizes", SMALL)
def test_edge_space_is_flat_with_distinct_names(sizes):
    space = ComponentSpace(Granularity.EDGE, shape(*sizes))
    assert space.grid_shape == (len(space),) == (n_edges(shape(*sizes)),)
    assert len(set(space.names)) == len(space)
    assert space.name(0) == "input->a0.h0<q>"


def test_edge_space_with_classes():
    # EX-3g: L = 1, H = 2, three classes: (13 - 4) * 3 + 4 = 31
    s = shape(1, 2, 2, False)
    space = ComponentSpace(Granularity.EDGE, s, ("operand1", "operator", "last"))
    assert len(space) == n_edges_by_class(s, 3) == 31
    expected = [f"{name}@{c}" for name, _ in walk(s)[:9] for c in space.classes]
    expected += [f"{name}@last" for name, _ in walk(s)[9:]]
    assert list(space.names) == expected
