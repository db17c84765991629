"""Runs that compute only what an edit can change equal whole edited runs."""

import numpy as np
import pytest

from arithloc.tasks.toy.arithmetic import enumerate_questions, random_questions, token_ids
from arithloc.tasks.toy.compiled import compile_circuit
from arithloc.tasks.toy.controls import untrained_twin
from arithloc.tasks.toy.forward import Edits, Network
from arithloc.tasks.toy.interchange import edge_edits, output, replaced, resampled
from arithloc.tasks.toy.labels import Edge
from arithloc.tasks.toy.partial import changed_logits, scored_logits
from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.subject import Batch, Subject

SCORED = 4
LENGTH = 10


@pytest.fixture(scope="module")
def batch():
    """Random weights, so that every part matters; LayerNorm that is not neutral."""
    built = compile_circuit(Recipe(2, "+-", 3))
    rng = np.random.default_rng(0)
    twin = untrained_twin(Subject(Network(built.weights, built.config), built.recipe.format), rng)
    config = {**built.config, "layer_norm_epsilon": 0.1}
    weights = {n: rng.normal(1, 0.1, a.shape) if ".ln_" in n else a for n, a in twin.network.weights.items()}
    return Batch.of(Subject(Network(weights, config), twin.form), random_questions(2, "+-", 12, rng))


def at(*positions):
    return np.isin(np.arange(LENGTH), positions)


def single(node, positions=None):
    def make(batch, rows):
        mask = None if positions is None else at(*positions)
        return resampled(batch, [node], rows, mask)

    return make


def edges(*chosen):
    return lambda batch, rows: edge_edits(batch, [Edge(*edge) for edge in chosen], rows)


def several_at_positions(batch, rows):
    values = {node: output(batch.trace, node)[rows] for node in ("a0.h1", "m1", "a2.h3")}
    return replaced(values, {"a0.h1": at(5), "m1": at(3, 8), "a2.h3": at(9)})


def node_and_edges(batch, rows):
    node, extra = resampled(batch, ["a1.h0", "m0"], rows), edge_edits(batch, [Edge("input", "a2.h1", "k")], rows)
    return Edits(heads=node.heads, mlps=node.mlps, reads={**extra.reads, ("mlp", 2, 0): batch.trace.residual[0][rows]})


EDITS = {
    "head": single("a0.h2"),
    "last head": single("a2.h0"),
    "mlp": single("m1"),
    "last mlp": single("m2"),
    "head at a position": single("a0.h2", [4]),
    "mlp at a position": single("m1", [7]),
    "last mlp in front of the answer": single("m2", [2]),
    "nowhere": single("a1.h1", []),
    "edges of the input": edges(("input", "a0.h0", "q"), ("input", "a0.h0", "v"), ("input", "m0")),
    "edge to a key": edges(("a0.h1", "a1.h2", "k")),
    "edges of several blocks": edges(("a0.h1", "a1.h2", "v"), ("m0", "a2.h2", "q"), ("m1", "m2"), ("a2.h0", "logits")),
    "edge to the logits": edges(("m0", "logits")),
    "several at positions": several_at_positions,
    "node and edges": node_and_edges,
}


@pytest.mark.parametrize("make", EDITS.values(), ids=EDITS.keys())
def test_partial_runs_equal_whole_runs(batch, make):
    rows = np.random.default_rng(1).permutation(12)
    edits = make(batch, rows)
    whole = batch.subject.network.run(batch.ids, edits)
    found = changed_logits(batch.subject.network, batch.trace, edits, SCORED)
    reached = found.shape[1]
    assert np.abs(found - whole.logits[:, -reached:]).max() < 1e-9
    # what is left out is what the edit cannot reach
    before = slice(LENGTH - SCORED, LENGTH - reached)
    assert np.abs(whole.logits[:, before] - batch.trace.logits[:, before]).max(initial=0.0) < 1e-9
    change = batch.compare(edits)
    assert change.dlogit == pytest.approx(np.abs(whole.logits - batch.trace.logits)[:, -SCORED:].max(), abs=1e-9)
    assert (batch.tokens(edits) == whole.logits[:, -SCORED:].argmax(axis=-1)).all()
    assert (change.flips == (batch.tokens(edits) != batch.predicted).any(axis=1)).all()


def test_an_edit_at_the_last_position_reaches_one_row_of_logits(batch):
    edits = single("a0.h2", [9])(batch, np.roll(np.arange(12), 1))
    assert changed_logits(batch.subject.network, batch.trace, edits, SCORED).shape == (12, 1, 16)


@pytest.mark.parametrize("rows", [slice(700, 730), slice(0, 10_000, 997)], ids=["alike", "different"])
def test_questions_that_begin_alike_give_the_same_logits(batch, rows):
    ids = token_ids(enumerate_questions(2, "+")[rows], batch.subject.form)[:, :-1]
    whole = batch.subject.network.run(ids).logits[:, -SCORED:]
    assert np.abs(scored_logits(batch.subject.network, ids, SCORED) - whole).max() < 1e-9


def test_questions_that_share_no_token_give_the_same_logits(batch):
    ids = batch.ids[:, 1:]  # as in models without <bos>
    assert len(set(ids[:, 0].tolist())) > 1
    whole = batch.subject.network.run(ids).logits[:, -SCORED:]
    assert np.abs(scored_logits(batch.subject.network, ids, SCORED) - whole).max() < 1e-9
