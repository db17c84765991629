"""From component scores to stored numbers: circuits built, run in one batch, measured."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Progress, Scores
from arithloc.benchmark.api.errors import NoEffect
from arithloc.benchmark.engine import Readings
from arithloc.benchmark.metrics.cell import CellScores, CurveEstimate, Curves, score_cell
from arithloc.benchmark.metrics.estimate import Estimate
from arithloc.benchmark.metrics.prefixes import budget_circuits, lowest_size, prefixes, ranking_order
from arithloc.benchmark.metrics.readout import Readout
from arithloc.benchmark.metrics.size import complement
from arithloc.benchmark.metrics.truth import Truth
from arithloc.benchmark.models import SubjectModel
from arithloc.benchmark.runner.job import Job
from arithloc.benchmark.runner.pairs import PairSet
from arithloc.benchmark.runner.refusal import CannotScore
from arithloc.benchmark.runner.seeds import seed_of
from arithloc.benchmark.runner.truth import against_truth
from arithloc.benchmark.storage.records import CurvePoint, Direction, RankingRule, RocPoint, ScoreRecord

_STORED_METRICS = ("accuracy", "kl")
"""Per-pair metrics that are stored beside the cell's own."""


@dataclass(frozen=True, eq=False)
class Scored:
    """The measured part of a cell's result; see `CellResult`."""

    scores: tuple[ScoreRecord, ...]
    curve: tuple[CurvePoint, ...]
    replicates: dict[str, Float[ndarray, " rep"]]
    pair_values: dict[str, Float[ndarray, "..."]]
    roc: tuple[RocPoint, ...] = field(default=())


def score(
    job: Job,
    model: SubjectModel,
    pairs: PairSet,
    scores: Scores,
    truth: Truth | None,
    progress: Progress,
) -> Scored:
    """Scores one localization.

    Args:
        job: the cell.
        model: loaded.
        pairs: both splits; the discovery pairs are the reference of `mean` and `resample`.
        scores: checked component scores.
        truth: labels of the space, where the circuit is known.
        progress: called with (done, total).

    Raises:
        CannotScore: the empty circuit does as well as the model.
    """
    curves, rows = build_curves(scores, job)
    readings = run_circuits(job, model, pairs, scores.space, rows.circuits, progress)
    readouts = {
        name: rows.readout(name, readings.metric(name)) for name in dict.fromkeys((job.metric, *_STORED_METRICS))
    }
    measured = measure(job, curves, readouts, pairs)
    cautions = ("model-cannot",) if pairs.too_few_correct else ()
    agreement, roc = against_truth(scores, truth, seed_of(job.key, "null")) if truth else ((), ())
    records = tuple(score_record(estimate, cautions) for estimate in (*measured.estimates, *agreement))
    return Scored(
        scores=(*records, *_public_share(pairs)),
        curve=tuple(map(curve_point, measured.curve)),
        replicates=measured.replicates,
        pair_values={
            f"{name}/{part}": values.astype(np.float32)
            for name, readout in readouts.items()
            for part, values in vars(readout).items()
            if isinstance(values, ndarray)
        },
        roc=roc,
    )


def _public_share(pairs: PairSet) -> tuple[ScoreRecord, ...]:
    """Share of private test pairs whose operands are in a public split; nothing for public ones."""
    if pairs.privacy is None:
        return ()
    n, clusters = len(pairs.evaluation), len({pair.cluster for pair in pairs.evaluation})
    share = pairs.privacy.public_share
    return (
        ScoreRecord("public_share", share, n_pairs=n, n_clusters=clusters, direction=Direction.LOWER, unit="share"),
    )


