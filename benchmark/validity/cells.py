"""Runs the cells that are missing, and reads cells with their per-pair values."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from sqlalchemy import select

from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.metrics.area import faithfulness_area
from arithloc.benchmark.metrics.prefixes import lowest_size
from arithloc.benchmark.runner.executor import Executor, Listener
from arithloc.benchmark.runner.job import SurveyRequest
from arithloc.benchmark.runner.plan import Grid, make_plan
from arithloc.benchmark.runner.recorder import Recorder
from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.components import component_scores
from arithloc.benchmark.storage.queries import CellFilter, CellSummary
from arithloc.benchmark.storage.records import Status
from arithloc.benchmark.storage.repository import Repository
from arithloc.benchmark.validity.grids import EFFORT, Part

AREA = "faithfulness_area"


@dataclass(frozen=True, eq=False)
class Measured:
    """A finished cell.

    Attributes:
        summary: names and scores.
        replicates: bootstrap replicates of the faithfulness area.
        full, empty: per-pair metric of the model and of the empty circuit.
        kept: the same of the circuits of the curve.
        sizes: realised sizes of these circuits.
        components: number of components of these circuits.
        lo: where the area starts.
        cluster: number of the cluster of each pair.
    """

    summary: CellSummary
    replicates: Float[ndarray, " rep"]
    full: Float[ndarray, " pair"]
    empty: Float[ndarray, " pair"]
    kept: Float[ndarray, "size pair"]
    sizes: Float[ndarray, " size"]
    components: Int[ndarray, " size"]
    lo: float
    cluster: Int[ndarray, " pair"]

    def value(self, score: str) -> float | None:
        """A score's value, None where it has none."""
        found = self.summary.scores.get(score)
        return None if found is None else found.value

    @property
    def n_clusters(self) -> int:
        """Clusters of the test pairs."""
        return int(self.cluster.max()) + 1

    def area_on(self, clusters: Bool[ndarray, " cluster"]) -> float:
        """Faithfulness area on the pairs of some clusters; 0 where the model has no effect on them."""
        used = clusters[self.cluster]
        full, empty = self.full[used].mean(), self.empty[used].mean()
        if not full > empty:
            return 0.0
        f = (self.kept[:, used].mean(axis=1) - empty) / (full - empty)
        return float(faithfulness_area(f, self.sizes, self.lo))


def run_missing(repository: Repository, executor: Executor, part: Part, notes: Callable[[int], Listener]) -> None:
    """Runs those cells of a grid that the database does not have.

    Args:
        repository: open for writing.
        executor: where cells run.
        part: the grid.
        notes: makes the listener that is told about so many cells.

    Raises:
        PlanError: no cell of the grid can be run.
    """
    choices = executor.choose([Reference.parse(m) for m in part.methods], list(part.tasks))
    tasks = tuple(choice.reference for choice in choices.tasks)
    surveys = executor.survey(
        [SurveyRequest(m, "float32", tasks, EFFORT.n_discovery, EFFORT.n_evaluation) for m in part.models]
    )
    grid = Grid(
        methods=choices.methods,
        tasks=choices.tasks,
        models=part.models,
        granularities=(part.granularity,),
        ablations=part.ablations,
        seeds=(0,),
        effort=EFFORT,
        dtype="float32",
    )
    plan = make_plan(grid, surveys)
    stored = repository.statuses([cell.job.key for cell in plan.cells])
    pending = [cell for cell in plan.cells if cell.job.key not in stored]
    if pending:
        executor.run([cell.job for cell in pending], Recorder(repository, pending, notes(len(pending))))


def measured_cells(repository: Repository, wanted: CellFilter) -> list[Measured]:
    """Finished cells that have a faithfulness area, with the values of their pairs."""
    found = []
    for summary in repository.cells(wanted):
        area = summary.scores.get(AREA)
        if summary.status is Status.OK and area is not None and area.value is not None:
            found.append(_measured(repository, summary))
    return found


def _measured(repository: Repository, summary: CellSummary) -> Measured:
    link, point, replicate = schema.cell_artifact.c, schema.curve_point.c, schema.replicate.c
    with repository.reading() as connection:
        sha256 = connection.execute(
            select(link.sha256).where(link.key == summary.key, link.role == "values")
        ).scalar_one()
        curve = connection.execute(
            select(point.size, point.n_components)
            .where(point.key == summary.key, point.curve == "kept")
            .order_by(point.i)
        ).all()
        data = connection.execute(
            select(replicate.data).where(replicate.key == summary.key, replicate.name == AREA)
        ).scalar_one()
        metric = connection.execute(select(schema.cell.c.metric).where(schema.cell.c.key == summary.key)).scalar_one()
    arrays: dict[str, Any] = dict(repository.artifacts.arrays(sha256))
    return Measured(
        summary=summary,
        replicates=np.frombuffer(data, "<f8").astype(np.float64),
        full=arrays[f"{metric}/full"].astype(np.float64),
        empty=arrays[f"{metric}/empty"].astype(np.float64),
        kept=arrays[f"{metric}/kept"].astype(np.float64),
        sizes=np.array([row.size for row in curve]),
        components=np.array([row.n_components for row in curve]),
        lo=lowest_size(component_scores(repository, summary.key).space),
        cluster=arrays["cluster"].astype(np.int64),
    )
