"""All measurements of the validity page, from the cells of a database and the submissions that are run for it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from arithloc.benchmark.api import ComponentSpace, Granularity
from arithloc.benchmark.metrics.estimate import Estimate
from arithloc.benchmark.metrics.ranking import SplitHalf
from arithloc.benchmark.metrics.tiers import passes_gate, tier_mean
from arithloc.benchmark.runner.stored_cell import job_of
from arithloc.benchmark.runner.suites import ORACLE
from arithloc.benchmark.runner.truth import truth_for
from arithloc.benchmark.runner.workbench import Workbench
from arithloc.benchmark.storage.components import component_scores
from arithloc.benchmark.storage.queries import CellFilter
from arithloc.benchmark.storage.repository import Repository
from arithloc.benchmark.validity.agreement import Separation, Shift, halves, separation, shift, with_truth
from arithloc.benchmark.validity.cells import Measured, measured_cells
from arithloc.benchmark.validity.grids import BASE, METHODS, SHUFFLED, STRESS, TASK, TIERS, USUAL, VARIED, Pretrained
from arithloc.benchmark.validity.pretrained import OnPretrained, on_pretrained
from arithloc.benchmark.validity.submissions import Submitted, submissions

SCORES = (
    ("faithfulness_area", True),
    ("completeness_area", True),
    ("sparsity", False),
    ("cpr", True),
    ("cmd", False),
)
"""Scores whose order of methods is compared with that of AUROC, and whether more is better."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TierAgreement:
    """Agreement of one score with the truth over the circuits of a tier; estimates are means over circuits."""

    score: str
    tier: str
    spearman: Estimate | None
    kendall: Estimate | None
    alike: Estimate | None


@dataclass(frozen=True)
class MethodTruth:
    """One method on the undisturbed circuits: mean AUROC, mean area, and whether it passes the gate."""

    granularity: str
    title: str
    auroc: Estimate
    area: Estimate
    passes: bool


@dataclass(frozen=True)
class Proven:
    """The proven circuit of one toy, as the oracle row measures it: f of exactly its parts, its size, the area of the row."""

    model: str
    f: float
    size: float
    area: float


@dataclass(frozen=True)
class Question:
    """One question of several methods: stability of their order and separation of their scores."""

    name: str
    halves: SplitHalf
    separation: Separation


@dataclass(frozen=True)
class Findings:
    """Everything on the page."""

    truth: tuple[TierAgreement, ...]
    methods: tuple[MethodTruth, ...]
    proven: tuple[Proven, ...]
    null: tuple[Measured, ...]
    questions: tuple[Question, ...]
    ablations: Mapping[str, tuple[Shift, ...]]
    kinds: Mapping[str, tuple[Shift, ...]]
    submitted: tuple[Submitted, ...]
    pretrained: tuple[OnPretrained, ...]


def collect(
    repository: Repository, bench: Workbench, progress: Progress, pretrained: Sequence[Pretrained] = ()
) -> Findings:
    """Measures everything.

    Args:
        repository: with the cells of `grids.PARTS` and of the pretrained models' parts.
        bench: runs the submissions.
        progress: called with (what, done, total).
        pretrained: models without known circuit.
    """
    toys = CellFilter(granularities=[Granularity.NODE], models=(*BASE, *STRESS), methods=METHODS)
    cells = measured_cells(repository, toys)
    edges = measured_cells(repository, CellFilter(granularities=[Granularity.EDGE], models=BASE, methods=METHODS))
    usual = _by_model(cell for cell in cells if _is_usual(cell))
    by_edge = _by_model(cell for cell in edges if _is_usual(cell))
    submitted: list[Submitted] = []
    measured: list[OnPretrained] = []
    total = len(BASE) + len(pretrained)
    for i, model in enumerate(BASE):
        progress("submissions", i, total)
        submitted += _submissions(repository, bench, usual[model])
    for i, case in enumerate(pretrained, start=len(BASE)):
        progress("submissions", i, total)
        measured.append(on_pretrained(repository, bench, case))
    questions = {
        **usual,
        **{f"{model}, edges": listed for model, listed in by_edge.items()},
        **{f"{found.case.model}, {found.case.task}": found.cells for found in measured},
    }
    return Findings(
        truth=tuple(_with_truth({Granularity.NODE: usual, Granularity.EDGE: by_edge})),
        methods=tuple([*_methods(usual), *_methods(by_edge)]),
        proven=tuple(
            _proven(cell, _n_parts(repository, cell))
            for model in usual
            for cell in usual[model]
            if cell.summary.method == ORACLE
        ),
        null=tuple(cell for model in usual for cell in usual[model] if cell.summary.method == "random"),
        questions=tuple(_question(name, _ranked(listed)) for name, listed in questions.items()),
        ablations=_shifts(cells, usual, lambda cell: cell.summary.ablation if _kind(cell) == USUAL else ""),
        kinds=_shifts(cells, usual, lambda cell: _kind(cell) if cell.summary.ablation == "counterfactual" else ""),
        submitted=tuple(submitted),
        pretrained=tuple(measured),
    )


