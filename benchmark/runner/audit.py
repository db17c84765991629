"""The audit of a stored cell: its circuit tested, compared with the entry's other cells, and tried on other tasks."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from sqlalchemy import select

from arithloc.benchmark.api.errors import NoEffect
from arithloc.benchmark.metrics.circuit_tests import agreement_tests
from arithloc.benchmark.metrics.estimate import Estimate
from arithloc.benchmark.metrics.stability import seed_spread
from arithloc.benchmark.metrics.tested_circuits import Effort
from arithloc.benchmark.metrics.transfer import ablation_sensitivity
from arithloc.benchmark.runner.circuit_tests import circuit_tests
from arithloc.benchmark.runner.circuit_transfer import transfer_tests
from arithloc.benchmark.runner.job import Job
from arithloc.benchmark.runner.scoring import build_curves, score_record
from arithloc.benchmark.runner.stored_cell import check_model, chosen_circuit, job_of, same_size_circuit, with_space
from arithloc.benchmark.runner.truth import truth_for
from arithloc.benchmark.runner.workbench import Workbench
from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.circuit_tests import put_circuit_tests
from arithloc.benchmark.storage.components import component_scores
from arithloc.benchmark.storage.queries import CellFilter
from arithloc.benchmark.storage.records import ScoreRecord
from arithloc.benchmark.storage.relatives import Relatives, relatives
from arithloc.benchmark.storage.repository import Repository

_AREA = "faithfulness_area"


@dataclass(frozen=True)
class AuditSettings:
    """What is tested.

    Attributes:
        size: largest size of the tested circuit; None takes the circuit that `sparsity` names.
        model: where the model is found, by default under its name.
        effort: numbers of draws.
    """

    size: float | None = None
    model: str = ""
    effort: Effort = field(default_factory=Effort)


def audit(
    repository: Repository,
    prefix: str,
    bench: Workbench,
    settings: AuditSettings,
    phase: Callable[[str, int, int], None],
) -> tuple[ScoreRecord, ...]:
    """Tests the circuit of one cell and stores the numbers beside its scores.

    Args:
        repository: open for writing.
        prefix: first digits of the cell's key.
        bench: with the device.
        settings: what is tested.
        phase: told the progress.

    Raises:
        UsageError: no such cell, no result, another model, or no circuit of that size.
        ArithlocError: the model cannot be used.
    """
    view = repository.show(prefix)
    job = job_of(view, settings.model)
    related = relatives(repository, job.key)
    model, pairs = bench.prepare(job, phase)
    check_model(view, model)
    scores = with_space(component_scores(repository, job.key), model, job.granularity)
    curves, _ = build_curves(scores, job)
    by_name = {score.name: score for score in view.scores}
    faithful = _stored_faithfulness(repository, job.key, len(curves.circuits.sizes))
    kept = chosen_circuit(curves.circuits, faithful, _value(by_name.get("sparsity")), settings.size)
    size = float(curves.circuits.sizes[(curves.circuits.kept == kept).all(axis=1).argmax()])
    truth = truth_for(job.model, scores.space)
    found = circuit_tests(job, model, pairs, scores, kept, truth, settings.effort, phase)
    found += _agreement(repository, job, related, int(kept.sum()))
    for key in related.tasks:
        phase("other tasks", 0, len(related.tasks))
        other = job_of(repository.show(key), settings.model)
        _, other_pairs = bench.prepare(other, phase)
        theirs = with_space(component_scores(repository, key), model, job.granularity)
        their_circuit = same_size_circuit(build_curves(theirs, other)[0].circuits, size)
        try:
            found += transfer_tests(job, model, pairs, (other, other_pairs), scores.space, kept, their_circuit)
        except NoEffect:
            found.append(Estimate(f"transfer_f@{other.task}", None, reason="no-effect"))
    records = tuple(score_record(estimate) for estimate in found)
    put_circuit_tests(repository, job.key, records, {"size": settings.size, **asdict(settings.effort)})
    return records


def _agreement(repository: Repository, job: Job, related: Relatives, n_top: int) -> Iterator[Estimate]:
    """Agreement with the entry's cells of other seeds and ablations, and the spread of their areas."""
    own = component_scores(repository, job.key).values
    for name, keys in (("seeds", related.seeds), ("ablations", related.ablations)):
        yield from agreement_tests(name, own, [component_scores(repository, key).values for key in keys], n_top)
    spread = seed_spread(_areas(repository, (job.key, *related.seeds)))
    if spread is not None:
        yield Estimate("seeds_area_sd", spread, n_pairs=len(related.seeds) + 1, direction="lower")
    areas = _areas(repository, (job.key, *related.ablations))
    if len(areas) > 1:
        sensitivity = ablation_sensitivity(areas)
        yield Estimate("ablations_area_worst", sensitivity.worst, n_pairs=len(areas))
        yield Estimate("ablations_area_spread", sensitivity.spread, n_pairs=len(areas), direction="lower")


def _areas(repository: Repository, keys: Sequence[str]) -> np.ndarray:
    cells = repository.cells(CellFilter(keys=keys))
    return np.array([value for cell in cells if (value := _value(cell.scores.get(_AREA))) is not None], np.float64)


def _stored_faithfulness(repository: Repository, key: str, n: int) -> np.ndarray:
    point = schema.curve_point.c
    query = select(point.f).where(point.key == key, point.curve == "kept").order_by(point.i)
    with repository.reading() as connection:
        found = [np.nan if f is None else f for f in connection.scalars(query)]
    return np.array(found[:n], np.float64)


def _value(score: ScoreRecord | None) -> float | None:
    return None if score is None else score.value
