"""Coordinates of the key MLP: which of them carry the answer, and whether they are the same in other tasks.

A coordinate is one of the d_model numbers that the MLP *writes* at the last position, not one of its hidden units;
hidden units are the second kind of part that is looked at here.

Reference: Stolfo, Belinkov and Sachan, arXiv:2305.15054, section 4.4: the 400 of 4,096 with the largest effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import Progress, PromptPair
from arithloc.benchmark.api.report import Cell, Measured, Table
from arithloc.benchmark.engine import Site, SiteKind
from arithloc.benchmark.metrics.measured import Spread, draws_of, masked_means
from arithloc.benchmark.models import SubjectModel
from arithloc.methods.analyses.forms import LAST
from arithloc.methods.analyses.mediation.designs import Chosen
from arithloc.methods.analyses.mediation.maps import PairEffects

SHARE: Final = 400 / 4096
"""Share of the coordinates that the paper compares."""
SHARES: Final = (0.01, 0.05, SHARE, 0.2)


@dataclass(frozen=True, eq=False)
class PartEffects:
    """Indirect effect of every coordinate, or of every hidden unit, of one MLP.

    Attributes:
        design: short name of the design.
        pairs: its pairs.
        ie: (coordinate, pair).
    """

    design: str
    pairs: tuple[PromptPair, ...]
    ie: Float[ndarray, "coordinate pair"]

    @cached_property
    def means(self) -> Spread:
        """Mean effect of each coordinate."""
        return masked_means(self.ie, np.ones(self.ie.shape, dtype=np.bool_), draws_of(self.pairs))

    def half(self, second: bool) -> "PartEffects":
        """The effects over every other cluster of pairs: two halves share no operand pair."""
        names = sorted({pair.cluster for pair in self.pairs})
        chosen = [i for i, pair in enumerate(self.pairs) if (names.index(pair.cluster) % 2 == 1) is second]
        return PartEffects(self.design, tuple(self.pairs[i] for i in chosen), self.ie[:, chosen])


def part_effects(
    model: SubjectModel, chosen: Chosen, layer: int, kind: SiteKind, n_pairs: int, progress: Progress
) -> PartEffects:
    """Patches every coordinate of what an MLP writes at the last position, or every hidden unit of it, alone.

    Args:
        model: the subject model.
        chosen: the design and its pairs.
        layer: block of the MLP.
        kind: `MLP` for output coordinates, `HIDDEN` for hidden units.
        n_pairs: at most this many pairs, spread over the sample.
        progress: called with (done, total).
    """
    step = max(1, -(-len(chosen.pairs) // n_pairs))
    pairs = chosen.pairs[::step]
    size = model.shape.d_mlp if kind is SiteKind.HIDDEN else model.shape.d_model
    sites = [Site(kind, layer, index) for index in range(size)]
    before = engine.read(model, pairs, "counterfactual")
    patched = engine.sweep(model, pairs, sites, positions=LAST, progress=progress)
    found = PairEffects.of(before, patched, result_fixed=chosen.design.result_fixed)
    return PartEffects(chosen.design.id, pairs, found.ie)


def overlap(a: Spread, b: Spread, k: int) -> Spread:
    """|top k of a and top k of b| / k, in the sample and in every resample.

    Example: the two largest of (3, 2, 1) and of (1, 2, 3) share one
    >>> one, other = (Spread(np.array(v), np.array([v, v]), 2) for v in ([3.0, 2.0, 1.0], [1.0, 2.0, 3.0]))
    >>> float(overlap(one, other, 2).value)
    0.5
    """
    first, second = (spread.map(lambda values: _among_top(values, k)) for spread in (a, b))
    return Spread(
        np.asarray((first.value * second.value).sum() / k),
        np.asarray((first.replicates * second.replicates).sum(-1) / k),
        min(a.n, b.n),
    )


def _among_top(values: Float[ndarray, "rep coordinate"], k: int) -> Float[ndarray, "rep coordinate"]:
    """1 for the k largest values of each row, 0 for the others."""
    top = np.argsort(-values, axis=-1, kind="stable")[:, :k]
    marked = np.zeros_like(values)
    np.put_along_axis(marked, top, 1.0, axis=-1)
    return marked


def overlap_table(parts: Sequence[PartEffects], name: str, title: str) -> Table:
    """Overlaps of the first design with itself (two halves of its operand pairs) and with every other one."""
    own, rows = parts[0], []
    size = own.ie.shape[0]
    for share in SHARES:
        k = max(1, round(share * size))
        chance = k / size
        halves = own.half(False), own.half(True)
        compared = []
        if all(half.pairs for half in halves):
            compared.append(("two halves of it", overlap(halves[0].means, halves[1].means, k).measured))
        compared += [(other.design, overlap(own.means, other.means, k).measured) for other in parts[1:]]
        for label, found in compared:
            rows.append(_row(k, own.design, label, found, chance))
    columns = ("k", "top of", "and of", "overlap", "low", "high", "chance", "above chance", "n")
    note = (
        "Overlap: shared members of the two top-k lists, over k; chance is k / all; above chance: (overlap - chance) / (1 - chance). Resampling adds noise to "
        "both lists, so an interval may lie below the value."
    )
    return Table(name, title, columns, tuple(rows), note)


def _row(k: int, own: str, other: str, found: Measured, chance: float) -> tuple[Cell, ...]:
    corrected = (found.value - chance) / (1 - chance)
    return (k, own, other, found.value, found.low, found.high, chance, corrected, found.n)
