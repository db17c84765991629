"""What the found heads read: path patching from every node to their queries, keys and values.

Reference: Wang et al., arXiv:2211.00593, section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import ComponentSpace, Granularity, Progress, PromptPair
from arithloc.benchmark.api.report import Cell, Heatmap, Section, Table
from arithloc.benchmark.metrics.measured import Spread, draws_of
from arithloc.benchmark.models import SubjectModel

SLOTS = {"q": "queries", "k": "keys", "v": "values"}
SHOWN = 10
"""Senders of each slot that the table lists."""


@dataclass(frozen=True, eq=False)
class Received:
    """Change of the logit difference when a sender's counterfactual value reaches the receivers alone.

    Attributes:
        slot: `q`, `k` or `v`.
        receivers: their names.
        change: (layer, heads then the MLP, pair).
        pairs: the pairs.
    """

    slot: str
    receivers: tuple[str, ...]
    change: Float[ndarray, "layer node pair"]
    pairs: tuple[PromptPair, ...]


def received(
    model: SubjectModel, heads: Sequence[int], slot: str, pairs: Sequence[PromptPair], progress: Progress
) -> Received:
    """Path patching to one slot of all heads together; keys and values are those of the heads' groups.

    Args:
        model: the subject model.
        heads: layer * n_heads + head.
        slot: `q`, `k` or `v`.
        pairs: the pairs.
        progress: called with (done, total).
    """
    group = 1 if slot == "q" else model.group_size
    names = []
    for index in heads:
        layer, head = divmod(int(index), model.shape.n_heads)
        names.append(f"a{layer}.h{head // group}<{slot}>")
    receivers = tuple(dict.fromkeys(names))
    space = ComponentSpace(Granularity.NODE, model.shape)
    clean = engine.read(model, pairs).metric("logit_diff")
    patched = engine.direct_effect(model, pairs, space, receivers=receivers, pair_logits=True, progress=progress)
    change = (patched.metric("logit_diff") - clean).reshape(*space.grid_shape, len(pairs))
    return Received(slot, receivers, change, tuple(pairs))


def receiver_section(found: Sequence[Received]) -> Section:
    """A map of senders for each slot, and the largest of them."""
    pictures, rows = [], []
    for one in found:
        n_layers, n_nodes = one.change.shape[:2]
        columns = (*map(str, range(n_nodes - 1)), "MLP")
        title = f"Senders to the {SLOTS[one.slot]} of {', '.join(name.partition('<')[0] for name in one.receivers)}"
        pictures.append(
            Heatmap(
                f"receivers_{one.slot}", title, tuple(map(str, range(n_layers))), columns, one.change.mean(-1),
                column_title="head",
            )
        )  # fmt: skip
        rows += _largest(one)
    table = Table(
        "senders",
        "Largest senders",
        ("to", "sender", "change", "low", "high", "n"),
        tuple(rows),
        "Change of the logit difference; negative where the path carries what the answer needs.",
    )
    text = (
        "Each head and MLP takes its counterfactual value at all positions, and only the queries, keys or values of the found heads see it. Keys and values are "
        "shared by the heads of a group where the model has fewer of them."
    )
    return Section("What the found heads read", text, tuple(pictures), (table,))


def _largest(one: Received) -> list[tuple[Cell, ...]]:
    draws = draws_of(one.pairs)
    flat = one.change.reshape(-1, len(one.pairs))
    n_nodes = one.change.shape[1]
    rows: list[tuple[Cell, ...]] = []
    for index in np.argsort(-np.abs(flat.mean(-1)), kind="stable")[:SHOWN]:
        layer, node = divmod(int(index), n_nodes)
        name = f"m{layer}" if node == n_nodes - 1 else f"a{layer}.h{node}"
        found = Spread(np.asarray(flat[index].mean()), draws.means(flat[index]), draws.n_clusters).measured
        rows.append((SLOTS[one.slot], name, found.value, found.low, found.high, found.n))
    return rows
