"""The work behind `bench accuracy`: draw, measure, store, print."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from arithloc.benchmark.api import Split
from arithloc.benchmark.api.errors import (
    BadOption,
    ModelError,
    PlanError,
    PrerequisiteError,
    TaskError,
    UnusableDatabase,
)
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.registry import tasks
from arithloc.benchmark.cli.accuracy_report import into, line, markdown, print_accuracies, stored_document
from arithloc.benchmark.cli.evaluation import expand_devices
from arithloc.benchmark.cli.progress import counting
from arithloc.benchmark.cli.table import print_refusals
from arithloc.benchmark.cli.tasks import secret_seed
from arithloc.benchmark.models import SubjectModel, load
from arithloc.benchmark.runner.choices import check_names
from arithloc.benchmark.runner.plan import Refusal
from arithloc.benchmark.runner.private import PrivateSeed
from arithloc.benchmark.storage.accuracy import Part, accuracies, put_accuracy
from arithloc.benchmark.storage.atomic import atomic_write
from arithloc.benchmark.storage.repository import Repository
from arithloc.benchmark.taskdata.documents import DOCUMENTS
from arithloc.benchmark.taskdata.drawing import Draw, draw, draw_private


@dataclass(frozen=True)
class Asked:
    """What was asked for on the command line; an empty field stands for the default.

    Attributes:
        models, tasks: references.
        limit: pairs of each task.
        split, seed: what is drawn.
        private, private_seed_file: draw with a secret seed instead.
        circuit, components, remove: which circuit of which cell.
        device, dtype: where and how the models run.
        database, results: where the measurements go.
        page: Markdown file to write.
        as_json: print one document instead of the table.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    limit: int | None
    split: Split
    seed: int
    private: bool
    private_seed_file: Path | None
    circuit: str
    components: int | None
    remove: bool
    device: str
    dtype: str
    database: str
    results: Path | None
    page: Path | None
    as_json: bool


def run(asked: Asked) -> int:
    """Measures every task on every model and prints the table; returns the exit code."""
    out, notes = Console(highlight=False), Console(stderr=True, highlight=False)
    references = tuple(map(Reference.parse, asked.tasks))
    check_names([], references)
    secret = secret_seed(asked.private_seed_file, notes) if asked.private else None
    with Repository.open(asked.database, asked.results) as repository:
        measuring = _Measuring(asked, repository, secret, notes)
        measuring.run(references)
        print_refusals(measuring.refusals, notes)
        if not measuring.ids:
            reasons = " ".join(f"{refusal.what}: {refusal.reason}" for refusal in measuring.refusals[:3])
            raise PlanError(f"None of the chosen combinations can be measured. {reasons}")
        _show(repository, asked, out, notes, measuring.ids)
    return 0


def show_stored(asked: Asked) -> int:
    """Prints what is in the database, restricted to models and tasks where some are named."""
    out, notes = Console(highlight=False), Console(stderr=True, highlight=False)
    with Repository.open(asked.database, asked.results, read_only=True) as repository:
        _show(repository, asked, out, notes, None)
    return 0


def loaded(model: str, device: str, dtype: str) -> SubjectModel:
    """A model on the device that was named; `auto` is an accelerator where there is one."""
    names = expand_devices([device])
    if len(names) > 1:
        raise BadOption(f"Expected one --device, found {device!r}.")
    if names[0] == "auto":
        import torch

        return load(model, device="cuda" if torch.cuda.is_available() else "cpu", dtype=dtype)
    return load(model, device=names[0], dtype=dtype)


def _show(repository: Repository, asked: Asked, out: Console, notes: Console, ids: list[str] | None) -> None:
    with repository.reading() as connection:
        rows = accuracies(connection, ids)
        everything = accuracies(connection) if asked.page else []
    if ids is None:
        names = {Reference.parse(task).name for task in asked.tasks}
        rows = [r for r in rows if (not asked.models or r.model in asked.models) and (not names or r.task in names)]
        if not rows:
            raise UnusableDatabase(
                f"The results database {repository.location.shown} has no such accuracies. "
                "Measure some: bench accuracy --model MODEL."
            )
    if asked.page is not None:
        before = asked.page.read_text(encoding="utf-8") if asked.page.is_file() else ""
        atomic_write(asked.page, into(before, markdown(everything)).encode(), asked.page.parent)
        notes.print(f"Written: {asked.page}", markup=False, soft_wrap=True)
    if asked.as_json:
        out.print_json(data=stored_document(rows, repository.location.shown))
    else:
        print_accuracies(rows, out)
        out.print(f"Results: {repository.location.shown}", markup=False, soft_wrap=True)


class _Measuring:
    """One run: what was measured, and what could not be."""

    def __init__(self, asked: Asked, repository: Repository, secret: PrivateSeed | None, notes: Console) -> None:
        # lm-eval and what it needs are looked for here, after wrong usage has been refused
        from arithloc.benchmark.taskdata import harness, stored_circuit

        self._harness: Any = harness
        self._circuits: Any = stored_circuit
        self._asked, self._repository, self._secret, self._notes = asked, repository, secret, notes
        part = Part.REMOVED if asked.remove else Part.KEPT
        find = stored_circuit.find_cell
        self._cell = find(repository, asked.circuit, part, asked.components) if asked.circuit else None
        self.ids: list[str] = []
        self.refusals: list[Refusal] = []

    def run(self, references: tuple[Reference, ...]) -> None:
        """Measures every combination; what cannot be measured is listed."""
        models = self._asked.models or ((self._cell.model,) if self._cell else ())
        for name in models:
            try:
                model = loaded(name, self._asked.device, self._dtype)
            except (ModelError, PrerequisiteError) as error:
                self.refusals.append(Refusal(name, str(error)))
                continue
            for reference in references or self._all_tasks():
                self._one(model, name, reference)

    @property
    def _dtype(self) -> str:
        return self._asked.dtype or (self._cell.dtype if self._cell else "float32")

    def _all_tasks(self) -> Iterator[Reference]:
        if self._cell is not None:
            yield self._cell.task
            return
        for name in tasks.names():
            yield Reference(name)

    def _one(self, model: SubjectModel, name: str, reference: Reference) -> None:
        try:
            drawn = self._drawn(model, reference)
            setup = self._setup(model, reference)
            with counting(f"{reference} on {name}") as progress:
                record = self._harness.measure(model, self._dtype, drawn, setup, progress)
        except TaskError as error:
            self.refusals.append(Refusal(f"{reference} on {name}", str(error)))
            return
        from arithloc.benchmark.runner.provenance import environment

        with self._repository.writing() as connection:
            self.ids.append(put_accuracy(connection, record, environment()))
        self._notes.print(line(record, str(reference)), markup=False, soft_wrap=True)

    def _drawn(self, model: SubjectModel, reference: Reference) -> Draw:
        asked, n = self._asked, self._asked.limit or DOCUMENTS
        if self._secret is not None:
            return draw_private(reference, model.tokenizer, model.identity.tokenizer_hash, n, self._secret)
        return draw(reference, model.tokenizer, asked.split, n, asked.seed)

    def _setup(self, model: SubjectModel, reference: Reference) -> Any:
        if self._cell is None:
            return None
        circuit, record = self._circuits.stored_circuit(self._repository, self._cell, model)
        reference_pairs = draw(reference, model.tokenizer, Split.DISCOVERY, self._cell.n_discovery).pairs
        return self._harness.Setup(circuit, record, reference_pairs)
