"""Random circuits to compare with: of the same realised size, of the same make-up, or one path."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark.api.components import ComponentSpace
from arithloc.benchmark.api.edges import layer_edges, logits_edges, n_senders
from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.api.vocabulary import Granularity
from arithloc.benchmark.metrics.prefixes import prefix_table


@dataclass(frozen=True, eq=False)
class RandomCircuits:
    """Pruned random circuits and their realised sizes."""

    kept: Bool[ndarray, "draw comp"]
    sizes: Float[ndarray, " draw"]


def same_size(
    space: ComponentSpace,
    size: float,
    n: int,
    seed: int,
    allowed: Bool[ndarray, " comp"] | None = None,
) -> RandomCircuits:
    """The prefix of a random order whose realised size is nearest to `size`, `n` times.

    Nearest, because the longest prefix that is not larger is smaller on average, by a fifth in a model of ten nodes.

    Args:
        space: the components.
        size: realised size to match.
        n: circuits.
        seed: seed of the orders.
        allowed: components to draw from, all by default.

    Raises:
        MetricError: all allowed components together are smaller than `size`.
    """
    rng = np.random.default_rng(seed)
    allowed = np.ones(len(space), dtype=np.bool_) if allowed is None else allowed
    inside, outside = np.flatnonzero(allowed), np.flatnonzero(~allowed)
    kept, sizes = np.zeros((n, len(space)), dtype=np.bool_), np.zeros(n)
    for draw in range(n):
        table = prefix_table(space, np.concatenate([rng.permutation(inside), outside]))
        if table.sizes[len(inside)] < size:
            raise MetricError(
                f"Expected components that make a circuit of size {size:.4g}, found {len(inside)} of size "
                f"{table.sizes[len(inside)]:.4g}. Draw from the whole space."
            )
        end = int(np.abs(table.sizes[: len(inside) + 1] - size).argmin())
        kept[draw], sizes[draw] = table.times <= end, table.sizes[end]
    return RandomCircuits(kept, sizes)


def same_blocks(space: ComponentSpace, kept: Bool[ndarray, " comp"], n: int, seed: int) -> Bool[ndarray, "draw comp"]:
    """`n` random circuits with as many components in every block, and of every class, as a given one.

    Heads are drawn among heads and hidden units among hidden units; an MLP stays.

    Raises:
        MetricError: a space of edges or of whole blocks.
    """
    if space.granularity not in (Granularity.NODE, Granularity.NEURON):
        raise MetricError(
            f"Expected node or neuron components, found {space.granularity}. Match them by realised size."
        )
    rng = np.random.default_rng(seed)
    width = space.shape.d_mlp if space.granularity is Granularity.NEURON else space.shape.n_heads
    grid = np.broadcast_to(kept.reshape(space.grid_shape), (n, *space.grid_shape)).copy()
    grid[:, :, :width] = rng.permuted(grid[:, :, :width], axis=2)
    return grid.reshape(n, len(space))


def random_path(space: ComponentSpace, rng: np.random.Generator) -> Bool[ndarray, " comp"]:
    """The components of one random input-to-logits path, drawn backwards: sender by sender, of heads a random slot.

    Raises:
        MetricError: not a node or edge space, or one with position classes.
    """
    if space.granularity not in (Granularity.NODE, Granularity.EDGE) or space.classes:
        raise MetricError(
            f"Expected nodes or edges without position classes, found {space.granularity} and {space.classes}. "
            "Draw paths in the node or edge space of the model."
        )
    shape, kept = space.shape, np.zeros(len(space), dtype=np.bool_)
    start, visible = logits_edges(shape).start, n_senders(shape)
    while True:
        sender = int(rng.integers(visible))
        if space.granularity is Granularity.EDGE:
            kept[start + sender] = True
        elif sender:
            kept[sender - 1] = True
        if sender == 0:
            return kept
        layer, slot = divmod(sender - 1, shape.n_heads + 1)
        part = layer_edges(shape)[layer]
        if slot == shape.n_heads:
            start, visible = part.mlp.start, part.mlp_senders
        else:
            group = slot // (shape.n_heads // shape.n_kv_heads)
            row = (slot, shape.n_heads + group, shape.n_heads + shape.n_kv_heads + group)[int(rng.integers(3))]
            start, visible = part.attention.start + row * part.attention_senders, part.attention_senders
