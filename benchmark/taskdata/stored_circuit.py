"""The circuit of a stored cell, to be run on other data."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import select

from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity
from arithloc.benchmark.api.errors import BadOption, UsageError
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.metrics.prefixes import prefix_table, ranking_order
from arithloc.benchmark.metrics.size import complement
from arithloc.benchmark.metrics.sparsity import REACHED
from arithloc.benchmark.models import SubjectModel
from arithloc.benchmark.runner.choices import option_text
from arithloc.benchmark.runner.seeds import seed_of
from arithloc.benchmark.storage import schema
from arithloc.benchmark.storage.accuracy import CircuitRecord, Part
from arithloc.benchmark.storage.queries import CellView
from arithloc.benchmark.storage.records import Status
from arithloc.benchmark.storage.repository import Repository
from arithloc.benchmark.taskdata.circuit_lm import Circuit


@dataclass(frozen=True)
class CircuitChoice:
    """Which circuit was asked for.

    Attributes:
        view: the cell.
        part: whether it is kept or removed.
        n_components: at most this many components; None for the smallest circuit that is shown to recover 90%.
    """

    view: CellView
    part: Part
    n_components: int | None

    @property
    def task(self) -> Reference:
        """The cell's task with its options."""
        return Reference.parse(self.view.task["name"] + option_text(self.view.task["options"]))

    @property
    def model(self) -> str:
        """Name of the cell's model."""
        return str(self.view.model["name"])

    @property
    def dtype(self) -> str:
        """Floating-point type of the cell."""
        return str(self.view.cell["dtype"])

    @property
    def n_discovery(self) -> int:
        """Discovery pairs of the cell."""
        return int(self.view.cell["n_discovery"])


def find_cell(repository: Repository, key: str, part: Part, n_components: int | None) -> CircuitChoice:
    """The cell whose key starts with `key`.

    Raises:
        UsageError: no such cell, or it has no circuit.
    """
    view = repository.show(key.lower())
    if view.cell["status"] != Status.OK:
        raise UsageError(f"Expected a cell with a result, found {key!r}: {view.cell['status']}. Choose another cell.")
    return CircuitChoice(view, part, n_components)


def stored_circuit(repository: Repository, choice: CircuitChoice, model: SubjectModel) -> tuple[Circuit, CircuitRecord]:
    """Builds the circuit for a loaded model.

    Raises:
        UsageError: the model is not the one that the cell was measured on, or the cell has no such circuit.
        ArtifactMissing: the file of its scores is gone.
    """
    cell: Any = choice.view.cell
    if model.identity.weights_hash != choice.view.model["weights_hash"]:
        raise UsageError(
            f"Expected the model of cell {cell['key'][:12]}, {choice.model}, found other weights in {model.name}. "
            "Circuits belong to one model."
        )
    values = repository.localization(cell["localization_key"])
    if values is None:
        raise UsageError(f"The cell {cell['key'][:12]} has no component scores. Choose another cell.")
    space = ComponentSpace(Granularity(cell["granularity"]), model.shape, tuple(cell["positions"]))
    table = prefix_table(space, ranking_order(values, signed=False, seed=seed_of(cell["key"], "ties")))
    wanted = _smallest(repository, cell["key"]) if choice.n_components is None else choice.n_components
    end = int(np.searchsorted(table.n_components, wanted, side="right")) - 1
    end = int(np.searchsorted(table.n_components, table.n_components[end], side="left"))
    if table.n_components[end] == 0:
        least = int(table.n_components[table.n_components > 0][0])
        raise BadOption(f"Expected --components {least} or more for this cell, found {wanted}: less has no circuit.")
    circuits = table.circuits(np.array([end]))
    kept = circuits.kept[0]
    record = CircuitRecord(cell["key"], choice.part, int(circuits.n_components[0]), float(circuits.sizes[0]))
    shown = kept if choice.part is Part.KEPT else complement(space, kept)
    return Circuit(space, shown, Ablation(cell["ablation"])), record


def _smallest(repository: Repository, key: str) -> int:
    """Components of the smallest circuit of the cell's curve whose recovery is at least 90% by its lower bound."""
    point = schema.curve_point.c
    query = (
        select(point.n_components)
        .where(point.key == key, point.curve == "kept", point.f_low >= REACHED)
        .order_by(point.n_components)
        .limit(1)
    )
    with repository.reading() as connection:
        found = connection.scalar(query)
    if found is None:
        raise BadOption(
            f"No circuit of the cell {key[:12]} is shown to recover {REACHED:.0%} of the behaviour. "
            "Choose a number of components: --components N."
        )
    return int(found)
