"""Agreement with ground truth over the circuits of one tier; tiers are never pooled."""

from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.api.errors import MetricError
from arithloc.benchmark.metrics.bootstrap import interval
from arithloc.benchmark.metrics.estimate import Estimate

GATE: Final = 0.99
"""Mean AUROC on the undisturbed compiled circuits below which a method is called wrong."""
RANKED: Final = 4
"""Circuits of a tier needed to rank methods on it."""


def tier_mean(
    name: str, values: Float[ndarray, " circuit"], seed: int, n_draws: int = 2000, *, to_rank: bool = True
) -> Estimate:
    """Mean of a score over circuits with a bootstrap interval over circuits, the independent units.

    Args:
        name: name of the score.
        values: the score on each circuit of the tier.
        seed: seed of the resampling.
        n_draws: bootstrap replicates.
        to_rank: flag fewer than 4 circuits as `too-few-circuits`.

    Raises:
        MetricError: no circuit.
    """
    if not len(values):
        raise MetricError(f"Expected {name} on at least one circuit of the tier, found none. Run its models.")
    flags = ("too-few-circuits",) if to_rank and len(values) < RANKED else ()
    if len(values) == 1:
        return Estimate(name, float(values[0]), ranking_rule="absolute", n_clusters=1, flags=flags)
    drawn = np.random.default_rng(seed).integers(len(values), size=(n_draws, len(values)))
    spread = interval(values[drawn].mean(axis=1))
    return Estimate(
        name=name,
        value=float(values.mean()),
        low=spread.low,
        high=spread.high,
        se=spread.se,
        n_clusters=len(values),
        ranking_rule="absolute",
        flags=flags,
    )


def passes_gate(aurocs: Float[ndarray, " circuit"]) -> bool:
    """Whether a method finds the undisturbed compiled circuits: mean AUROC of at least 0.99."""
    return bool(aurocs.mean() >= GATE)
