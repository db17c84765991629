"""Pruning and realised size of circuits: one unit for all granularities, the share of real edges kept.

    size(C) = W(C) / W(full space)

W counts the un-grouped edges on input-to-logits paths of C whose sender belongs to the space. The input is a sender of
every space but `neuron`; there a hidden unit brings 1 / d_mlp of each outgoing edge of its MLP, and heads and input,
which are always on, bring nothing. Totals without position classes (L blocks, H heads, A = L + (H+1) L (L-1) / 2):
(3H+1) A + L H + 1 + L (H+1) edges, without the term L H for parallel blocks, of which (3H+1) L (L-1) / 2 + L are sent by
MLPs.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from numpy import ndarray

from arithloc.benchmark.api.components import ComponentSpace, ModelShape
from arithloc.benchmark.api.edges import mlp_sender, total_weight
from arithloc.benchmark.api.vocabulary import Granularity
from arithloc.benchmark.metrics.graph import PathTimes, path_times


def prune(space: ComponentSpace, kept: Bool[ndarray, "*batch comp"]) -> Bool[ndarray, "*batch comp"]:
    """The kept components that lie on an input-to-logits path; what is left is what a circuit's run uses."""
    removed = ~kept
    return np.asarray(~component_times(space, removed, path_times(space, removed)))


def complement(space: ComponentSpace, kept: Bool[ndarray, "*batch comp"]) -> Bool[ndarray, "*batch comp"]:
    """The pruned circuit of everything that the pruned circuit of `kept` does not contain."""
    return prune(space, ~prune(space, kept))


def surviving_weight(space: ComponentSpace, kept: Bool[ndarray, "*batch comp"]) -> Float[ndarray, "*batch"]:
    """W of pruned circuits, in un-grouped edges."""
    sent = sent_edges(path_times(space, ~kept), 0)
    if space.granularity is not Granularity.NEURON:
        return np.asarray(sent.sum(axis=(-2, -1)), dtype=np.float64)
    grid = (*kept.shape[:-1], *space.grid_shape[:2], max(len(space.classes), 1))
    units = kept.reshape(grid).sum(axis=-2)
    return np.asarray((units * sent_by_mlps(space.shape, sent)).sum(axis=(-2, -1)) / space.shape.d_mlp)


def circuit_size(space: ComponentSpace, kept: Bool[ndarray, "*batch comp"]) -> Float[ndarray, "*batch"]:
    """Realised size of circuits after pruning, in [0, 1]; 1 for the full space.

    Example: one block with two heads has 13 edges; head 0 alone keeps its q, k, v, its edge to the logits and the
    input's.
    >>> space = ComponentSpace(Granularity.NODE, ModelShape(1, 2, 2, d_model=4, d_head=2, d_mlp=8, vocab=5))
    >>> float(circuit_size(space, np.array([True, False, False])) * 13)
    5.0
    """
    return np.asarray(surviving_weight(space, kept) / full_weight(space))


def full_weight(space: ComponentSpace) -> float:
    """W of the full space."""
    if not space.classes:
        mlp = mlp_weight(space.shape)
        return float(mlp if space.granularity is Granularity.NEURON else total_weight(space.shape))
    return float(surviving_weight(space, np.ones(len(space), dtype=np.bool_)))


def mlp_weight(shape: ModelShape) -> int:
    """Edges whose sender is an MLP: (3H + 1) L (L - 1) / 2 + L."""
    layers = shape.n_layers
    return (3 * shape.n_heads + 1) * layers * (layers - 1) // 2 + layers


def whole_model_size(shape: ModelShape, neuron_size: float) -> float:
    """Size in the whole model of a neuron circuit without position classes; heads and input are on in it."""
    edges, mlp = total_weight(shape), mlp_weight(shape)
    return (neuron_size * mlp + edges - mlp) / edges


def sent_edges(paths: PathTimes, until: int) -> Int[ndarray, "*batch sender cls"]:
    """Un-grouped edges of each sender that lie on an input-to-logits path at time `until`."""
    counts = np.zeros(paths.arrival.shape, dtype=np.int64)
    for block in paths.ungrouped():
        counts[..., : block.shape[-2], -block.shape[-1] :] += (block <= until).sum(axis=-3)
    return counts


def sent_by_mlps(shape: ModelShape, sent: Int[ndarray, "*batch sender cls"]) -> Int[ndarray, "*batch layer cls"]:
    """The rows of `sent_edges` that belong to the MLPs, bottom block first."""
    return sent[..., mlp_sender(shape, 0) :: shape.n_heads + 1, :]


def component_times(
    space: ComponentSpace, times: Shaped[ndarray, "*batch comp"], paths: PathTimes
) -> Shaped[ndarray, "*batch comp"]:
    """When each component of the space comes to lie on an input-to-logits path."""
    if space.granularity is Granularity.EDGE:
        return paths.edges()
    lead, layers = times.shape[:-1], space.shape.n_layers
    senders = paths.senders()
    nodes = senders[..., 1:, :].reshape(*lead, layers, space.shape.n_heads + 1, senders.shape[-1])
    heads, mlps = nodes[..., :-1, :], nodes[..., -1:, :]
    match space.granularity:
        case Granularity.LAYER:
            nodes = np.concatenate([heads.min(axis=-2, keepdims=True), mlps], axis=-2)
        case Granularity.NEURON:
            nodes = np.broadcast_to(mlps, (*lead, layers, space.shape.d_mlp, senders.shape[-1]))
    return np.asarray(np.maximum(times, nodes.reshape(times.shape)))
