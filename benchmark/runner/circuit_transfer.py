"""A circuit on another task: what it recovers there, and whether removing it breaks its own task more than that one."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark.api import ComponentSpace, Granularity
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.metrics.bootstrap import Interval, interval, ratios, resamples
from arithloc.benchmark.metrics.estimate import Estimate
from arithloc.benchmark.metrics.faithfulness import faithfulness
from arithloc.benchmark.metrics.random_circuits import same_blocks, same_size
from arithloc.benchmark.metrics.size import circuit_size, complement
from arithloc.benchmark.metrics.transfer import adjusted_specificity, relative_transfer, specificity
from arithloc.benchmark.models import SubjectModel
from arithloc.benchmark.runner.job import Job
from arithloc.benchmark.runner.pairs import PairSet
from arithloc.benchmark.runner.scoring import run_circuits
from arithloc.benchmark.runner.seeds import seed_of

N_RANDOM = 20
"""Random circuits behind the adjustment of the specificity."""


@dataclass(frozen=True, eq=False)
class _On:
    """Runs of all circuits on one task: faithfulness of each, with the replicates of the pairs."""

    f: Float[ndarray, " row"]
    replicates: Float[ndarray, "rep row"]
    n_pairs: int
    n_clusters: int


def transfer_tests(
    job: Job,
    model: SubjectModel,
    own: PairSet,
    other: tuple[Job, PairSet],
    space: ComponentSpace,
    kept: Bool[ndarray, " comp"],
    theirs: Bool[ndarray, " comp"],
) -> Iterator[Estimate]:
    """Transfer and specificity of a circuit against one other task.

    The pairs of the two tasks are resampled independently of each other; where they share operands that makes the
    intervals of differences wider than they need be.

    Args:
        job: the cell.
        model: loaded.
        own: pairs of the circuit's own task.
        other: the same job on the other task, and its pairs.
        space: the components.
        kept: the circuit.
        theirs: the other task's circuit of the same size from the same method.

    Raises:
        NoEffect: the model does no better than the empty circuit on one of the tasks.
    """
    seed = seed_of(job.key, "specificity")
    if space.granularity in (Granularity.NODE, Granularity.NEURON):
        random = same_blocks(space, kept, N_RANDOM, seed)
    else:
        random = same_size(space, float(circuit_size(space, kept)), N_RANDOM, seed).kept
    rows = np.concatenate([kept[None], theirs[None], complement(space, kept)[None], complement(space, random)])
    name = other[0].task
    here, there = (_run(one, model, pairs, space, rows) for one, pairs in ((job, own), other))
    yield _estimate(f"transfer_f@{name}", there.f[0], interval(there.replicates[:, 0]), there)
    table = np.array([here.f[:2], there.f[:2]]).T  # found on (own, other), evaluated on (own, other)
    relative = float(relative_transfer(table)[0, 1])
    if np.isfinite(relative):
        yield Estimate(f"transfer_relative@{name}", relative)
    else:
        yield Estimate(f"transfer_relative@{name}", None, reason="own-circuit-recovers-nothing")
    c_here, c_there = 1 - here.f[2:], 1 - there.f[2:]
    b_here, b_there = 1 - here.replicates[:, 2:], 1 - there.replicates[:, 2:]
    yield _estimate(f"completeness@{name}", c_there[0], interval(b_there[:, 0]), there)
    plain = specificity(b_here[:, 0], b_there[:, 0])
    yield _estimate(
        f"specificity@{name}", float(specificity(np.asarray(c_here[0]), np.asarray(c_there[0]))), interval(plain), there
    )
    adjusted = adjusted_specificity(b_here[:, 0], b_there[:, 0], b_here[:, 1:].T, b_there[:, 1:].T)
    point = float(adjusted_specificity(np.asarray(c_here[0]), np.asarray(c_there[0]), c_here[1:], c_there[1:]))
    yield _estimate(f"specificity_adjusted@{name}", point, interval(adjusted), there)


def _run(job: Job, model: SubjectModel, pairs: PairSet, space: ComponentSpace, rows: Bool[ndarray, "row comp"]) -> _On:
    every = np.ones((1, len(space)), dtype=np.bool_)
    distinct, row_of = np.unique(np.concatenate([every, ~every, rows]), axis=0, return_inverse=True)
    values = run_circuits(job, model, pairs, space, distinct, no_progress).metric(job.metric)[row_of.reshape(-1)]
    draws = resamples([pair.cluster for pair in pairs.evaluation], job.evaluation_hash, job.effort.n_draws)
    means = draws.means(values)
    return _On(
        f=faithfulness(values[2:], values[0], values[1]),
        replicates=ratios(means[:, 2:], means[:, 0], means[:, 1]),
        n_pairs=len(pairs.evaluation),
        n_clusters=draws.n_clusters,
    )


def _estimate(name: str, value: float, spread: Interval, on: _On) -> Estimate:
    return Estimate(name, float(value), spread.low, spread.high, spread.se, on.n_pairs, on.n_clusters)
