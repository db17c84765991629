"""Circuits as graphs: which components lie on a path from input to logits, and since when.

A component has a *time*: the number of ranked components that must be kept for it to be kept, or, for one mask, False
(kept) and True (not kept). A path exists as soon as its last edge does, and a node as soon as its first path does, so
one pass of minima of maxima up the model and one down give the time at which every edge comes to lie on an
input-to-logits path: the pruned circuits of *all* prefixes of a ranking at once. With booleans the same code prunes
masks. Pruning leaves exactly the components on such a path; it is what removing components without kept incoming or
outgoing edges, until nothing changes, ends with.

With position classes a node is a (component, class): a head at a class reads q there and k and v at classes not after
it, and the logits read the last class. Edges are counted un-grouped: the k or v edge of a key/value head counts once
for every query head of its group that is on a path, so grouping never changes a size.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from arithloc.benchmark.api.components import ComponentSpace, ModelShape
from arithloc.benchmark.api.edges import (
    edge_arrays,
    head_sender,
    layer_edges,
    mlp_sender,
    n_edges,
    n_senders,
    slots_per_layer,
)
from arithloc.benchmark.api.vocabulary import Granularity


@dataclass(frozen=True, eq=False)
class PathTimes:
    """Times of all edges and nodes, any leading axes first.

    Attributes:
        shape: the model.
        body: time of each edge that does not go to the logits, per class.
        logits: time of each edge to the logits.
        arrival: when each sender is first reached from the input, per class.
        departure: when the logits are first reached from each sender, per class.
    """

    shape: ModelShape
    body: Shaped[ndarray, "*batch edge cls"]
    logits: Shaped[ndarray, "*batch sender"]
    arrival: Shaped[ndarray, "*batch sender cls"]
    departure: Shaped[ndarray, "*batch sender cls"]

    def senders(self) -> Shaped[ndarray, "*batch sender cls"]:
        """When each sender comes to lie on an input-to-logits path."""
        return np.asarray(np.maximum(self.arrival, self.departure))

    def edges(self) -> Shaped[ndarray, "*batch all_edges"]:
        """When each native edge comes to lie on such a path, in the order of the edge space."""
        lead, flat = self.body.shape[:-2], list[ndarray]()
        for layer, part in enumerate(layer_edges(self.shape)):
            heads, causal = self._head_departures(layer)
            grouped = _by_group(causal, self.shape).min(axis=-2)
            reader = np.concatenate([heads, grouped, grouped], axis=-2)[..., :, None, :]
            below = self.arrival[..., None, : part.attention_senders, :]
            flat += [np.maximum(np.maximum(self._attention(layer), below), reader), self._into_mlp(layer)]
        flat.append(self._into_logits())
        return np.concatenate([part.reshape(*lead, math.prod(part.shape[len(lead) :])) for part in flat], axis=-1)

    def ungrouped(self) -> Iterator[Shaped[ndarray, "*batch readers sender cls"]]:
        """The same with k and v edges repeated for each query head of the group, block by block; the logits have one class.

        The axis of senders starts at sender 0 in each block and is as long as what is read there.
        """
        for layer, part in enumerate(layer_edges(self.shape)):
            heads, causal = self._head_departures(layer)
            below = self.arrival[..., None, : part.attention_senders, :]
            edges, n = self._attention(layer), self.shape.n_heads
            keys_values = _to_heads(edges[..., n:, :, :], self.shape, axis=-3)
            yield np.maximum(np.maximum(edges[..., :n, :, :], below), heads[..., :, None, :])
            for one in (keys_values[..., :n, :, :], keys_values[..., n:, :, :]):
                yield np.maximum(np.maximum(one, below), causal[..., :, None, :])
            yield self._into_mlp(layer)[..., None, :, :]
        yield self._into_logits()[..., None, :, None]

    def _attention(self, layer: int) -> Shaped[ndarray, "*batch slot sender cls"]:
        part = layer_edges(self.shape)[layer]
        edges = self.body[..., part.attention, :]
        slots = slots_per_layer(self.shape) - 1
        return edges.reshape(*edges.shape[:-2], slots, part.attention_senders, edges.shape[-1])

    def _into_mlp(self, layer: int) -> Shaped[ndarray, "*batch sender cls"]:
        part, mlp = layer_edges(self.shape)[layer], mlp_sender(self.shape, layer)
        reached = np.maximum(self.body[..., part.mlp, :], self.arrival[..., : part.mlp_senders, :])
        return np.asarray(np.maximum(reached, self.departure[..., mlp : mlp + 1, :]))

    def _into_logits(self) -> Shaped[ndarray, "*batch sender"]:
        return np.asarray(np.maximum(self.logits, self.arrival[..., -1]))

    def _head_departures(self, layer: int) -> tuple[Shaped[ndarray, "..."], Shaped[ndarray, "..."]]:
        """Departure of the heads of a block at each class, and of their keys and values: the earliest later reader."""
        first = head_sender(self.shape, layer, 0)
        heads = self.departure[..., first : first + self.shape.n_heads, :]
        return heads, _earliest_not_before(heads)


def path_times(space: ComponentSpace, times: Shaped[ndarray, "*batch comp"]) -> PathTimes:
    """Times at which edges and nodes come to lie on input-to-logits paths.

    Args:
        space: the components.
        times: whole numbers, or booleans where True means never.
    """
    shape, n_classes = space.shape, max(len(space.classes), 1)
    lead = times.shape[:-1]
    if space.granularity is Granularity.EDGE:
        body = times[..., : -n_senders(shape)].reshape(*lead, n_edges(shape) - n_senders(shape), n_classes)
        logits = times[..., -n_senders(shape) :]
    else:
        own = _sender_times(space, times)
        body = own[..., edge_arrays(shape).sender[: -n_senders(shape)], :]
        logits = own[..., :, -1]
    return PathTimes(shape, body, logits, _arrivals(shape, body), _departures(shape, body, logits))


def never(times: Shaped[ndarray, "..."]) -> int | bool:
    """The time of what is never kept: later than all others."""
    return True if times.dtype == np.bool_ else int(np.iinfo(times.dtype).max)


def _sender_times(space: ComponentSpace, times: Shaped[ndarray, "*batch comp"]) -> Shaped[ndarray, "*batch sender cls"]:
    """Times of input, heads and MLPs. The input is always kept, and so are the heads of a neuron space."""
    shape, lead = space.shape, times.shape[:-1]
    grid = times.reshape(*lead, *space.grid_shape[:2], max(len(space.classes), 1))
    heads = (*lead, shape.n_layers, shape.n_heads, grid.shape[-1])
    match space.granularity:
        case Granularity.LAYER:
            grid = np.concatenate([np.broadcast_to(grid[..., :1, :], heads), grid[..., 1:, :]], axis=-2)
        case Granularity.NEURON:
            grid = np.concatenate([np.zeros(heads, times.dtype), grid.min(axis=-2, keepdims=True)], axis=-2)
    nodes = grid.reshape(*lead, n_senders(shape) - 1, grid.shape[-1])
    return np.concatenate([np.zeros((*lead, 1, grid.shape[-1]), times.dtype), nodes], axis=-2)


def _arrivals(shape: ModelShape, body: Shaped[ndarray, "*batch edge cls"]) -> Shaped[ndarray, "*batch sender cls"]:
    lead, n_classes, slots = body.shape[:-2], body.shape[-1], slots_per_layer(shape) - 1
    arrival = np.full((*lead, n_senders(shape), n_classes), never(body), body.dtype)
    arrival[..., 0, :] = 0
    for layer, part in enumerate(layer_edges(shape)):
        edges = body[..., part.attention, :].reshape(*lead, slots, part.attention_senders, n_classes)
        into = np.maximum(edges, arrival[..., None, : part.attention_senders, :]).min(axis=-2)
        keys, values = np.split(into[..., shape.n_heads :, :], 2, axis=-2)
        earlier = np.minimum.accumulate(np.minimum(keys, values), axis=-1)
        first, mlp = head_sender(shape, layer, 0), mlp_sender(shape, layer)
        arrival[..., first:mlp, :] = np.minimum(into[..., : shape.n_heads, :], _to_heads(earlier, shape, axis=-2))
        into_mlp = np.maximum(body[..., part.mlp, :], arrival[..., : part.mlp_senders, :])
        arrival[..., mlp, :] = into_mlp.min(axis=-2)
    return arrival


def _departures(
    shape: ModelShape, body: Shaped[ndarray, "*batch edge cls"], logits: Shaped[ndarray, "*batch sender"]
) -> Shaped[ndarray, "*batch sender cls"]:
    lead, n_classes, slots = body.shape[:-2], body.shape[-1], slots_per_layer(shape) - 1
    departure = np.full((*lead, n_senders(shape), n_classes), never(body), body.dtype)
    departure[..., -1] = logits
    for layer in reversed(range(shape.n_layers)):
        part, mlp, first = layer_edges(shape)[layer], mlp_sender(shape, layer), head_sender(shape, layer, 0)
        read = departure[..., : part.mlp_senders, :]
        np.minimum(read, np.maximum(body[..., part.mlp, :], departure[..., mlp : mlp + 1, :]), out=read)
        heads = departure[..., first:mlp, :]
        grouped = _by_group(_earliest_not_before(heads), shape).min(axis=-2)
        reader = np.concatenate([heads, grouped, grouped], axis=-2)[..., :, None, :]
        edges = body[..., part.attention, :].reshape(*lead, slots, part.attention_senders, n_classes)
        read = departure[..., : part.attention_senders, :]
        np.minimum(read, np.maximum(edges, reader).min(axis=-3), out=read)
    return departure


def _earliest_not_before(times: Shaped[ndarray, "*batch cls"]) -> Shaped[ndarray, "*batch cls"]:
    """At each class the earliest time of that class and all after it."""
    return np.flip(np.minimum.accumulate(np.flip(times, -1), axis=-1), -1)


def _by_group(heads: Shaped[ndarray, "*batch head cls"], shape: ModelShape) -> Shaped[ndarray, "*batch kv member cls"]:
    members = shape.n_heads // shape.n_kv_heads
    return heads.reshape(*heads.shape[:-2], shape.n_kv_heads, members, heads.shape[-1])


def _to_heads(per_group: Shaped[ndarray, "..."], shape: ModelShape, axis: int) -> Shaped[ndarray, "..."]:
    return np.repeat(per_group, shape.n_heads // shape.n_kv_heads, axis=axis)
