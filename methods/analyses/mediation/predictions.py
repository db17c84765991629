"""What patching a last-position MLP does to the predicted number: changes for the better and for the worse.

Reference: Stolfo, Belinkov and Sachan, arXiv:2305.15054, section 4.5.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from arithloc.benchmark.api.report import Curves, Series, Table
from arithloc.benchmark.metrics.change import PredictionChange, prediction_change
from arithloc.benchmark.metrics.measured import Spread, masked_means
from arithloc.methods.analyses.mediation.maps import ModuleMap


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predicted number tokens under each patch.

    Attributes:
        change: what changes, (layer, pair).
        right: pairs whose unpatched prediction is right.
        desired, undesired: shares of all pairs, by layer.
    """

    change: PredictionChange
    right: Bool[ndarray, " pair"]
    desired: Spread
    undesired: Spread


def predictions(found: ModuleMap) -> Predictions:
    """Compares the best candidate token of the counterfactual run before and after each last-position MLP is patched."""
    foil = np.array([pair.foil_token for pair in found.pairs])
    before, after = found.before.top_candidate, found.last_mlps.top_candidate
    change = prediction_change(before, after, found.before.answer_token, foil)
    everywhere = np.ones(after.shape, dtype=np.bool_)
    return Predictions(
        change,
        np.asarray(before == foil),
        masked_means(change.desired.astype(np.float64), everywhere, found.draws),
        masked_means(change.undesired.astype(np.float64), everywhere, found.draws),
    )


def prediction_curves(found: Predictions) -> Curves:
    """Shares of desired and undesired changes by layer."""
    layers = list(map(float, range(len(found.desired.value))))
    return Curves(
        "prediction_changes",
        "Prediction changes by the MLP patched at the last position",
        "Layer",
        "Share of pairs",
        (
            Series.of("desired: to the result of the donor run", layers, found.desired.each()),
            Series.of("undesired: away from a right prediction", layers, found.undesired.each()),
        ),
        "Predictions are taken among the candidate numbers. A desired change is the result of the run that the patch comes from; an undesired one leaves a "
        "right prediction. A change of a right prediction to the donor's result is both.",
    )


def prediction_table(found: Predictions) -> Table:
    """Changes by layer, apart for pairs whose unpatched prediction is right and wrong."""
    rows = []
    for layer, (desired, undesired) in enumerate(zip(found.desired.each(), found.undesired.each(), strict=True)):
        apart = [
            float(part[layer][who].mean()) if who.any() else None
            for who in (found.right, ~found.right)
            for part in (found.change.changed, found.change.desired)
        ]
        rows.append(
            (layer, desired.value, desired.low, desired.high, undesired.value, undesired.low, undesired.high, *apart)
        )
    columns = (
        "layer", "desired", "desired low", "desired high", "undesired", "undesired low", "undesired high",
        "changed, was right", "desired, was right", "changed, was wrong", "desired, was wrong",
    )  # fmt: skip
    note = f"{int(found.right.sum())} of {len(found.right)} unpatched predictions are right."
    return Table("prediction_changes_by_layer", "Prediction changes by layer", columns, tuple(rows), note)
