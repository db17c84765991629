"""From a grid to cells: which combinations exist, which do not and why, in which order. Pure; never imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from arithloc.benchmark.api import Ablation, Granularity
from arithloc.benchmark.api.errors import PlanError
from arithloc.benchmark.metrics import SCORING_VERSION
from arithloc.benchmark.runner.choices import MethodChoice, TaskChoice
from arithloc.benchmark.runner.job import Effort, Job
from arithloc.benchmark.runner.suites import ORACLE
from arithloc.benchmark.runner.survey import DataSurvey, Refused, Survey
from arithloc.benchmark.storage.keys import cell_key
from arithloc.benchmark.storage.records import CellSpec


@dataclass(frozen=True)
class Grid:
    """What was asked for.

    Attributes:
        methods: chosen methods.
        tasks: chosen tasks.
        models: model references.
        granularities: what is scored.
        ablations: what removed components are replaced with.
        seeds: seeds of the methods.
        effort: numbers of pairs, draws and sizes.
        dtype: floating-point type of the models.
        metric: per-pair metric.
        every_granularity: the granularities were asked for by name, so a method that does not score one of them is
            reported; otherwise a method runs at those it scores.
        force_incapable: score models that answer too few pairs.
        private_commitment: SHA-256 of the secret seed of the test pairs; empty for public ones.
    """

    methods: tuple[MethodChoice, ...]
    tasks: tuple[TaskChoice, ...]
    models: tuple[str, ...]
    granularities: tuple[Granularity, ...]
    ablations: tuple[Ablation, ...]
    seeds: tuple[int, ...]
    effort: Effort
    dtype: str
    metric: str = "logit_diff"
    every_granularity: bool = False
    force_incapable: bool = False
    private_commitment: str = ""


@dataclass(frozen=True)
class PlannedCell:
    """A cell that can be run: what determines its result, and what a worker needs."""

    spec: CellSpec
    job: Job


@dataclass(frozen=True)
class Refusal:
    """A part of the grid that cannot be run.

    Attributes:
        what: the combination, as `toy-arith on smollm2`.
        reason: one sentence.
    """

    what: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """Cells in the order in which they run, and what was left out."""

    cells: tuple[PlannedCell, ...]
    refusals: tuple[Refusal, ...]


def make_plan(grid: Grid, surveys: Mapping[str, Survey | Refused]) -> Plan:
    """Turns a grid into cells.

    Cells are grouped by model, largest first, so that weights load once; within a model by task, then method as given.

    Args:
        grid: what was asked for.
        surveys: by model reference, what a worker found out about the model and its pairs.

    Raises:
        PlanError: no cell is left; the reasons are in the message.
    """
    refusals: dict[Refusal, None] = {}
    cells: dict[str, PlannedCell] = {}
    known: list[tuple[str, Survey]] = []
    for model in dict.fromkeys(grid.models):
        found = surveys[model]
        if isinstance(found, Refused):
            refusals[Refusal(model, found.message)] = None
        else:
            known.append((model, found))
    known.sort(key=lambda item: (-item[1].model.n_params, item[0]))
    for model, survey in known:
        for task in grid.tasks:
            data = survey.data[str(task.reference)]
            if isinstance(data, Refused):
                refusals[Refusal(f"{task.reference} on {model}", data.message)] = None
                continue
            for method in grid.methods:
                granularities, refused = _granularities(grid, method, model, survey)
                refusals.update(dict.fromkeys(refused))
                for granularity in granularities:
                    for ablation in grid.ablations:
                        for seed in grid.seeds:
                            cell = _cell(grid, method, task, model, survey, data, granularity, ablation, seed)
                            cells.setdefault(cell.job.key, cell)
    if not cells:
        reasons = " ".join(f"{refusal.what}: {refusal.reason}" for refusal in list(refusals)[:3])
        raise PlanError(f"None of the chosen combinations can be run. {reasons}")
    return Plan(tuple(cells.values()), tuple(refusals))


def _granularities(
    grid: Grid, method: MethodChoice, model: str, survey: Survey
) -> tuple[list[Granularity], list[Refusal]]:
    if method.record.name == ORACLE and not survey.has_truth:
        return [], [Refusal(f"{ORACLE} on {model}", "This model has no proven circuit.")]
    scored = [g for g in grid.granularities if g in method.granularities]
    missing = [g for g in grid.granularities if g not in method.granularities]
    if scored and not grid.every_granularity:
        return scored, []
    declared = ", ".join(sorted(method.granularities))
    return scored, [
        Refusal(f"{method.reference} at {granularity}", f"The method scores {declared} only.")
        for granularity in missing
    ]


def _cell(
    grid: Grid,
    method: MethodChoice,
    task: TaskChoice,
    model: str,
    survey: Survey,
    data: DataSurvey,
    granularity: Granularity,
    ablation: Ablation,
    seed: int,
) -> PlannedCell:
    spec = CellSpec(
        method=method.record,
        task=task.record,
        model=survey.model,
        discovery_hash=data.discovery_hash,
        evaluation_hash=data.evaluation_hash,
        granularity=granularity,
        positions=(),
        ablation=ablation,
        metric=grid.metric,
        seed=seed,
        dtype=grid.dtype,
        attention=survey.attention,
        n_discovery=grid.effort.n_discovery,
        n_evaluation=grid.effort.n_evaluation,
        n_draws=grid.effort.n_draws,
        n_sizes=grid.effort.n_sizes,
        engine_version=survey.engine_version,
        scoring_version=SCORING_VERSION,
        discovery_kind=task.discovery_kind,
        private_commitment=grid.private_commitment,
    )
    job = Job(
        key=cell_key(spec),
        method=method.reference,
        task=task.reference,
        model=model,
        dtype=grid.dtype,
        granularity=granularity,
        ablation=ablation,
        metric=grid.metric,
        seed=seed,
        effort=grid.effort,
        discovery_hash=data.discovery_hash,
        evaluation_hash=data.evaluation_hash,
        force_incapable=grid.force_incapable,
        private_commitment=grid.private_commitment,
    )
    return PlannedCell(spec, job)
