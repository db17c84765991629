"""The oracle row: scores made from the proven circuit of a toy model, as a reference for all methods on it.

Components of the circuit come before all others. Among themselves they are ordered by backward elimination on the
discovery pairs: the one without which the rest recovers most goes first and is ranked last, and so on. So the row shows
the faithfulness area that the true circuit allows, not one that depends on an arbitrary order of its parts.
"""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import ComponentSpace, Progress, Scores
from arithloc.benchmark.api.errors import MethodError
from arithloc.benchmark.metrics.faithfulness import bounded
from arithloc.benchmark.metrics.size import prune
from arithloc.benchmark.metrics.truth import Truth
from arithloc.benchmark.models import SubjectModel
from arithloc.benchmark.runner.job import Job
from arithloc.benchmark.runner.pairs import PairSet
from arithloc.benchmark.runner.seeds import seed_of


def oracle_scores(
    job: Job, model: SubjectModel, pairs: PairSet, space: ComponentSpace, truth: Truth | None, progress: Progress
) -> Scores:
    """Scores of the proven circuit: 1 + rank / n for its n parts, 0.5 for undecided components, 0 for all others.

    Raises:
        MethodError: nothing is known about this model and space.
    """
    if truth is None:
        raise MethodError(
            f"Expected a model with a known circuit at {space.granularity} granularity, found {job.model}. "
            "Leave the oracle out for this model."
        )
    left = list(np.flatnonzero(truth.positive))
    values: Float[ndarray, " comp"] = np.where(truth.universe, 0.0, 0.5)
    total = len(left)
    for rank in range(1, total + 1):
        weakest = _weakest(job, model, pairs, space, np.array(left))
        values[left.pop(weakest)] = 1.0 + rank / total
        progress(rank, total)
    return Scores.of(space, values)


def _weakest(job: Job, model: SubjectModel, pairs: PairSet, space: ComponentSpace, left: ndarray) -> int:
    """Index of the component whose removal leaves most of the behaviour."""
    if len(left) == 1:
        return 0
    circuits: Bool[ndarray, "circuit comp"] = np.zeros((len(left) + 2, len(space)), dtype=np.bool_)
    circuits[:, left] = True
    circuits[np.arange(len(left)), left] = False
    circuits[-2], circuits[-1] = True, False
    readings = engine.circuit_forward(
        model,
        pairs.discovery,
        space,
        prune(space, circuits),
        job.ablation,
        reference=pairs.discovery,
        seed=seed_of(job.discovery_hash, "oracle"),
    )
    means = readings.metric(job.metric).mean(axis=-1)
    recovered = (means[:-2] - means[-1]) / (means[-2] - means[-1])
    best: int = int(np.lexsort((-recovered, -bounded(recovered)))[0])
    return best
