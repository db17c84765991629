"""Truth documents: the schema, labels of spaces, and agreement of scores with them."""

import copy

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from arithloc.benchmark.api.components import ComponentSpace, ModelShape
from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.api.vocabulary import Granularity
from arithloc.benchmark.metrics.truth import Quorum, Truth, truth_estimates, truth_of
from arithloc.benchmark.metrics.truth_document import read_truth_document

SHAPE = ModelShape(2, 2, 2, d_model=8, d_head=4, d_mlp=3, vocab=10)
HEX = "0" * 64
CHANGE = {"flip": 0.0, "dlogit": 0.0}


def node(name, label="out", role=None, group=None, quorum=None, **classes):
    kind = "mlp" if name[0] == "m" else "head"
    return {
        "id": name,
        "layer": int(name[1]),
        "kind": kind,
        "head": None if kind == "mlp" else int(name[-1]),
        "role": role,
        "label": label,
        "group": group,
        "quorum": quorum,
        "classes": {"operand": "out", "last": label, **classes},
        "effect": {"resample": CHANGE, "mean": CHANGE, "zero": CHANGE},
    }


def edge(sender, receiver, slot, label="in", group=None):
    return {
        "sender": sender,
        "receiver": receiver,
        "slot": slot,
        "label": label,
        "group": group,
        "quorum": None,
        "flip": 0.5,
        "dlogit": 3,
    }


def document():
    return {
        "schema": 1,
        "id": "toy-a-test",
        "tier": "A",
        "stressors": [],
        "generator": {"name": "compiled", "version": 1, "recipe": {"seed": 1}, "recipe_sha256": HEX},
        "model": {
            "architecture": "GPT2LMHeadModel",
            "config": {"n_layer": 2},
            "parameters": 10,
            "weights_sha256": None,
            "dtype_min": "float32",
        },
        "format": {
            "n_digits": 2,
            "operators": "+-",
            "bos": True,
            "vocab": ["0", "1"],
            "positions": [{"index": 0, "class": "operand"}],
        },
        "distribution": {
            "id": "all",
            "kind": "uniform",
            "operand_min": 0,
            "operand_max": 99,
            "operator_weights": {"+": 0.5, "-": 0.5},
            "excluded": [[1, "+", 2]],
        },
        "ablation": "counterfactual",
        "tolerance": {"flip": 0, "dlogit": 0.01},
        "behaviour": {
            "mode": "exhaustive",
            "questions": 20000,
            "wrong": 0,
            "min_margin": 19.9,
            "free_running_wrong": 0,
        },
        "variables": [{"name": "SA0", "definition": "d", "values": [0, "x"], "sites": ["m0@last"], "iia": 1.0}],
        "nodes": [
            node("a0.h0", "in", "fetch", operand="in", last="out"),
            node("a0.h1"),
            node("m0", "in", "mlp"),
            node("a1.h0", "undecided", "op", "spare", 1),
            node("a1.h1", "in", "sum"),
            node("m1"),
        ],
        "neurons": [{"id": "m0.n1", "role": "mlp", "label": "in"}],
        "edges": [edge("input", "a0.h0", "v"), edge("a0.h0", "m0", None), edge("input", "a0.h0", "q", "static")],
        # 2 blocks of 2 heads: E = 7 * (2 + 3) + 4 + 1 + 6 = 46
        "edges_out": {"count": 43, "max_flip": 0.0, "max_dlogit": 0.0},
        "groups": [{"name": "spare", "members": ["a1.h0"], "quorum": 1, "meaning": "cancel"}],
        "certificates": [
            {
                "check": 1,
                "name": "behaviour",
                "passed": True,
                "n": 20000,
                "seed": None,
                "value": 1.0,
                "bound": None,
                "dtype": "float32",
                "seconds": 1.5,
            }
        ],
        "controls": [{"name": "untrained twin", "expected": "fails", "value": 0.1, "passed": True}],
        "provenance": {"created": "2026-01-01T00:00:00Z", "code_version": "0.1.0", "commit": "", "packages": {}},
    }


def changed(path, value):
    copied = copy.deepcopy(document())
    target = copied
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return copied


