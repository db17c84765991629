"""What a map says in one number: relative importance, contrasts of parts of it, and what survives a fixed result.

Reference: Stolfo, Belinkov and Sachan, arXiv:2305.15054, section 4 (relative importance).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark.metrics.bootstrap import Resamples
from arithloc.benchmark.metrics.effects import ri_stolfo, ri_stolfo_floor
from arithloc.benchmark.metrics.measured import Spread, draws_of, masked_means
from arithloc.methods.analyses.mediation.maps import MLP, ModuleMap

LOWEST: Final = -1 + 1e-12
"""An effect of -1, which takes all probability away, has no logarithm."""


def depth(n_layers: int, low: float, high: float) -> Bool[ndarray, " layer"]:
    """Blocks l with low <= l / n_layers < high.

    Example: blocks 14 to 17 of 28
    >>> np.flatnonzero(depth(28, 14 / 28, 18 / 28)).tolist()
    [14, 15, 16, 17]
    """
    place = np.arange(n_layers) / n_layers
    return np.asarray((place >= low - 1e-9) & (place < high - 1e-9))


def relative_importance(found: ModuleMap) -> Spread:
    """RI of the upper half's MLPs at the last position; NaN where no cell has an effect."""
    return _ri(found.ie, found.last)


def relative_importance_floor(found: ModuleMap) -> float:
    """RI as in the released code: cells under 0.1 count as 0.1, the embedding is a row."""
    embedding = masked_means(found.embedding.ie, found.has, found.draws).value
    cells = np.concatenate([embedding[None], found.ie.value[:, MLP]]).T
    ri = ri_stolfo_floor(np.maximum(cells, LOWEST), np.arange(len(found.classes)) == found.last)
    return float("nan") if ri is None else ri


def _ri(ie: Spread, last: int) -> Spread:
    is_last = np.arange(ie.value.shape[-1]) == last

    def ri(cells: Float[ndarray, "layer module cls"]) -> float:
        if not np.isfinite(cells).all():
            return float("nan")
        value = ri_stolfo(np.maximum(cells[:, MLP].T, LOWEST), is_last)
        return float("nan") if value is None else value

    return ie.map(lambda resamples: np.array([ri(cells) for cells in resamples]))


def contrast(
    effects: Spread,
    inside: Bool[ndarray, " layer"],
    outside: Bool[ndarray, " layer"],
    *,
    module: int,
    cls: int,
) -> Spread:
    """Mean effect of some blocks at one position class minus that of others.

    Args:
        effects: (layer, module, class).
        inside: blocks of the first set.
        outside: blocks of the second set.
        module: attention or MLP.
        cls: position class.
    """

    def difference(resamples: Float[ndarray, "rep layer module cls"]) -> Float[ndarray, " rep"]:
        column = resamples[:, :, module, cls]
        return np.asarray(column[:, inside].mean(-1) - column[:, outside].mean(-1))

    return effects.map(difference)


@dataclass(frozen=True, eq=False)
class Joint:
    """Two maps on common resamples of operand pairs, which both of them draw from."""

    first: Spread
    second: Spread


def joint_ie(first: ModuleMap, second: ModuleMap) -> Joint:
    """Mean indirect effects of two maps, (layer, module, class) each, with the same operand pairs in each resample."""
    draws = draws_of((*first.pairs, *second.pairs))
    split = len(first.pairs)
    return Joint(
        _padded(first, draws, 0, len(second.pairs)),
        _padded(second, draws, split, 0),
    )


def _padded(found: ModuleMap, draws: Resamples, before: int, after: int) -> Spread:
    values = found.effects.ie
    has = np.broadcast_to(found.has, values.shape)
    width = [(0, 0)] * (values.ndim - 1) + [(before, after)]
    return masked_means(np.pad(values, width), np.pad(has, width), draws)


def result_specificity(varying: ModuleMap, fixed: ModuleMap) -> Spread:
    """RI where the result changes minus RI where it does not."""
    both = joint_ie(varying, fixed)
    return _ri(both.first, varying.last) - _ri(both.second, fixed.last)


def retention(both: Joint, cells: Bool[ndarray, "layer module cls"]) -> Spread:
    """Share of the effect of some cells that is left where the result is fixed: ratio of sums of log(1 + IE)."""
    first, second = (one.map(lambda resamples: _logs(resamples[:, cells])) for one in (both.first, both.second))
    with np.errstate(divide="ignore", invalid="ignore"):
        value, replicates = (np.where(a > 0, b / a, np.nan) for a, b in zip(_parts(first), _parts(second), strict=True))
    return Spread(np.asarray(value), np.asarray(replicates), min(first.n, second.n))


def _logs(ie: Float[ndarray, "rep cell"]) -> Float[ndarray, " rep"]:
    return np.asarray(np.log1p(np.maximum(ie, LOWEST)).sum(-1))


def _parts(spread: Spread) -> tuple[ndarray, ndarray]:
    return spread.value, spread.replicates