@dataclass(frozen=True, eq=False)
class Rows:
    """All circuits of a cell, one batch for the engine, and which rows belong to what.

    Attributes:
        circuits: distinct circuits.
        full, empty: rows of the full model and of the empty circuit.
        kept, removed: rows of the curve and of its complements.
        budgets_signed, budgets_absolute: rows of the budgets, where they are run.
    """

    circuits: Bool[ndarray, "circuit comp"]
    full: int
    empty: int
    kept: tuple[int, ...]
    removed: tuple[int, ...]
    budgets_signed: tuple[int, ...] | None
    budgets_absolute: tuple[int, ...] | None

    def readout(self, name: str, values: Float[ndarray, "circuit pair"]) -> Readout:
        """Per-pair values of one metric, sorted by what they belong to."""
        return Readout(
            name=name,
            full=values[self.full],
            empty=values[self.empty],
            kept=values[list(self.kept)],
            removed=values[list(self.removed)],
            budgets_signed=None if self.budgets_signed is None else values[list(self.budgets_signed)],
            budgets_absolute=None if self.budgets_absolute is None else values[list(self.budgets_absolute)],
        )


def build_curves(scores: Scores, job: Job) -> tuple[Curves, Rows]:
    """The circuits that a cell evaluates: prefixes of the ranking by absolute score, their complements, MIB's budgets.

    The budgets are run with `counterfactual` ablation only, as MIB defines them.
    """
    space = scores.space
    ties = seed_of(job.key, "ties")
    absolute = ranking_order(scores.values, signed=False, seed=ties)
    signed = ranking_order(scores.values, signed=True, seed=ties)
    circuits = prefixes(space, absolute, job.effort.n_sizes)
    with_budgets = job.ablation is Ablation.COUNTERFACTUAL
    curves = Curves(
        circuits=circuits,
        lo=lowest_size(space),
        budgets_signed=budget_circuits(space, signed) if with_budgets else None,
        budgets_absolute=budget_circuits(space, absolute) if with_budgets else None,
    )
    parts = [
        np.ones((1, len(space)), dtype=np.bool_),
        np.zeros((1, len(space)), dtype=np.bool_),
        circuits.kept,
        complement(space, circuits.kept),
    ]
    if curves.budgets_signed is not None and curves.budgets_absolute is not None:
        parts += [curves.budgets_signed.kept, curves.budgets_absolute.kept]
    distinct, row_of = np.unique(np.concatenate(parts), axis=0, return_inverse=True)
    ends = np.cumsum([len(part) for part in parts])
    groups = [tuple(int(row) for row in group) for group in np.split(row_of.reshape(-1), ends[:-1])]
    rows = Rows(
        circuits=distinct,
        full=groups[0][0],
        empty=groups[1][0],
        kept=groups[2],
        removed=groups[3],
        budgets_signed=groups[4] if with_budgets else None,
        budgets_absolute=groups[5] if with_budgets else None,
    )
    return curves, rows


def run_circuits(
    job: Job,
    model: SubjectModel,
    pairs: PairSet,
    space: ComponentSpace,
    circuits: Bool[ndarray, "circuit comp"],
    progress: Progress,
) -> Readings:
    """Runs all circuits of a cell on the test pairs."""
    return engine.circuit_forward(
        model,
        pairs.evaluation,
        space,
        circuits,
        job.ablation,
        reference=pairs.discovery,
        seed=seed_of(job.evaluation_hash, "resample"),
        progress=progress,
    )


def measure(job: Job, curves: Curves, readouts: Mapping[str, Readout], pairs: PairSet) -> CellScores:
    """Every number that the readouts give.

    Raises:
        CannotScore: `no-effect`.
    """
    try:
        return score_cell(
            curves,
            readouts[job.metric],
            [pair.cluster for pair in pairs.evaluation],
            job.evaluation_hash,
            job.effort.n_draws,
            accuracy=readouts["accuracy"],
            kl=readouts["kl"],
        )
    except NoEffect as error:
        raise CannotScore("no-effect", str(error)) from None


def score_record(estimate: Estimate, cautions: tuple[str, ...] = ()) -> ScoreRecord:
    """An estimate as it is stored, with further cautions."""
    return ScoreRecord(
        **{
            **asdict(estimate),
            "flags": (*estimate.flags, *cautions),
            "ranking_rule": RankingRule(estimate.ranking_rule),
            "direction": Direction(estimate.direction),
        }
    )


def curve_point(point: CurveEstimate) -> CurvePoint:
    """A circuit of a curve as it is stored."""
    values = asdict(point)
    return CurvePoint(**{**values, "ranking_rule": RankingRule(point.ranking_rule)})
