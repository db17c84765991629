"""Pruning and realised size: hand-worked circuits, and the pruning rule applied literally on named edges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arithloc.benchmark.api.components import ComponentSpace, ModelShape
from arithloc.benchmark.api.edges import edge_arrays, edge_name, n_edges, total_weight
from arithloc.benchmark.api.vocabulary import Granularity
from arithloc.benchmark.metrics.prefixes import (
    BUDGETS,
    budget_circuits,
    lowest_size,
    prefixes,
    ranking_order,
)
from arithloc.benchmark.metrics.size import (
    circuit_size,
    complement,
    full_weight,
    mlp_weight,
    prune,
    surviving_weight,
    whole_model_size,
)

EDGE, NODE, LAYER, NEURON = Granularity.EDGE, Granularity.NODE, Granularity.LAYER, Granularity.NEURON


def shape(layers, heads, kv_heads=None, *, parallel=False, d_mlp=4):
    return ModelShape(layers, heads, kv_heads or heads, d_model=8, d_head=4, d_mlp=d_mlp, vocab=10, parallel=parallel)


def mask(space, names):
    kept = np.array([name in names for name in space.names])
    assert kept.sum() == len(names)
    return kept


# ---- the rule of the text, applied literally --------------------------------------------------------------------------


def ungrouped_edges(space):
    """(sender, class, reader, reader's class, slot) of every un-grouped edge, with the component that carries it."""
    s, classes = space.shape, space.classes or ("",)
    group = s.n_heads // s.n_kv_heads
    plain = ComponentSpace(EDGE, s)
    for name in plain.names:
        sender, receiver = name.split("->")
        for cls in classes if receiver != "logits" else classes[-1:]:
            component = f"{name}@{cls}" if space.classes else name
            if receiver == "logits" or receiver.startswith("m"):
                yield sender, cls, [(receiver, cls)], component
                continue
            block, head, slot = receiver.replace("<", ".").strip(">").split(".")
            members = [int(head[1:])] if slot == "q" else range(int(head[1:]) * group, (int(head[1:]) + 1) * group)
            for member in members:
                later = [cls] if slot == "q" else classes[classes.index(cls) :]
                yield sender, cls, [(f"{block}.h{member}", c) for c in later], component


def literal(space, kept):
    """Edges, components and W left when nodes without kept incoming or outgoing edges are removed until none is."""
    s, classes = space.shape, space.classes or ("",)
    names = dict(zip(space.names, kept.tolist(), strict=True))
    share = {}
    for layer in range(s.n_layers):
        for cls in classes:
            suffix = f"@{cls}" if space.classes else ""
            units = [names[f"m{layer}.n{i}{suffix}"] for i in range(s.d_mlp)] if space.granularity is NEURON else []
            for node in [*(f"a{layer}.h{h}" for h in range(s.n_heads)), f"m{layer}"]:
                match space.granularity:
                    case Granularity.EDGE:
                        on = 1.0
                    case Granularity.NODE:
                        on = float(names[node + suffix])
                    case Granularity.LAYER:
                        on = float(names[node.split(".")[0] + suffix])
                    case _:
                        on = sum(units) / s.d_mlp if node.startswith("m") else 1.0
                share[node, cls] = on
    share |= {("input", cls): 1.0 for cls in classes}
    edges = [e for e in ungrouped_edges(space) if (names[e[3]] if space.granularity is EDGE else share[e[0], e[1]] > 0)]
    nodes = {node for node, on in share.items() if on > 0} | {("logits", classes[-1])}
    while True:
        sends = {(e[0], e[1]) for e in edges}
        reads = {reader for e in edges for reader in e[2]}
        gone = {n for n in nodes if n[0] not in ("input", "logits") and (n not in sends or n not in reads)}
        nodes -= gone
        left = [(a, c, [r for r in readers if r in nodes], e) for a, c, readers, e in edges if (a, c) in nodes]
        left = [e for e in left if e[2]]
        if not gone and len(left) == len(edges):
            break
        edges = left
    if space.granularity is NEURON:
        weight = sum(share[e[0], e[1]] for e in edges if e[0].startswith("m"))
    else:
        weight = float(len(edges))
    return edges, nodes, weight


def literal_prune(space, kept):
    edges, nodes, _ = literal(space, kept)
    alive = {e[3] for e in edges}

    def survives(name):
        if space.granularity is EDGE:
            return name in alive
        node, _, cls = name.partition("@")
        if space.granularity is NEURON:
            node = node.split(".")[0]
        return any(
            cls == c and (node == n or (space.granularity is LAYER and n.split(".")[0] == node)) for n, c in nodes
        )

    return kept & np.array([survives(name) for name in space.names])


SPACES = [
    ComponentSpace(granularity, s, classes)
    for granularity in Granularity
    for s in (shape(1, 2), shape(2, 4, 2), shape(3, 2, 1, parallel=True))
    for classes in ((), ("one", "two", "last"))
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_pruning_and_weight_equal_the_literal_rule(space):
    rng = np.random.default_rng(0)
    share = rng.choice([0.1, 0.3, 0.5, 0.8], size=(12, 1))
    kept = rng.random((12, len(space))) < share
    assert (prune(space, kept) == np.array([literal_prune(space, k) for k in kept])).all()
    np.testing.assert_allclose(surviving_weight(space, kept), [literal(space, k)[2] for k in kept], rtol=1e-12)


# ---- hand-worked circuits ---------------------------------------------------------------------------------------------


def test_ex_3a_node_circuits_of_one_block():
    space = ComponentSpace(NODE, shape(1, 2))
    # E = 13. h0: input -> q, k, v; h0 -> logits; input -> logits. m0: input -> m0 -> logits; input -> logits.
    # both: 3 + 1 of the head, h0 -> m0, input -> m0, m0 -> logits, input -> logits
    for names, weight in (
        ({"a0.h0"}, 5),
        ({"m0"}, 3),
        ({"a0.h0", "m0"}, 8),
        ({"a0.h0", "a0.h1", "m0"}, 13),
        (set(), 1),
    ):
        assert surviving_weight(space, mask(space, names)) == weight
        assert circuit_size(space, mask(space, names)) == pytest.approx(weight / 13, abs=1e-12)


def test_ex_3b_and_c_dangling_edges_are_removed():
    space = ComponentSpace(EDGE, shape(1, 2))
    b = mask(space, {"input->a0.h0<v>", "a0.h0->logits", "a0.h1->logits"})
    assert surviving_weight(space, b) == 2  # h1 has no input
    assert [space.name(int(i)) for i in np.flatnonzero(prune(space, b))] == ["input->a0.h0<v>", "a0.h0->logits"]
    c = mask(space, {"input->a0.h0<q>", "a0.h0->m0"})
    assert surviving_weight(space, c) == 0  # m0 has no output
    assert not prune(space, c).any()


def test_ex_3d_grouped_queries():
    space = ComponentSpace(EDGE, shape(1, 4, 2))
    assert len(space) == 19
    assert surviving_weight(space, np.ones(19, dtype=bool)) == total_weight(space.shape) == 23
    # one head of a group: q 1, k and v count for this head alone, h0 -> logits 1
    kept = mask(space, {"input->a0.h0<q>", "input->a0.h0<k>", "input->a0.h0<v>", "a0.h0->logits"})
    assert surviving_weight(space, kept) == 4
    # both heads of the group: two k, two v
    kept |= mask(space, {"a0.h1->logits"})
    assert surviving_weight(space, kept) == 7


def test_ex_3e_gpt2_nodes():
    space = ComponentSpace(NODE, shape(12, 12))
    # a0.h0 and a1.h0: 3 + 3 edges from the input, 3 from head to head, 2 + 1 to the logits = 12
    for names, weight in (({"a0.h0"}, 5), ({"m0"}, 3), ({"a0.h0", "m0"}, 8), ({"a0.h0", "a1.h0"}, 12)):
        assert surviving_weight(space, mask(space, names)) == weight
    assert full_weight(space) == 32_491


def test_ex_3f_neurons():
    space = ComponentSpace(NEURON, shape(2, 2))
    assert full_weight(space) == 9  # m0: q, k, v of two heads, m1, logits; m1: logits
    for units, weight in (((4, 4), 9), ((2, 0), 3.5), ((4, 0), 7), ((2, 1), 4.25)):
        kept = np.array([[i < n for i in range(4)] for n in units]).reshape(-1)
        assert surviving_weight(space, kept) == weight
        assert circuit_size(space, kept) == pytest.approx(weight / 9, abs=1e-12)
    # E = 2 * 2 + 1 + 6 + 7 * (2 + 3) = 46 edges in the whole model; 37 of them are always on
    assert total_weight(space.shape) == 46
    assert whole_model_size(space.shape, 3.5 / 9) == pytest.approx(40.5 / 46)


def test_classes_read_keys_and_values_not_after_themselves():
    space = ComponentSpace(EDGE, shape(1, 1), ("one", "last"))
    kept = mask(space, {"input->a0.h0<v>@one", "a0.h0->logits@last"})
    assert surviving_weight(space, kept) == 2
    kept = mask(space, {"input->a0.h0<q>@one", "a0.h0->logits@last"})
    assert surviving_weight(space, kept) == 0  # the query of another position is not read


# ---- architectures ----------------------------------------------------------------------------------------------------

ARCHITECTURES = {
    "gpt2": (shape(12, 12), 32_491, 2_454),
    "qwen2.5-0.5b": (shape(24, 14, 2), 179_749, 11_892),
    "gemma-2-2b": (shape(26, 8, 4), 74_218, 8_151),
    "interpbench-ioi": (shape(6, 4), 1_108, 201),
    "smollm2-135m": (shape(30, 9, 3), 123_211, 12_210),
    "gpt-j-6b": (shape(28, 16, parallel=True), 316_723, 18_550),
    "pythia-70m": (shape(6, 8, parallel=True), 3_580, 381),
    "pythia-160m": (shape(12, 12, parallel=True), 32_347, 2_454),
    "pythia-410m": (shape(24, 16, parallel=True), 231_493, 13_548),
    "llama-3.1-8b": (shape(32, 32, 8), 1_592_881, 48_144),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_full_space_counts_the_closed_form(name):
    s, edges, mlp_edges = ARCHITECTURES[name]
    for granularity, expected in ((NODE, edges), (NEURON, mlp_edges), (EDGE, edges)):
        if granularity is EDGE and edges > 200_000:
            continue
        space = ComponentSpace(granularity, s)
        everything = np.ones(len(space), dtype=bool)
        assert surviving_weight(space, everything) == full_weight(space) == expected
        assert prune(space, everything).all()
    assert mlp_weight(s) == mlp_edges


@pytest.mark.parametrize("s", [shape(2, 4, 2), shape(3, 2), shape(2, 2, 1, parallel=True)], ids=str)
def test_a_node_circuit_and_its_edge_circuit_have_one_size(s):
    nodes, edges = ComponentSpace(NODE, s), ComponentSpace(EDGE, s)
    senders = [edge_name(s, e).split("->")[0] for e in range(n_edges(s))]
    rng = np.random.default_rng(1)
    for _ in range(10):
        kept = rng.random(len(nodes)) < 0.5
        on = {"input"} | {name for name, k in zip(nodes.names, kept, strict=True) if k}
        assert circuit_size(nodes, kept) == circuit_size(edges, np.array([sender in on for sender in senders]))


def test_half_of_the_nodes_at_random_is_a_quarter_of_the_edges():
    space = ComponentSpace(NODE, shape(12, 12))
    rng = np.random.default_rng(2)
    kept = rng.random((64, len(space))) < np.array([[0.5], [0.71]] * 32)
    sizes = circuit_size(space, kept).reshape(32, 2).mean(axis=0)
    assert sizes == pytest.approx([0.25, 0.5], abs=0.02)


# ---- prefixes ---------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SPACES), st.integers(0, 10_000), st.integers(1, 20))
def test_prefix_tables_equal_masks_pruned_one_by_one(space, seed, n_targets):
    order = np.random.default_rng(seed).permutation(len(space))
    masks = np.tri(len(space), dtype=bool)
    masks[:, order] = masks.copy()
    sizes = circuit_size(space, masks)
    assert (np.diff(sizes) >= -1e-12).all()
    found = prefixes(space, order, n_targets)
    np.testing.assert_allclose(found.sizes, sizes[found.n_ranked - 1], rtol=1e-12)
    assert (found.kept == prune(space, masks[found.n_ranked - 1])).all()
    assert (found.n_components == found.kept.sum(axis=1)).all() and (found.n_components > 0).all()
    assert (np.diff(found.sizes) > 0).all()
    assert (found.kept[:-1] <= found.kept[1:]).all()  # nested
    if len(space) <= 64:
        on_path = prune(space, masks).any(axis=1)
        assert len(found.sizes) == len(np.unique(np.round(sizes[on_path], 9)))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([s for s in SPACES if len(s) > 64]), st.integers(0, 10_000))
def test_targets_pick_the_largest_circuit_that_fits(space, seed):
    order = np.random.default_rng(seed).permutation(len(space))
    masks = np.tri(len(space), dtype=bool)
    masks[:, order] = masks.copy()
    sizes, lo = circuit_size(space, masks), lowest_size(space)
    expected = set()
    for j in range(8):
        fitting = sizes[(sizes <= lo * (0.5 / lo) ** (j / 8) + 1e-12) & prune(space, masks).any(axis=1)]
        expected |= {round(float(fitting.max()), 9)} if len(fitting) else set()
    assert {round(float(x), 9) for x in prefixes(space, order, 8).sizes} == expected


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_lowest_size_is_the_smallest_one_component_circuit(space):
    single = np.eye(len(space), dtype=bool)
    alive = prune(space, single).any(axis=1)
    assert lowest_size(space) == pytest.approx(max(0.001, circuit_size(space, single)[alive].min()))


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_budgets_truncate_and_prune(space):
    order = np.random.default_rng(3).permutation(len(space))
    found = budget_circuits(space, order)
    assert found.n_ranked.tolist() == [int(k * len(space)) for k in BUDGETS]
    for n, size, kept in zip(found.n_ranked, found.sizes, found.kept, strict=True):
        top = np.isin(np.arange(len(space)), order[:n])
        assert size == pytest.approx(float(circuit_size(space, top)))
        assert (kept == prune(space, top)).all()
    assert found.sizes[-1] == pytest.approx(1)


def test_complement_is_pruned_and_disjoint():
    space = ComponentSpace(EDGE, shape(1, 2))
    kept = mask(space, {"input->a0.h0<v>", "a0.h0->logits", "a0.h1->logits"})
    rest = complement(space, kept)
    # the dropped h1 -> logits is part of the rest; input -> h0.q and h0 -> m0 still lie on paths
    assert rest[space.names.index("a0.h1->logits")] and rest[space.names.index("input->a0.h0<q>")]
    assert not (rest & prune(space, kept)).any()


def test_order_ranks_by_absolute_or_signed_score_and_draws_ties_from_the_seed():
    values = np.array([0.5, -2.0, 1.0, 0.0])
    assert ranking_order(values, signed=False, seed=0).tolist() == [1, 2, 0, 3]
    assert ranking_order(values, signed=True, seed=0).tolist() == [2, 0, 3, 1]
    tied = np.zeros(50)
    assert (ranking_order(tied, signed=True, seed=1) == ranking_order(tied, signed=True, seed=1)).all()
    assert (ranking_order(tied, signed=True, seed=1) != ranking_order(tied, signed=True, seed=2)).any()
    firsts = [int(ranking_order(tied, signed=False, seed=seed)[0]) for seed in range(200)]
    assert len(set(firsts)) > 40  # no component is favoured


def test_large_neuron_space_is_quick_and_its_targets_are_met():
    space = ComponentSpace(NEURON, shape(28, 12, 2, d_mlp=8960))
    order = np.random.default_rng(4).permutation(len(space))
    found = prefixes(space, order, 32)
    assert len(found.sizes) == 32
    targets = 0.001 * 500 ** (np.arange(32) / 32)
    assert (found.sizes <= targets).all() and (found.sizes > targets * 0.99).all()
    np.testing.assert_allclose(found.sizes[::8], circuit_size(space, found.kept[::8]), rtol=1e-12)


def test_edge_weights_of_a_space_sum_to_the_total():
    s = shape(2, 4, 2)
    assert edge_arrays(s).weight.sum() == full_weight(ComponentSpace(EDGE, s))
