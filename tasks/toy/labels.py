"""Truth labels of a compiled circuit, derived from its roles: nodes, neurons, position classes and edges."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from arithloc.tasks.toy.assembly import COMPENSATOR, Assembly, assemble_weights
from arithloc.tasks.toy.compiled import Compiled
from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.roles import HeadRole, MlpRole, Neuron, Program

Mask = Bool[ndarray, " d_model"]


@dataclass(frozen=True)
class Edge:
    """One sender's write as read by one receiver.

    Attributes:
        sender: `input`, `a0.h1` or `m0`.
        receiver: `a1.h2`, `m1` or `logits`.
        slot: `q`, `k` or `v` of a head, else None.
    """

    sender: str
    receiver: str
    slot: str | None = None

    @property
    def name(self) -> str:
        """Name in the edge space, as `a0.h1->a1.h2<q>`."""
        return f"{self.sender}->{self.receiver}" + (f"<{self.slot}>" if self.slot else "")


@dataclass(frozen=True)
class EdgeLabel:
    """Truth about an edge: `in`, `static` (its content never varies) or `undecided`; all other edges are `out`.

    Edges of a group of nodes form groups of their own, one per slot (`carry.k`, `carry.v`) and one for their writes.
    """

    label: str
    group: str | None = None
    quorum: int | None = None


@dataclass(frozen=True)
class NodeLabel:
    """Truth about a head or an MLP.

    Attributes:
        layer: its block.
        head: its head, None for an MLP.
        role: what it computes, None for a decoy.
        label: `in`, `out` or `undecided`.
        classes: label at each position class.
        group, quorum: redundancy or cancellation.
    """

    layer: int
    head: int | None
    role: str | None
    label: str
    classes: dict[str, str]
    group: str | None = None
    quorum: int | None = None


def head_id(layer: int, head: int) -> str:
    """Component id of a head."""
    return f"a{layer}.h{head}"


def role_ids(built: Compiled) -> dict[str, str]:
    """Component id of every role."""
    ids = {name: head_id(*slot) for name, slot in built.placement.heads.items()}
    return ids | {name: f"m{layer}" for name, layer in built.placement.mlps.items()}


def family(role: str) -> str:
    """Role without the number of a copy or level: `carry_2` is `carry`."""
    return re.sub(r"_\d+$", "", role)


def node_labels(built: Compiled) -> dict[str, NodeLabel]:
    """Label of every head and MLP, in the order of the node space."""
    by_slot: dict[tuple[int, int | None], HeadRole | MlpRole] = {
        built.placement.heads[role.name]: role for role in built.program.heads
    }
    by_slot |= {(built.placement.mlps[role.name], None): role for role in built.program.mlps}
    classes = built.recipe.format.classes
    found = {}
    for layer in range(built.recipe.n_layers):
        for head in (*range(built.recipe.n_heads), None):
            role = by_slot.get((layer, head))
            label = role.label if isinstance(role, HeadRole) else "in" if role else "out"
            active = role.classes if role else ()
            found[f"m{layer}" if head is None else head_id(layer, head)] = NodeLabel(
                layer,
                head,
                family(role.name) if role else None,
                label,
                {c: label if c in active else "out" for c in classes},
                role.group if isinstance(role, HeadRole) else None,
                role.quorum if isinstance(role, HeadRole) else None,
            )
    return found


def role_neurons(built: Compiled) -> dict[str, tuple[str, Neuron]]:
    """Role and program neuron of every hidden unit that has one, by unit id."""
    return {
        f"m{built.placement.mlps[role.name]}.n{unit}": (family(role.name), neuron)
        for role in built.program.mlps
        for unit, neuron in zip(built.units[built.placement.mlps[role.name]], role.neurons, strict=True)
    }


def real_edges(n_layers: int, n_heads: int) -> Iterator[Edge]:
    """Every edge of a sequential transformer: each sender's write that a later receiver reads."""
    senders = ["input"]
    for layer in range(n_layers):
        heads = [head_id(layer, head) for head in range(n_heads)]
        for receiver in heads:
            yield from (Edge(sender, receiver, slot) for sender in senders for slot in "qkv")
        senders += heads
        yield from (Edge(sender, f"m{layer}") for sender in senders)
        senders.append(f"m{layer}")
    yield from (Edge(sender, "logits") for sender in senders)


