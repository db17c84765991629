"""Which circuits the tests of one circuit run: its parts removed, random additions, random circuits, knock-outs."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from arithloc.benchmark.api.components import ComponentSpace
from arithloc.benchmark.api.vocabulary import Granularity
from arithloc.benchmark.metrics.faithfulness import knock_outs
from arithloc.benchmark.metrics.random_circuits import random_path, same_size
from arithloc.benchmark.metrics.size import circuit_size, complement, prune

MAX_PARTS = 256
"""Parts of a circuit that are removed one by one; of a larger circuit so many are drawn."""
MAX_TRIES = 20
"""Random paths drawn for each addition that is asked for; most add nothing to a large circuit."""


@dataclass(frozen=True)
class Effort:
    """How much of everything.

    Attributes:
        n_random: random circuits of the circuit's size.
        n_additions: random additions behind the null of minimality.
        n_knock_outs: random sets of parts.
        n_resamples: localizations on resampled discovery pairs.
    """

    n_random: int = 100
    n_additions: int = 1000
    n_knock_outs: int = 20
    n_resamples: int = 10


@dataclass(frozen=True, eq=False)
class Plan:
    """All circuits of the tests, one batch for the engine.

    Attributes:
        distinct: distinct circuits.
        rows: rows of `distinct` by purpose.
        flags: cautions by purpose.
    """

    distinct: Bool[ndarray, "row comp"]
    rows: Mapping[str, Int[ndarray, "..."]]
    flags: Mapping[str, tuple[str, ...]]


def plan_circuits(space: ComponentSpace, kept: Bool[ndarray, " comp"], effort: Effort, seed: int) -> Plan:
    """Every circuit that the tests need.

    Args:
        space: the components.
        kept: the circuit, pruned.
        effort: numbers of draws.
        seed: of all draws.
    """
    rng = np.random.default_rng(seed)
    flags: dict[str, tuple[str, ...]] = {}
    every = np.ones((1, len(space)), dtype=np.bool_)
    parts = np.flatnonzero(kept)
    flags["without"] = ("sampled",) if len(parts) > MAX_PARTS else ()
    parts = rng.choice(parts, MAX_PARTS, replace=False) if len(parts) > MAX_PARTS else parts
    without = np.broadcast_to(kept, (len(parts), len(space))).copy()
    without[np.arange(len(parts)), parts] = False
    added, added_without = _additions(space, kept, effort.n_additions, rng)
    size = float(circuit_size(space, kept))
    random = same_size(space, size, effort.n_random, seed).kept
    roomy = float(circuit_size(space, ~kept)) >= size
    flags["random_removed"] = () if roomy else ("drawn-from-whole",)
    outside = same_size(space, size, effort.n_random, seed + 1, ~kept if roomy else None).kept
    knocked = knock_outs(kept, effort.n_knock_outs, rng)
    groups = {
        "full": every,
        "empty": ~every,
        "kept": kept[None],
        "removed": complement(space, kept)[None],
        "without": prune(space, without),
        "added": added,
        "added_without": added_without,
        "random": random,
        "random_removed": complement(space, outside),
        "knocked": prune(space, kept & ~knocked),
        "knocked_model": prune(space, ~knocked),
    }
    distinct, row_of = np.unique(np.concatenate(list(groups.values())), axis=0, return_inverse=True)
    ends = np.cumsum([len(group) for group in groups.values()])
    rows = dict(zip(groups, np.split(row_of.reshape(-1), ends[:-1]), strict=True))
    return Plan(distinct, rows, flags)


def _additions(
    space: ComponentSpace, kept: Bool[ndarray, " comp"], n: int, rng: np.random.Generator
) -> tuple[Bool[ndarray, "draw comp"], Bool[ndarray, "draw comp"]]:
    """The circuit with random paths added, and the same without one random added part; none where nothing can be added."""
    none = np.zeros((0, len(space)), dtype=np.bool_)
    if space.granularity not in (Granularity.NODE, Granularity.EDGE) or space.classes or kept.all():
        return none, none
    larger: list[Bool[ndarray, " comp"]] = []
    smaller: list[Bool[ndarray, " comp"]] = []
    for _ in range(MAX_TRIES * n):
        if len(larger) == n:
            break
        union = kept | random_path(space, rng)
        new = np.flatnonzero(union & ~kept)
        if len(new):
            larger.append(union)
            smaller.append(union.copy())
            smaller[-1][rng.choice(new)] = False
    return (prune(space, np.array(larger)), prune(space, np.array(smaller))) if larger else (none, none)
