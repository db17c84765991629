"""The edges of a model: which sender's write is read by which receiver, in one canonical order.

Senders, in order: `input`, then block by block `a0.h0 .. a0.h(H-1)`, `m0`, `a1.h0`, ... Sender 0 is the input, the head
(layer, head) is `1 + layer * (H + 1) + head`, the MLP of a block is `1 + layer * (H + 1) + H`.

Receivers, in order: block by block the q of every query head, the k of every key/value head, the v of every key/value
head, the MLP; last the logits. Keys and values are shared by the `H / H_kv` query heads of a group and are one
receiver each, named after the key/value head: `a4.h0<k>` is the key of key/value head 0 of block 4.

A receiver reads a *prefix* of the senders: attention of block l reads input and blocks below l; the MLP reads in
addition the heads of its own block, unless attention and MLP run in parallel; the logits read everything. The edges of
a receiver are contiguous, ordered by sender, and receivers follow each other in their order. So the edges of a block's
attention are an array of shape (H + 2 H_kv, visible senders).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from arithloc.benchmark.api.shape import ModelShape


@dataclass(frozen=True, eq=False)
class EdgeArrays:
    """All native edges of a model in the canonical order; the arrays are read-only.

    Attributes:
        sender: index of the sender of each edge.
        receiver: index of the receiver of each edge.
        weight: 1, or `H / H_kv` for the k and v edges of a group, which stand for that many un-grouped edges.
    """

    sender: Int[ndarray, " edge"]
    receiver: Int[ndarray, " edge"]
    weight: Float[ndarray, " edge"]


@dataclass(frozen=True)
class LayerEdges:
    """Where the edges into one block lie.

    Attributes:
        attention: edges into q, k and v: (n_heads + 2 * n_kv_heads) rows of `attention_senders`.
        mlp: edges into the MLP, `mlp_senders` of them.
        attention_senders: senders that the block's attention reads, counted from sender 0.
        mlp_senders: senders that the block's MLP reads, counted from sender 0.
    """

    attention: slice
    mlp: slice
    attention_senders: int
    mlp_senders: int


def n_senders(shape: ModelShape) -> int:
    """Input, every head and every MLP: 1 + L (H + 1). The logits read all of them."""
    return 1 + shape.n_layers * (shape.n_heads + 1)


def slots_per_layer(shape: ModelShape) -> int:
    """Receivers of one block: H q, H_kv k, H_kv v and the MLP."""
    return shape.n_heads + 2 * shape.n_kv_heads + 1


def n_receivers(shape: ModelShape) -> int:
    """Receivers of all blocks and the logits."""
    return shape.n_layers * slots_per_layer(shape) + 1


def head_sender(shape: ModelShape, layer: int, head: int) -> int:
    """Index of a head among the senders."""
    return 1 + layer * (shape.n_heads + 1) + head


def mlp_sender(shape: ModelShape, layer: int) -> int:
    """Index of an MLP among the senders."""
    return head_sender(shape, layer, shape.n_heads)


def n_edges(shape: ModelShape) -> int:
    """Native edges: a key/value head's k and v count once, however many query heads share them."""
    return _closed_form(shape, shape.n_heads + 2 * shape.n_kv_heads)


def total_weight(shape: ModelShape) -> int:
    """Edges of the un-grouped model, which is the weighted total of the native edges.

    With A = L + (H + 1) L (L - 1) / 2: (3H + 1) A + L H + 1 + L (H + 1), without the term L H for parallel blocks.
    """
    return _closed_form(shape, 3 * shape.n_heads)


def n_edges_by_class(shape: ModelShape, n_classes: int) -> int:
    """Native edges of a space with position classes: the logits read one class, everything else all of them."""
    return (n_edges(shape) - n_senders(shape)) * n_classes + n_senders(shape)


def _closed_form(shape: ModelShape, attention_slots: int) -> int:
    layers, heads = shape.n_layers, shape.n_heads
    reads = layers + (heads + 1) * layers * (layers - 1) // 2
    own = 0 if shape.parallel else layers * heads
    return (attention_slots + 1) * reads + own + 1 + layers * (heads + 1)


@lru_cache(maxsize=16)
def layer_edges(shape: ModelShape) -> tuple[LayerEdges, ...]:
    """Where the edges into each block lie, bottom block first; the edges after the last block go to the logits."""
    layers, start = [], 0
    for layer in range(shape.n_layers):
        below = head_sender(shape, layer, 0)
        own = below if shape.parallel else below + shape.n_heads
        middle = start + (slots_per_layer(shape) - 1) * below
        layers.append(LayerEdges(slice(start, middle), slice(middle, middle + own), below, own))
        start = middle + own
    return tuple(layers)


def logits_edges(shape: ModelShape) -> slice:
    """Where the edges into the logits lie: the last `n_senders` ones."""
    return slice(n_edges(shape) - n_senders(shape), n_edges(shape))


@lru_cache(maxsize=4)
def edge_arrays(shape: ModelShape) -> EdgeArrays:
    """Senders, receivers and weights of all native edges."""
    reads = _reads(shape)
    receiver = np.repeat(np.arange(n_receivers(shape)), reads)
    sender = np.arange(len(receiver)) - np.repeat(_starts(shape), reads)
    weight = np.repeat(_receiver_weight(shape), reads)
    for array in (sender, receiver, weight):
        array.setflags(write=False)
    return EdgeArrays(sender, receiver, weight)


@lru_cache(maxsize=16)
def _reads(shape: ModelShape) -> Int[ndarray, " receiver"]:
    """How many senders each receiver reads."""
    counts: list[int] = []
    for layer in layer_edges(shape):
        counts += [layer.attention_senders] * (slots_per_layer(shape) - 1) + [layer.mlp_senders]
    return np.array([*counts, n_senders(shape)])


@lru_cache(maxsize=16)
def _starts(shape: ModelShape) -> Int[ndarray, " receiver"]:
    """First edge of each receiver."""
    return np.concatenate([[0], np.cumsum(_reads(shape))[:-1]])


def _receiver_weight(shape: ModelShape) -> Float[ndarray, " receiver"]:
    shared = shape.n_heads / shape.n_kv_heads
    layer = [1.0] * shape.n_heads + [shared] * (2 * shape.n_kv_heads) + [1.0]
    return np.array(layer * shape.n_layers + [1.0])


def sender_name(shape: ModelShape, sender: int) -> str:
    """`input`, `a3.h5` or `m3`."""
    if sender == 0:
        return "input"
    layer, rest = divmod(sender - 1, shape.n_heads + 1)
    return f"m{layer}" if rest == shape.n_heads else f"a{layer}.h{rest}"


def receiver_name(shape: ModelShape, receiver: int) -> str:
    """`a4.h0<q>`, `a4.h0<k>`, `a4.h0<v>`, `m4` or `logits`; k and v count key/value heads."""
    layer, slot = divmod(receiver, slots_per_layer(shape))
    if layer == shape.n_layers:
        return "logits"
    if slot < shape.n_heads:
        return f"a{layer}.h{slot}<q>"
    which, head = divmod(slot - shape.n_heads, shape.n_kv_heads)
    return f"m{layer}" if which == 2 else f"a{layer}.h{head}<{'kv'[which]}>"


def edge_name(shape: ModelShape, edge: int) -> str:
    """Name of a native edge, as `a3.h5->a4.h0<q>`, `input->m0` or `a3.h5->logits`."""
    receiver = int(np.searchsorted(_starts(shape), edge, side="right")) - 1
    sender = edge - int(_starts(shape)[receiver])
    return f"{sender_name(shape, sender)}->{receiver_name(shape, receiver)}"
