"""The same questions about the scores on a pretrained model, where nobody knows the circuit."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from arithloc.benchmark.api import Ablation, Granularity
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.runner.choices import choose_task
from arithloc.benchmark.runner.scoring import build_curves
from arithloc.benchmark.runner.stored_cell import chosen_circuit, job_of, with_space
from arithloc.benchmark.runner.workbench import Workbench
from arithloc.benchmark.storage.components import component_scores
from arithloc.benchmark.storage.queries import CellFilter
from arithloc.benchmark.storage.repository import Repository
from arithloc.benchmark.validity.agreement import Shift, shift
from arithloc.benchmark.validity.cells import Measured, measured_cells
from arithloc.benchmark.validity.grids import (
    PRETRAINED_ABLATIONS,
    PRETRAINED_KINDS,
    PRETRAINED_METHODS,
    SHUFFLED,
    USUAL,
    Pretrained,
)
from arithloc.benchmark.validity.submissions import Submitted, submissions

NULL = "random"


@dataclass(frozen=True)
class OnPretrained:
    """What was measured on one pretrained model.

    Attributes:
        case: which one.
        cells: of all methods under the usual conditions.
        size: share of the model that the found circuit keeps: the smallest circuit of `SHUFFLED` that reaches 90%.
        submitted: wrong submissions.
        ablations, kinds: by condition, what it does to the areas.
    """

    case: Pretrained
    cells: tuple[Measured, ...]
    size: float
    submitted: tuple[Submitted, ...]
    ablations: Mapping[str, Shift]
    kinds: Mapping[str, Shift]

    @property
    def null(self) -> Measured:
        """Random scores."""
        return next(cell for cell in self.cells if cell.summary.method == NULL)


def on_pretrained(repository: Repository, bench: Workbench, case: Pretrained) -> OnPretrained:
    """Measures one pretrained model.

    Args:
        repository: with the cells of `case.parts`.
        bench: runs the submissions.
        case: the model and what it is asked.
    """
    wanted = CellFilter(granularities=[Granularity.NODE], models=[case.model], methods=PRETRAINED_METHODS)
    cells = measured_cells(repository, wanted)
    asked = Reference.parse(case.task)

    def of(ablation: str, kind: str = USUAL) -> list[Measured]:
        options = choose_task(asked.with_options({"kind": kind})).record.options
        return [c for c in cells if (c.summary.ablation, c.summary.task_options) == (ablation, options)]

    usual = of(Ablation.COUNTERFACTUAL)
    circuit_cell = next(cell for cell in usual if cell.summary.method == SHUFFLED)
    job = job_of(repository.show(circuit_cell.summary.key))
    model, pairs = bench.prepare(job, lambda *_: None)
    scores = with_space(component_scores(repository, circuit_cell.summary.key), model, job.granularity)
    curves, _ = build_curves(scores, job)
    effect = circuit_cell.full.mean() - circuit_cell.empty.mean()
    faithful = (circuit_cell.kept.mean(axis=1) - circuit_cell.empty.mean()) / effect
    circuit = chosen_circuit(curves.circuits, faithful, circuit_cell.value("sparsity"), None)
    at = int(np.flatnonzero((curves.circuits.kept == circuit).all(axis=1))[0])
    return OnPretrained(
        case=case,
        cells=tuple(usual),
        size=float(curves.circuits.sizes[at]),
        submitted=tuple(submissions(job, model, pairs, circuit, None, scores.values)),
        ablations={ablation.value: shift(usual, of(ablation)) for ablation in PRETRAINED_ABLATIONS},
        kinds={kind: shift(usual, of(Ablation.COUNTERFACTUAL, kind)) for kind in PRETRAINED_KINDS},
    )
