"""Submissions that know nothing or cheat: what the scores make of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark.api import ComponentSpace, Scores
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.metrics.truth import Truth
from arithloc.benchmark.models import SubjectModel
from arithloc.benchmark.runner.job import Job
from arithloc.benchmark.runner.oracle import oracle_scores
from arithloc.benchmark.runner.pairs import PairSet
from arithloc.benchmark.runner.refusal import CannotScore
from arithloc.benchmark.runner.scoring import score
from arithloc.benchmark.storage.records import ScoreRecord
from arithloc.benchmark.validity.cells import AREA

SEEDS = 3
"""Draws of every submission that is random."""
FEW_PAIRS = 4
"""Discovery pairs of the submission that is tuned to very few of them."""


@dataclass(frozen=True)
class Submitted:
    """What one submission scored on one circuit.

    Attributes:
        name: of the submission.
        model: on which.
        area: faithfulness area with its interval.
        auroc: against the proven circuit, where there is one.
        area_on_discovery: faithfulness area on the pairs that it was tuned to, where it was.
    """

    name: str
    model: str
    area: ScoreRecord
    auroc: float | None
    area_on_discovery: float | None = None


def submissions(
    job: Job,
    model: SubjectModel,
    pairs: PairSet,
    circuit: Bool[ndarray, " comp"],
    truth: Truth | None,
    found: Float[ndarray, " comp"],
) -> Iterator[Submitted]:
    """Scores every wrong submission on one model.

    Args:
        job: any node cell of the model.
        model: loaded.
        pairs: both splits.
        circuit: the proven circuit, or the best one that was found.
        truth: labels, where the circuit is proven. Submissions are tuned there alone: it takes n^2 / 2 circuits.
        found: component scores of a good method, to be shuffled.
    """
    which = "found" if truth is None else "proven"
    space = ComponentSpace(job.granularity, model.shape)
    layers = np.repeat(np.arange(space.grid_shape[0], dtype=np.float64), len(space) // space.grid_shape[0])
    fixed = {
        "late layers first": layers + 1.0,
        "early layers first": layers.max() + 1.0 - layers,
        f"the {which} circuit last": np.where(circuit, 1.0, 2.0),
        f"the {which} circuit, unordered": np.where(circuit, 2.0, 1.0),
    }
    for name, values in fixed.items():
        yield _scored(name, job, model, pairs, Scores.of(space, values), truth)
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        tied = replace(job, key=f"{seed}{job.key[1:]}")  # ties are broken by the key
        yield _scored("all scores equal", tied, model, pairs, Scores.of(space, np.ones(len(space))), truth)
        yield _scored("shuffled scores", tied, model, pairs, Scores.of(space, rng.permutation(found)), truth)
        padded = np.where(circuit | (rng.random(len(space)) < 0.5), 2.0, 1.0)
        yield _scored("circuit and half of the rest", tied, model, pairs, Scores.of(space, padded), truth)
    if truth is None:
        return
    everything = replace(truth, positive=np.ones_like(truth.positive), universe=np.ones_like(truth.universe))
    for name, n in (("tuned to the discovery pairs", len(pairs.discovery)), (f"tuned to {FEW_PAIRS} pairs", FEW_PAIRS)):
        seen = replace(pairs, discovery=pairs.discovery[:n])
        tuned = oracle_scores(job, model, seen, space, everything, no_progress)
        own = replace(pairs, evaluation=seen.discovery)
        on_discovery = _scored(name, job, model, own, tuned, truth).area.value
        yield replace(_scored(name, job, model, pairs, tuned, truth), area_on_discovery=on_discovery)


def _scored(name: str, job: Job, model: SubjectModel, pairs: PairSet, scores: Scores, truth: Truth | None) -> Submitted:
    try:
        measured = {record.name: record for record in score(job, model, pairs, scores, truth, no_progress).scores}
    except CannotScore as refusal:
        return Submitted(name, job.model, ScoreRecord(AREA, None, reason=refusal.name), None)
    auroc = None if truth is None else measured["auroc"].value
    return Submitted(name, job.model, measured[AREA], auroc)