def test_a_complete_document_is_read():
    truth = read_truth_document(document())
    assert truth.nodes[0].classes == {"operand": "in", "last": "out"}
    assert truth.format.positions[0].position_class == "operand"
    assert truth.edges[0].name == "input->a0.h0<v>" and truth.edges[1].name == "a0.h0->m0"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("extra",), 1, "extra: Extra inputs are not permitted"),
        (("nodes", 0, "note"), "x", r"nodes\.0\.note: Extra inputs"),
        (("schema",), 2, "schema: Input should be 1"),
        (("nodes", 0, "layer"), "0", r"nodes\.0\.layer: Input should be a valid integer"),
        (("nodes", 0, "label"), "maybe", r"nodes\.0\.label: Input should be 'in', 'out' or 'undecided'"),
        (("nodes", 1), node("m0"), "every head and MLP once, found a0.h1, m0 otherwise"),
        (("edges_out", "count"), 42, "expected 46 listed and out together, found 45"),
        (("edges", 1), edge("input", "a0.h0", "v"), "each edge once"),
        (("groups",), [], r"\['spare'\] undefined"),
        (("certificates", 0, "check"), 10, "less than or equal to 9"),
        (("generator", "recipe_sha256"), "abc", "String should match pattern"),
        (("tolerance", "flip"), float("nan"), "finite numbers"),
    ],
)
def test_faulty_documents_are_refused(path, value, message):
    with pytest.raises(MetricError, match=message):
        read_truth_document(changed(path, value))


def test_labels_of_the_node_space():
    space = ComponentSpace(Granularity.NODE, SHAPE)
    truth = truth_of(read_truth_document(document()), space)
    assert [n for n, p in zip(space.names, truth.positive, strict=True) if p] == ["a0.h0", "m0", "a1.h1"]
    assert [n for n, u in zip(space.names, truth.universe, strict=True) if not u] == ["a1.h0"]
    assert {space.name(i): role for i, role in truth.roles.items()} == {"a0.h0": "fetch", "m0": "mlp", "a1.h1": "sum"}


def test_labels_by_position_class():
    space = ComponentSpace(Granularity.NODE, SHAPE, ("operand", "last"))
    truth = truth_of(read_truth_document(document()), space)
    assert [n for n, p in zip(space.names, truth.positive, strict=True) if p] == [
        "a0.h0@operand",
        "m0@last",
        "a1.h1@last",
    ]
    assert not truth.universe[space.names.index("a1.h0@last")]
    assert truth.universe[space.names.index("a1.h0@operand")]


def test_labels_of_edges_and_hidden_units():
    space = ComponentSpace(Granularity.EDGE, SHAPE)
    truth = truth_of(read_truth_document(document()), space)
    assert [n for n, p in zip(space.names, truth.positive, strict=True) if p] == ["input->a0.h0<v>", "a0.h0->m0"]
    assert [n for n, u in zip(space.names, truth.universe, strict=True) if not u] == ["input->a0.h0<q>"]
    space = ComponentSpace(Granularity.NEURON, SHAPE)
    truth = truth_of(read_truth_document(document()), space)
    assert truth.positive.tolist() == [False, True, False, False, False, False] and truth.universe.all()


def test_spaces_without_truth_and_foreign_models():
    read = read_truth_document(document())
    assert truth_of(read, ComponentSpace(Granularity.LAYER, SHAPE)) is None
    assert truth_of(read_truth_document(changed(("neurons",), None)), ComponentSpace(Granularity.NEURON, SHAPE)) is None
    larger = ModelShape(3, 2, 2, d_model=8, d_head=4, d_mlp=3, vocab=10)
    with pytest.raises(MetricError, match="0 that it does not have and 3 unnamed"):
        truth_of(read, ComponentSpace(Granularity.NODE, larger))


def test_a_document_that_tells_no_component_from_the_others_gives_no_labels():
    """In a trained model every head and MLP may matter somewhere: nodes say nothing, nodes at positions do."""
    data = document()
    for row in data["nodes"]:
        row["label"] = "in"
    read = read_truth_document(data)
    assert truth_of(read, ComponentSpace(Granularity.NODE, SHAPE)) is None
    assert truth_of(read, ComponentSpace(Granularity.NODE, SHAPE, ("operand", "last"))) is not None


def plain(positive, universe=None, quorums=(), roles=None):
    positive = np.array(positive, dtype=bool)
    universe = np.ones(len(positive), dtype=bool) if universe is None else np.array(universe, dtype=bool)
    return Truth(positive, universe, tuple(quorums), roles or {})


def named(values, truth, seed=0):
    return {e.name: e for e in truth_estimates(np.array(values, dtype=float), truth, seed)}


def test_ex_t2_the_best_members_of_a_quorum_are_positives_and_the_rest_is_left_out():
    truth = plain([1, 1, 1, 1, 0, 0], quorums=[Quorum(tuple(np.array([i]) for i in range(3)), 2)])
    # group 4, 0, 3 with quorum 2; other positive 5; negatives 2, 1: positives 4, 3, 5 beat 2 and 1
    assert named([4, 0, 3, 5, 2, 1], truth)["auroc"].value == 1
    # with one more weak member: 4 and 0 are the positives of the group; 0 loses to both negatives: 4 of 6 pairs
    assert named([4, 0, -0.0, 5, 2, 1], truth)["auroc"].value == pytest.approx(4 / 6)