def _by_model(cells: Iterable[Measured]) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {model: [] for model in (*BASE, *STRESS)}
    for cell in cells:
        found[cell.summary.model].append(cell)
    return {model: listed for model, listed in found.items() if listed}


def _kind(cell: Measured) -> str:
    return str(cell.summary.task_options.get("kind", "")) if cell.summary.task == TASK else ""


def _is_usual(cell: Measured) -> bool:
    return _kind(cell) == USUAL and cell.summary.ablation == "counterfactual"


def _ranked(cells: Sequence[Measured]) -> list[Measured]:
    return [cell for cell in cells if cell.summary.method != ORACLE]


def _with_truth(usual: Mapping[Granularity, Mapping[str, Sequence[Measured]]]) -> list[TierAgreement]:
    found = []
    for score, higher in SCORES:
        for tier in TIERS:
            cells = usual[tier.granularity]
            each = [with_truth(_ranked(cells[m]), score, higher_is_better=higher) for m in tier.models if m in cells]
            rho = [one.spearman for one in each if one.spearman is not None]
            tau = [one.kendall for one in each if one.kendall is not None]
            alike = [one.alike for one in each if one.alike is not None]
            means = _mean("spearman", rho), _mean("kendall", tau), _mean("alike", alike)
            found.append(TierAgreement(score, tier.name, *means))
    return found


def _mean(name: str, values: Sequence[float]) -> Estimate | None:
    return tier_mean(name, np.array(values), seed=0) if values else None


def _methods(usual: Mapping[str, Sequence[Measured]]) -> list[MethodTruth]:
    by_title: dict[str, list[Measured]] = defaultdict(list)
    for model in BASE:
        for cell in usual.get(model, ()):
            by_title[cell.summary.title].append(cell)
    found = []
    for title, cells in by_title.items():
        aurocs = [value for cell in cells if (value := cell.value("auroc")) is not None]
        areas = [value for cell in cells if (value := cell.value("faithfulness_area")) is not None]
        auroc, area = _mean("auroc", aurocs), _mean("faithfulness_area", areas)
        if auroc is not None and area is not None:
            found.append(MethodTruth(cells[0].summary.granularity, title, auroc, area, passes_gate(np.array(aurocs))))
    return sorted(found, key=lambda one: -(one.auroc.value or 0.0))


def _proven(oracle: Measured, n_parts: int) -> Proven:
    """The oracle ranks the parts of the circuit first, so the curve holds the circuit at its number of components."""
    at = int(np.abs(oracle.components - n_parts).argmin())
    effect = oracle.full.mean() - oracle.empty.mean()
    f = float((oracle.kept[at].mean() - oracle.empty.mean()) / effect)
    return Proven(oracle.summary.model, f, float(oracle.sizes[at]), oracle.value("faithfulness_area") or 0.0)


def _n_parts(repository: Repository, oracle: Measured) -> int:
    """Parts of the proven circuit: the oracle scores them above 1, everything else below."""
    return int((component_scores(repository, oracle.summary.key).values > 1).sum())


def _question(name: str, cells: Sequence[Measured]) -> Question:
    return Question(name, halves(cells, seed=0), separation(cells))


def _shifts(
    cells: Sequence[Measured], usual: Mapping[str, Sequence[Measured]], condition: Callable[[Measured], str]
) -> dict[str, tuple[Shift, ...]]:
    """By condition, the shift against the usual cells of each varied circuit."""
    found: dict[str, list[Shift]] = defaultdict(list)
    for model in VARIED:
        groups: dict[str, list[Measured]] = defaultdict(list)
        for cell in cells:
            if cell.summary.model == model and condition(cell) not in ("", USUAL, "counterfactual"):
                groups[condition(cell)].append(cell)
        for name, listed in groups.items():
            found[name].append(shift(_ranked(usual[model]), _ranked(listed)))
    return {name: tuple(listed) for name, listed in found.items()}


def _submissions(repository: Repository, bench: Workbench, cells: Sequence[Measured]) -> list[Submitted]:
    first = next(cell for cell in cells if cell.summary.method == SHUFFLED)
    job = job_of(repository.show(first.summary.key))
    model, pairs = bench.prepare(job, lambda *_: None)
    truth = truth_for(job.model, ComponentSpace(job.granularity, model.shape))
    if truth is None:
        return []
    values = component_scores(repository, first.summary.key).values
    return list(submissions(job, model, pairs, truth.positive, truth, values))
