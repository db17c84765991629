"""Interchange interventions: parts of a run replaced by those of other questions, by means or by zero."""

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from arithloc.tasks.toy.forward import Edits, Reader, Residual, Trace
from arithloc.tasks.toy.labels import Edge
from arithloc.tasks.toy.subject import Batch

Rows = Int[ndarray, " batch"]
Value = Float[ndarray, "batch pos width"]
Mask = Bool[ndarray, " pos"]

ACTIVE_DLOGIT = 5.0
"""A part matters if an answer flips or a logit moves by more: between noise (below 0.01) and real effects (13 to 40)."""


def slot(node: str) -> tuple[int, int | None]:
    """Layer and head of a node id; head None for an MLP."""
    if node.startswith("m"):
        return int(node[1:]), None
    layer, head = node[1:].split(".h")
    return int(layer), int(head)


def output(trace: Trace, node: str) -> Value:
    """What a node computed: z of a head, the write of an MLP."""
    layer, head = slot(node)
    return trace.mlps[layer] if head is None else trace.heads[layer, head]


def replaced(values: Mapping[str, Value], at: Mapping[str, Mask] | None = None) -> Edits:
    """Edits that set the outputs of nodes, at the positions of `at` for the nodes it names."""
    heads = {(layer, head): v for node, v in values.items() for layer, head in [slot(node)] if head is not None}
    mlps = {layer: v for node, v in values.items() for layer, head in [slot(node)] if head is None}
    return Edits(heads=heads, mlps=mlps, at={slot(node): mask for node, mask in (at or {}).items()})


def resampled(batch: Batch, nodes: Iterable[str], sources: Rows | Mapping[str, Rows], at: Mask | None = None) -> Edits:
    """Nodes take the outputs that they have on other questions of the batch.

    Args:
        batch: base questions.
        nodes: what is replaced.
        sources: row that each question takes its value from; one array for all nodes, or one per node.
        at: positions at which values are replaced; all by default.
    """
    values = {}
    for node in nodes:
        values[node] = output(batch.trace, node)[sources[node] if isinstance(sources, Mapping) else sources]
    return replaced(values, None if at is None else dict.fromkeys(values, at))


def taken(donor: Batch, nodes: Iterable[str]) -> Edits:
    """Nodes take the outputs that they have in another batch, row by row."""
    return replaced({node: output(donor.trace, node) for node in nodes})


def constant(batch: Batch, node: str, mean: Float[ndarray, "pos width"] | None) -> Edits:
    """A node's output is its mean at each position, or 0."""
    own = output(batch.trace, node)
    return replaced({node: np.zeros_like(own) if mean is None else np.broadcast_to(mean, own.shape)})


def write(batch: Batch, sender: str) -> Residual:
    """What a sender adds to the stream."""
    if sender == "input":
        return batch.subject.network.embed(batch.ids)
    layer, head = slot(sender)
    value = output(batch.trace, sender)
    return value if head is None else batch.subject.network.head_write(layer, head, value)


def reader(edge: Edge) -> Reader:
    """The receiver of an edge as the forward pass names it."""
    if edge.receiver == "logits":
        return "logits", 0, 0
    layer, head = slot(edge.receiver)
    return ("mlp", layer, 0) if head is None else (edge.slot or "", layer, head)


def edge_edits(batch: Batch, edges: Iterable[Edge], sources: Rows) -> Edits:
    """Each edge carries what its sender writes on another question; all else is unchanged."""
    reads: dict[Reader, Residual] = {}
    for edge in edges:
        own = write(batch, edge.sender)
        key = reader(edge)
        reads[key] = reads.get(key, 0.0) + own[sources] - own
    return Edits(reads=reads)