def count_edges(n_layers: int, n_heads: int) -> int:
    """Closed form of the number of real edges: (3H+1) A + L H + 1 + L (H+1), A = L + (H+1) L (L-1) / 2."""
    a = n_layers + (n_heads + 1) * n_layers * (n_layers - 1) // 2
    return (3 * n_heads + 1) * a + n_layers * n_heads + 1 + n_layers * (n_heads + 1)


def edge_labels(built: Compiled) -> dict[Edge, EdgeLabel]:
    """All edges that are not `out`, from the role weights in the basis of features.

    The features that a sender writes and a receiver's slot reads are compared. None in common: `out`. All common ones
    depend on the position alone, or the sender's output does: `static`. Otherwise the edge carries a variable.
    """
    supports = _Supports(built.recipe, built.program, built)
    nodes, found = node_labels(built), {}
    for edge in real_edges(built.recipe.n_layers, built.recipe.n_heads):
        common = supports.writes[edge.sender] & supports.reads(edge.receiver, edge.slot)
        if not common.any():
            continue
        if edge.sender in supports.steady or not (common & ~supports.constant).any():
            found[edge] = EdgeLabel("static")
            continue
        ends = [nodes[name] for name in (edge.sender, edge.receiver) if name in nodes]
        labels = {end.label for end in ends}
        if "out" in labels or not (common & ~supports.constant & ~supports.gated_off(edge.receiver)).any():
            continue
        grouped = next((end for end in ends if end.group), None)
        label = "undecided" if "undecided" in labels else "in"
        group = f"{grouped.group}.{edge.slot or 'write'}" if grouped else None
        found[edge] = EdgeLabel(label, group, grouped.quorum if grouped else None)
    return found


class _Supports:
    """Which features each sender writes and each receiver reads, found in the weights of the roles alone."""

    def __init__(self, recipe: Recipe, program: Program, built: Compiled) -> None:
        self.build: Assembly = assemble_weights(program, built.placement, recipe)
        self.constant = self.mask(program.constant)
        self._gated = {f"m{built.placement.mlps[m.name]}": self.mask(m.gated_off) for m in program.mlps}
        weights, d, dh = self.build.weights, self.build.d_model, self.build.d_head
        embedding = np.concatenate([weights["transformer.wte.weight"], weights["transformer.wpe.weight"]])
        self.writes: dict[str, Mask] = {"input": (embedding != 0).any(axis=0)}
        self._reads: dict[tuple[str, str | None], Mask] = {
            ("logits", None): (weights["lm_head.weight"] != 0).any(axis=0)
        }
        for layer in range(recipe.n_layers):
            attention = self.build.block(layer, "attn.c_attn.weight") != 0
            written = self.build.block(layer, "attn.c_proj.weight") != 0
            for head in range(recipe.n_heads):
                own = slice(head * dh, (head + 1) * dh)
                self.writes[head_id(layer, head)] = written[own].any(axis=0)
                for i, slot in enumerate("qkv"):
                    self._reads[head_id(layer, head), slot] = attention[:, i * d :][:, own].any(axis=1)
            self.writes[f"m{layer}"] = (self.build.block(layer, "mlp.c_proj.weight") != 0).any(axis=0)
            self._reads[f"m{layer}", None] = (self.build.block(layer, "mlp.c_fc.weight") != 0).any(axis=1)
        varying = ~self.constant
        self.steady = {
            name
            for name in (head_id(*slot) for slot in built.placement.heads.values())
            if not any((self._reads[name, slot] & varying).any() for slot in "qkv")
        }

    def mask(self, features: frozenset[str]) -> Mask:
        """Coordinates of features; the compensator is in none."""
        chosen = np.zeros(self.build.d_model, dtype=bool)
        chosen[[self.build.index[f] for f in features if f != COMPENSATOR]] = True
        return chosen

    def reads(self, receiver: str, slot: str | None) -> Mask:
        """Features that a receiver's slot reads."""
        return self._reads[receiver, slot]

    def gated_off(self, receiver: str) -> Mask:
        """Features that a receiver reads without any effect."""
        return self._gated.get(receiver, np.zeros(self.build.d_model, dtype=bool))
