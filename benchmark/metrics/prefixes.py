"""Rankings of components and the circuits that they give: which prefixes are evaluated, and their realised sizes."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from arithloc.benchmark.api.components import ComponentSpace
from arithloc.benchmark.api.vocabulary import Granularity
from arithloc.benchmark.metrics.graph import PathTimes, path_times
from arithloc.benchmark.metrics.size import component_times, full_weight, sent_by_mlps, sent_edges

LO: Final = 1e-3
"""Smallest size that the faithfulness area credits."""
HI: Final = 0.5
"""Size at which the faithfulness area ends."""
ALL_PREFIXES: Final = 64
"""Spaces with at most this many components are evaluated at every prefix."""
BUDGETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Budgets of MIB (arXiv:2504.13151): shares of the components."""


@dataclass(frozen=True, eq=False)
class Circuits:
    """Circuits of one ranking, in order of size.

    Attributes:
        n_ranked: components kept before pruning, from the top of the ranking.
        n_components: components left after pruning.
        sizes: realised sizes.
        kept: the pruned circuits.
    """

    n_ranked: Int[ndarray, " size"]
    n_components: Int[ndarray, " size"]
    sizes: Float[ndarray, " size"]
    kept: Bool[ndarray, "size comp"]


def ranking_order(values: Float[ndarray, " comp"], *, signed: bool, seed: int) -> Int[ndarray, " comp"]:
    """Components from the highest score to the lowest; equal scores in an order drawn from `seed`.

    Args:
        values: one score per component.
        signed: by the score itself (CPR) instead of its absolute value (everything else).
        seed: seed of the cell.
    """
    key = values if signed else np.abs(values)
    return np.lexsort((np.random.default_rng(seed).permutation(len(values)), -key))


def prefixes(space: ComponentSpace, order: Int[ndarray, " comp"], n_targets: int) -> Circuits:
    """The circuits on which faithfulness is measured.

    All prefixes of the ranking in a space of at most 64 components; otherwise, for the targets lo (hi / lo)^(j / n),
    j = 0 .. n - 1, the longest prefix whose pruned circuit is not larger. Circuits of equal size are the same pruned
    circuit and appear once, under their shortest prefix.

    Args:
        space: the components.
        order: components, best first.
        n_targets: n.
    """
    table = prefix_table(space, order)
    if len(order) <= ALL_PREFIXES:
        ends = np.arange(len(order) + 1)
    else:
        lo = lowest_size(space)
        ends = np.searchsorted(table.sizes, lo * (HI / lo) ** (np.arange(n_targets) / n_targets), side="right") - 1
    ends = ends[ends >= 0]
    ends = np.unique(np.searchsorted(table.sizes, table.sizes[ends], side="left"))
    return table.circuits(ends[table.n_components[ends] > 0])


def budget_circuits(space: ComponentSpace, order: Int[ndarray, " comp"]) -> Circuits:
    """The circuits of MIB's ten budgets k: the top int(k n) components, pruned.

    Args:
        space: the components, n of them.
        order: components, best first.
    """
    return prefix_table(space, order).circuits(np.array([int(k * len(order)) for k in BUDGETS]))


def lowest_size(space: ComponentSpace) -> float:
    """Where the faithfulness area starts: 0.001, or the smallest one-component circuit of a small model.

    That circuit keeps the edge from input to logits; an MLP with its edge from the input, its edge to the logits and
    the one between those two; or one hidden unit of the top MLP.
    """
    match space.granularity:
        case Granularity.EDGE:
            weight = 1.0
        case Granularity.NEURON:
            weight = 1.0 / space.shape.d_mlp
        case _:
            weight = 3.0
    return max(LO, weight / full_weight(space))


@dataclass(frozen=True, eq=False)
class PrefixTable:
    """All prefixes of a ranking, from 0 components on.

    Attributes:
        sizes: realised size after pruning.
        n_components: components left after pruning.
        times: length of the first prefix whose pruned circuit contains each component.
    """

    sizes: Float[ndarray, " prefix"]
    n_components: Int[ndarray, " prefix"]
    times: Int[ndarray, " comp"]

    def circuits(self, ends: Int[ndarray, " size"]) -> Circuits:
        """The pruned circuits of some prefixes, given by their lengths."""
        return Circuits(ends, self.n_components[ends], self.sizes[ends], self.times <= ends[:, None])


def prefix_table(space: ComponentSpace, order: Int[ndarray, " comp"]) -> PrefixTable:
    """Prunes and measures every prefix of a ranking in one pass over the edges."""
    own = np.empty(len(order), dtype=np.int32)
    own[order] = np.arange(1, len(order) + 1, dtype=np.int32)
    paths = path_times(space, own)
    times = component_times(space, own, paths)
    weights = _neuron_weights if space.granularity is Granularity.NEURON else _edge_weights
    sizes = weights(space, order, paths) / full_weight(space)
    return PrefixTable(sizes, np.cumsum(_entering(times, len(order))), times)


def _entering(times: Int[ndarray, "..."], n: int) -> Int[ndarray, " prefix"]:
    """How many of the times are 0, 1, .. n."""
    return np.bincount(np.minimum(times.reshape(-1), n + 1), minlength=n + 2)[: n + 1]


def _edge_weights(space: ComponentSpace, order: Int[ndarray, " comp"], paths: PathTimes) -> Float[ndarray, " prefix"]:
    entering = np.zeros(len(order) + 1, dtype=np.int64)
    for block in paths.ungrouped():
        entering += _entering(block, len(order))
    return np.cumsum(entering).astype(np.float64)


def _neuron_weights(space: ComponentSpace, order: Int[ndarray, " comp"], paths: PathTimes) -> Float[ndarray, " prefix"]:
    """Each kept unit brings 1 / d_mlp of its MLP's edges, of which there are more whenever an MLP gets its first unit."""
    layers, d_mlp = space.grid_shape[:2]
    cell = np.arange(len(order)).reshape(layers, d_mlp, -1)
    n_classes = cell.shape[-1]
    cell_of = ((cell // (d_mlp * n_classes)) * n_classes + cell % n_classes).reshape(-1)[order]
    first_units = paths.senders()[1:].reshape(layers, -1, n_classes)
    firsts = np.unique(first_units[first_units <= len(order)])
    weights = np.zeros(len(order) + 1)
    for start, end in zip(firsts, [*firsts[1:], len(order) + 1], strict=True):
        per_unit = sent_by_mlps(space.shape, sent_edges(paths, int(start))).reshape(-1)
        units = np.bincount(cell_of[:start], minlength=len(per_unit))
        added = np.cumsum(per_unit[cell_of[start : end - 1]])
        weights[start:end] = units @ per_unit + np.concatenate([[0], added])
    return weights / d_mlp
