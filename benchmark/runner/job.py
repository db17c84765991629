"""One unit of work as it travels to a worker: plain values, JSON in both directions."""

from dataclasses import dataclass
from typing import Any

from arithloc.benchmark.api import Ablation, Granularity
from arithloc.benchmark.api.options import Reference


@dataclass(frozen=True)
class Effort:
    """How much of everything a cell uses; part of its key.

    Attributes:
        n_discovery: pairs drawn for the method.
        n_evaluation: pairs drawn for the scores.
        n_draws: bootstrap replicates.
        n_sizes: circuit sizes of the faithfulness curve, where the space is too large for all of them.
    """

    n_discovery: int
    n_evaluation: int
    n_draws: int
    n_sizes: int


@dataclass(frozen=True)
class Job:
    """What a worker needs to run one cell.

    Attributes:
        key: key of the cell; the seeds of its random steps are derived from it.
        method: method reference; its name may be `oracle`.
        task: task reference.
        model: registered name, folder, GGUF file or hub id.
        dtype: floating-point type of the model.
        granularity: what is scored.
        ablation: what removed components are replaced with.
        metric: per-pair metric.
        seed: seed of the method.
        effort: numbers of pairs, draws and sizes.
        discovery_hash: expected hash of the discovery pairs.
        evaluation_hash: expected hash of the evaluation pairs.
        force_incapable: score the model although it answers too few pairs.
        private_commitment: SHA-256 of the secret seed that the test pairs are drawn with; empty for public pairs.
    """

    key: str
    method: Reference
    task: Reference
    model: str
    dtype: str
    granularity: Granularity
    ablation: Ablation
    metric: str
    seed: int
    effort: Effort
    discovery_hash: str
    evaluation_hash: str
    force_incapable: bool = False
    private_commitment: str = ""

    def describe(self) -> str:
        """Short name for messages: `mediation on toy-arith, toy-a-base-1, node`."""
        return f"{self.method.label} on {self.task.label}, {self.model}, {question_text(self.granularity, self.ablation, self.seed)}"


def question_text(granularity: str, ablation: str, seed: int) -> str:
    """Granularity, with ablation and seed where they are not the usual ones.

    Example:
    >>> question_text("node", "counterfactual", 0), question_text("node", "mean", 3)
    ('node', 'node, mean ablation, seed 3')
    """
    parts = [str(granularity)]
    if ablation != Ablation.COUNTERFACTUAL:
        parts.append(f"{ablation} ablation")
    if seed:
        parts.append(f"seed {seed}")
    return ", ".join(parts)


@dataclass(frozen=True)
class SurveyRequest:
    """Asks a worker what the keys of a model's cells need to know.

    Attributes:
        model: as in `Job`.
        dtype: as in `Job`.
        tasks: task references to draw pairs of.
        n_discovery: pairs of the discovery split.
        n_evaluation: pairs of the test split.
        private_commitment: as in `Job`.
    """

    model: str
    dtype: str
    tasks: tuple[Reference, ...]
    n_discovery: int
    n_evaluation: int
    private_commitment: str = ""


def reference_to_json(reference: Reference) -> dict[str, Any]:
    """A reference as JSON values."""
    return {"name": reference.name, "options": [list(pair) for pair in reference.options]}


def reference_from_json(value: dict[str, Any]) -> Reference:
    """Inverse of `reference_to_json`."""
    return Reference(value["name"], tuple((key, text) for key, text in value["options"]))


def job_to_json(job: Job) -> dict[str, Any]:
    """A job as JSON values."""
    return {
        "key": job.key,
        "method": reference_to_json(job.method),
        "task": reference_to_json(job.task),
        "model": job.model,
        "dtype": job.dtype,
        "granularity": job.granularity.value,
        "ablation": job.ablation.value,
        "metric": job.metric,
        "seed": job.seed,
        "effort": {
            "n_discovery": job.effort.n_discovery,
            "n_evaluation": job.effort.n_evaluation,
            "n_draws": job.effort.n_draws,
            "n_sizes": job.effort.n_sizes,
        },
        "discovery_hash": job.discovery_hash,
        "evaluation_hash": job.evaluation_hash,
        "force_incapable": job.force_incapable,
        "private_commitment": job.private_commitment,
    }


def job_from_json(value: dict[str, Any]) -> Job:
    """Inverse of `job_to_json`."""
    return Job(
        **{
            **value,
            "method": reference_from_json(value["method"]),
            "task": reference_from_json(value["task"]),
            "granularity": Granularity(value["granularity"]),
            "ablation": Ablation(value["ablation"]),
            "effort": Effort(**value["effort"]),
        }
    )


def request_to_json(request: SurveyRequest) -> dict[str, Any]:
    """A survey request as JSON values."""
    return {
        "model": request.model,
        "dtype": request.dtype,
        "tasks": [reference_to_json(task) for task in request.tasks],
        "n_discovery": request.n_discovery,
        "n_evaluation": request.n_evaluation,
        "private_commitment": request.private_commitment,
    }


def request_from_json(value: dict[str, Any]) -> SurveyRequest:
    """Inverse of `request_to_json`."""
    return SurveyRequest(**{**value, "tasks": tuple(reference_from_json(task) for task in value["tasks"])})
