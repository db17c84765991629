"""Agreement of component scores with a proven circuit; read only after a method has returned."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from arithloc.benchmark.api import ComponentSpace, Scores
from arithloc.benchmark.api.registry import model_sources
from arithloc.benchmark.metrics.estimate import Estimate
from arithloc.benchmark.metrics.truth import Truth, truth_estimates, truth_of
from arithloc.benchmark.metrics.truth_document import read_truth_document
from arithloc.benchmark.storage.records import RocPoint


def truth_document(model: str) -> Mapping[str, Any] | None:
    """The truth document of a registered model, None for a model without known circuit."""
    source = model_sources().get(model)
    return None if source is None else source.truth()


def truth_for(model: str, space: ComponentSpace) -> Truth | None:
    """Labels of a space of a registered model, None where nothing is known about it.

    Raises:
        MetricError: the document is damaged, or about another model.
    """
    document = truth_document(model)
    return None if document is None else truth_of(read_truth_document(document), space)


def against_truth(scores: Scores, truth: Truth, seed: int) -> tuple[tuple[Estimate, ...], tuple[RocPoint, ...]]:
    """Scores and curve of the agreement with a proven circuit.

    Args:
        scores: checked component scores; ranked by absolute score.
        truth: labels of their space.
        seed: of the null band.
    """
    return truth_estimates(scores.values, truth, seed), roc_points(scores, truth)


def roc_points(scores: Scores, truth: Truth) -> tuple[RocPoint, ...]:
    """One point for each distinct absolute score, components at or above it counted as predicted.

    Empty for a circuit with groups of which some members suffice: what counts then depends on the threshold.
    """
    if truth.quorums:
        return ()
    values, positive = np.abs(scores.values[truth.universe]), truth.positive[truth.universe]
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    found = np.cumsum(positive[order])[ends]
    n = ends + 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    return tuple(
        RocPoint(
            kind=scores.space.granularity.value,
            i=i,
            fpr=float((n[i] - found[i]) / n_negative),
            tpr=float(found[i] / n_positive),
            precision=float(found[i] / n[i]),
            recall=float(found[i] / n_positive),
            n=int(n[i]),
        )
        for i in range(len(ends))
    )
