"""A stored cell as a job again: for what is measured on it later."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Scores
from arithloc.benchmark.api.errors import UsageError
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.metrics.faithfulness import bounded
from arithloc.benchmark.metrics.prefixes import Circuits
from arithloc.benchmark.models import SubjectModel
from arithloc.benchmark.runner.choices import option_text
from arithloc.benchmark.runner.discovery import DISCOVERY_KIND, with_discovery_kind
from arithloc.benchmark.runner.job import Effort, Job
from arithloc.benchmark.runner.workbench import model_record
from arithloc.benchmark.storage.queries import CellView
from arithloc.benchmark.storage.records import Status

ROUNDING = 1e-9


def job_of(view: CellView, model: str = "") -> Job:
    """The job whose result a finished cell is.

    Args:
        view: the cell.
        model: where its model is found, by default under its name.

    Raises:
        UsageError: the cell has no result, or positions.
    """
    cell = view.cell
    if cell["status"] != Status.OK.value or cell["positions"]:
        raise UsageError(
            f"Expected a finished cell without positions, found {cell['key'][:12]} ({cell['status']}). "
            "'bench show' lists the latest cells."
        )
    spec = cell["spec"]
    return Job(
        key=cell["key"],
        method=_reference(spec["method"]),
        task=with_discovery_kind(_reference(spec["task"]), spec.get(DISCOVERY_KIND, "")),
        model=model or spec["model"]["name"],
        dtype=spec["dtype"],
        granularity=Granularity(spec["granularity"]),
        ablation=Ablation(spec["ablation"]),
        metric=spec["metric"],
        seed=spec["seed"],
        effort=Effort(spec["n_discovery"], spec["n_evaluation"], spec["n_draws"], spec["n_sizes"]),
        discovery_hash=spec["discovery_hash"],
        evaluation_hash=spec["evaluation_hash"],
        force_incapable=True,
        private_commitment=spec.get("private_commitment", ""),
    )


def check_model(view: CellView, model: SubjectModel) -> None:
    """Refuses another model than that of the cell.

    Raises:
        UsageError: other weights.
    """
    expected, found = view.cell["spec"]["model"]["weights_hash"], model_record(model).weights_hash
    if expected != found:
        raise UsageError(
            f"Expected the model of cell {view.cell['key'][:12]} (weights {expected[:12]}), found other weights "
            f"({found[:12]}). Name the model with --model."
        )


def chosen_circuit(
    circuits: Circuits, faithful: Float[ndarray, " size"], sparsity: float | None, limit: float | None
) -> Bool[ndarray, " comp"]:
    """The circuit of a cell that is tested.

    With a `limit` the largest one of at most that size; else the one that `sparsity` names; where that is not reached
    the one whose faithfulness is nearest to 1, the smallest of equals.

    Args:
        circuits: evaluated circuits of the cell, by size.
        faithful: faithfulness of each.
        sparsity: stored score.
        limit: largest size, or None.

    Raises:
        UsageError: no circuit is that small.
    """
    if limit is not None:
        at = int(np.searchsorted(circuits.sizes, limit * (1 + ROUNDING), side="right")) - 1
        if at < 0:
            raise UsageError(
                f"Expected a size of at least {circuits.sizes[0]:.4g}, that of the smallest circuit, found {limit:.4g}."
            )
    elif sparsity is not None:
        at = int(np.abs(circuits.sizes - sparsity).argmin())
    else:
        at = int(bounded(faithful).argmax())
    return np.asarray(circuits.kept[at])


def same_size_circuit(circuits: Circuits, size: float) -> Bool[ndarray, " comp"]:
    """The largest evaluated circuit of at most a size; an empty one where all are larger."""
    at = int(np.searchsorted(circuits.sizes, size * (1 + ROUNDING), side="right")) - 1
    return np.asarray(circuits.kept[at]) if at >= 0 else np.zeros(circuits.kept.shape[1], dtype=np.bool_)


def with_space(scores: Scores, model: SubjectModel, granularity: Granularity) -> Scores:
    """Stored scores in the space of the loaded model, which knows the widths that the database does not."""
    return Scores.of(ComponentSpace(granularity, model.shape), scores.values)


def _reference(identity: Mapping[str, Any]) -> Reference:
    return Reference.parse(identity["name"] + option_text(identity["options"]))