def test_edges_of_a_member_stand_or_fall_together():
    # two of the members {0, 1}, {2, 3}, {4, 5}: means 4, 4.5, 1, so the third is left out; negatives 2 and 0:
    # positives 8, 0, 5, 4 against 2, 0: (2 + .5 + 2 + 2) of 8 pairs
    truth = plain([1, 1, 1, 1, 1, 1, 0, 0], quorums=[Quorum((np.array([0, 1]), np.array([2, 3]), np.array([4, 5])), 2)])
    assert named([8, 0, 5, 4, 1, 1, 2, 0], truth)["auroc"].value == pytest.approx(6.5 / 8)


def grouped():
    copied = document()
    for i, name in ((1, "a0.h1"), (3, "a1.h0"), (4, "a1.h1")):
        copied["nodes"][i] = node(name, "in", "carry", "spare", 1)
    copied["nodes"][3]["classes"]["operand"] = "in"
    copied["edges"] = [
        edge("input", "a0.h1", "v", group="spare"),
        edge("a0.h1", "logits", None, group="spare"),
        edge("m0", "a1.h0", "k", group="spare"),
        edge("a0.h0", "m0", None),
    ]
    copied["edges_out"]["count"] = 42
    copied["groups"] = [{"name": "spare", "members": ["a0.h1", "a1.h0", "a1.h1"], "quorum": 1, "meaning": "backup"}]
    return read_truth_document(copied)


def test_groups_become_quorums_of_nodes_of_classes_and_of_edges():
    def found(space):
        truth = truth_of(grouped(), space)
        return [([[space.name(int(i)) for i in member] for member in q.members], q.needed) for q in truth.quorums]

    nodes = ComponentSpace(Granularity.NODE, SHAPE)
    assert found(nodes) == [([["a0.h1"], ["a1.h0"], ["a1.h1"]], 1)]
    # only one member acts at the operand: nothing to choose from there
    classes = ComponentSpace(Granularity.NODE, SHAPE, ("operand", "last"))
    assert found(classes) == [([["a0.h1@last"], ["a1.h0@last"], ["a1.h1@last"]], 1)]
    edges = ComponentSpace(Granularity.EDGE, SHAPE)
    assert found(edges) == [([["input->a0.h1<v>", "a0.h1->logits"], ["m0->a1.h0<k>"]], 1)]


def test_cancelling_groups_are_left_out():
    truth = truth_of(read_truth_document(document()), ComponentSpace(Granularity.NODE, SHAPE))
    assert truth.quorums == ()


def test_estimates_agree_with_scikit_learn_on_the_counted_components():
    rng = np.random.default_rng(0)
    positive, universe = rng.random(40) < 0.3, rng.random(40) < 0.8
    values = rng.normal(size=40) + positive
    found = named(values, plain(positive & universe, universe))
    truth = positive[universe]
    assert found["auroc"].value == pytest.approx(roc_auc_score(truth, np.abs(values[universe])), abs=1e-12)
    assert found["auroc_signed"].value == pytest.approx(roc_auc_score(truth, values[universe]), abs=1e-12)
    k = truth.sum()
    top = np.argsort(-np.abs(values[universe]))[:k]
    assert found["precision_at_true_size"].value == pytest.approx(truth[top].mean(), abs=1e-12)
    share = truth.mean()
    expected = (found["average_precision"].value - share) / (1 - share)
    assert found["ap_norm"].value == pytest.approx(expected, abs=1e-12)


def test_recall_by_role():
    truth = plain([1, 1, 1, 0, 0, 0], roles={0: "fetch", 1: "carry", 2: "carry"})
    # top three by absolute score: 9, -8, 7 = components 0, 4, 1
    found = named([9, 7, 1, 2, -8, 3], truth)
    assert found["recall_fetch"].value == 1 and found["recall_carry"].value == 0.5


def test_null_band_of_random_scores():
    found = named(np.arange(60), plain(np.arange(60) >= 45), seed=1)
    null = found["auroc_null"]
    assert null.value == pytest.approx(0.5, abs=0.02) and null.low < 0.42 and null.high > 0.58
    # standard deviation of the Mann-Whitney statistic: sqrt((P + N + 1) / (12 P N)) = 0.0868
    assert null.high - null.low == pytest.approx(2 * 1.96 * (61 / (12 * 15 * 45)) ** 0.5, rel=0.15)
    assert found["auroc"].value == 1 and found["auroc_p"].value == pytest.approx(1 / 401)
    assert named(np.ones(60), plain(np.arange(60) >= 45))["auroc_p"].value > 0.3


def test_permuting_components_changes_nothing():
    rng = np.random.default_rng(3)
    values, positive = rng.normal(size=30), rng.random(30) < 0.4
    order = rng.permutation(30)
    first, second = named(values, plain(positive)), named(values[order], plain(positive[order]))
    for name in ("auroc", "auroc_signed", "average_precision", "precision_at_true_size"):
        assert first[name].value == pytest.approx(second[name].value, abs=1e-12)
