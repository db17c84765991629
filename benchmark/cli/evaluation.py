"""The work behind `bench evaluate`: plan, skip, run, store, print."""

import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from arithloc.benchmark.api.errors import BadOption, quoted
from arithloc.benchmark.cli.counts import stored_questions
from arithloc.benchmark.cli.document import run_document
from arithloc.benchmark.cli.guard import INTERRUPTED
from arithloc.benchmark.cli.progress import display_for
from arithloc.benchmark.cli.request import GridRequest
from arithloc.benchmark.cli.table import print_cells, print_plan, print_refusals
from arithloc.benchmark.runner.executor import Executor
from arithloc.benchmark.runner.job import SurveyRequest
from arithloc.benchmark.runner.local import LocalExecutor
from arithloc.benchmark.runner.plan import Grid, Plan, PlannedCell, make_plan
from arithloc.benchmark.runner.private import PrivateSeed
from arithloc.benchmark.runner.recorder import Recorder
from arithloc.benchmark.runner.suites import get_suite
from arithloc.benchmark.runner.truth import truth_document
from arithloc.benchmark.storage import DEFAULT_DB
from arithloc.benchmark.storage.boards import update_boards
from arithloc.benchmark.storage.keys import question_key
from arithloc.benchmark.storage.location import locate
from arithloc.benchmark.storage.queries import CellFilter, CellSummary
from arithloc.benchmark.storage.records import Status
from arithloc.benchmark.storage.repository import Repository
from arithloc.benchmark.storage.suites import SuiteRecord


@dataclass(frozen=True)
class Settings:
    """How a grid is run and where its results go.

    Attributes:
        database: SQLite file or SQLAlchemy URL.
        results: folder of tensors and logs, None for that of the database.
        devices: one worker for each.
        serial: run in this process instead.
        grace: seconds that running cells get after the first Ctrl-C.
        retry: statuses of stored cells that are run again.
        dry_run: print the cells and stop.
        as_json: print one document instead of the table.
        command: the arguments as given, for the hint at the end.
        private_seed: secret that private test pairs are drawn with, where there are some.
    """

    database: str
    results: Path | None
    devices: tuple[str, ...]
    serial: bool
    grace: float
    retry: frozenset[str]
    dry_run: bool
    as_json: bool
    command: Sequence[str]
    private_seed: PrivateSeed | None = None


def run(request: GridRequest, settings: Settings) -> int:
    """Runs a grid and prints its scores; returns the exit code."""
    out, notes = Console(highlight=False), Console(stderr=True, highlight=False)
    repository = open_repository(settings)
    executor = _executor(request, settings)
    finished = True
    try:
        plan = _plan(request, executor, notes)
        stored = {} if repository is None else repository.statuses([cell.job.key for cell in plan.cells])
        retry = settings.retry | ({Status.FAILED.value} if request.force_incapable else set())
        pending = [cell for cell in plan.cells if _is_due(stored.get(cell.job.key), retry)]
        print_refusals(plan.refusals, notes)
        if settings.dry_run:
            print_plan(plan.cells, stored, pending, out, as_json=settings.as_json)
            return 0
        assert repository is not None  # noqa: S101 (only a dry run goes without)
        skipped = len(plan.cells) - len(pending)
        if skipped:
            notes.print(
                f"{skipped} of {len(plan.cells)} cells are in {repository.location.shown} already.",
                markup=False,
                soft_wrap=True,
            )
        if pending:
            finished = _run_cells(pending, executor, repository, notes)
    finally:
        executor.close()
    _publish(request, plan, repository)
    rows = repository.cells(CellFilter(keys=[cell.job.key for cell in plan.cells]))
    if settings.as_json:
        out.print_json(data=run_document(rows, plan.refusals, repository.location.shown, interrupted=not finished))
    else:
        print_cells(rows, {cell.job.key: str(cell.job.task) for cell in plan.cells}, out)
        print_hints(rows, repository.location.shown, settings, out)
    repository.close()
    if not finished:
        notes.print(
            f"Interrupted: {len(rows)} of {len(plan.cells)} cells have results. The same command goes on from here."
        )
        return INTERRUPTED
    return 0 if all(row.status == Status.OK for row in rows) else 1


def open_repository(settings: Settings) -> Repository | None:
    """The database for writing; for a dry run for reading, None where it is not there yet."""
    if not settings.dry_run:
        return Repository.open(settings.database, settings.results)
    file = locate(settings.database, settings.results).file
    if file is not None and not file.exists():
        return None
    return Repository.open(settings.database, settings.results, read_only=True)


def expand_devices(devices: Sequence[str]) -> list[str]:
    """Checks device names; a comma separates several in one text.

    Raises:
        BadOption: none of `auto`, `cpu`, `mps`, `cuda`, `cuda:N`.

    Example:
    >>> expand_devices(["cuda:0,cuda:1", "cpu"])
    ['cuda:0', 'cuda:1', 'cpu']
    """
    names = [name.strip() for text in devices for name in text.split(",")]
    for name in names:
        kind, _, index = name.partition(":")
        if not (name in ("auto", "cpu", "mps", "cuda") or (kind == "cuda" and index.isdecimal())):
            raise BadOption(f"Expected --device auto, cpu, mps, cuda or cuda:N, found {quoted(name)}.")
    return names


def _executor(request: GridRequest, settings: Settings) -> Executor:
    devices = expand_devices(settings.devices)
    if settings.serial:
        from arithloc.benchmark.runner.serial import SerialExecutor

        return SerialExecutor(devices[0], settings.private_seed)
    folder = locate(settings.database, settings.results).results
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    executor = LocalExecutor(
        devices=devices,
        folder=folder,
        threads=max(1, cores // len(devices)),
        timeout=request.timeout,
        grace=settings.grace,
        private_seed=settings.private_seed,
    )
    executor.start()
    return executor


def _plan(request: GridRequest, executor: Executor, notes: Console) -> Plan:
    with notes.status("Looking at methods, models and tasks ...") if notes.is_terminal else _nothing():
        choices = executor.choose(request.methods, request.tasks)
        tasks = tuple(choice.reference for choice in choices.tasks)
        effort = request.effort
        surveys = executor.survey(
            [
                SurveyRequest(
                    model,
                    request.dtype,
                    tasks,
                    effort.n_discovery,
                    effort.n_evaluation,
                    request.private_commitment,
                )
                for model in request.models
            ]
        )
    grid = Grid(
        methods=choices.methods,
        tasks=choices.tasks,
        models=request.models,
        granularities=request.granularities,
        ablations=request.ablations,
        seeds=request.seeds,
        effort=effort,
        dtype=request.dtype,
        every_granularity=request.every_granularity,
        force_incapable=request.force_incapable,
        private_commitment=request.private_commitment,
    )
    return make_plan(grid, surveys)


def _publish(request: GridRequest, plan: Plan, repository: Repository) -> None:
    """Stores what pages show beside the cells: the questions of this run, the circuits of its toys, and the boards."""
    specs = [cell.spec for cell in plan.cells]
    toys = {cell.job.model: cell.spec.model for cell in plan.cells if cell.spec.model.is_toy}
    for name, record in toys.items():
        document = truth_document(name)
        if document is not None:
            repository.put_truth(record, document)
    if request.is_suite:
        suite = get_suite(request.suite)
        repository.put_suite(SuiteRecord(suite.name, suite.version, suite.summary), specs)
    else:
        known = stored_questions(repository)
        if any(question_key(spec) not in known for spec in specs):
            repository.put_suite(SuiteRecord("custom", "1", "Cells chosen on the command line."), specs)
    update_boards(repository)


def _is_due(status: Status | None, retry: frozenset[str]) -> bool:
    return status is None or status.value in retry


def _run_cells(pending: Sequence[PlannedCell], executor: Executor, repository: Repository, notes: Console) -> bool:
    with display_for(notes, len(pending)) as display, _interrupting(executor, notes):
        return executor.run([cell.job for cell in pending], Recorder(repository, pending, display))


@contextmanager
def _interrupting(executor: Executor, notes: Console) -> Iterator[None]:
    """Ctrl-C asks the executor to stop instead of raising in the middle of a write; SIGTERM does the same."""

    def ask(number: int, frame: FrameType | None) -> None:
        executor.interrupt()
        notes.print("Stopping: running cells get a moment to finish. Press Ctrl-C again to end them now.")

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def print_hints(rows: Sequence[CellSummary], database: str, settings: Settings, out: Console) -> None:
    """Prints where the results are, how to run failed cells again, and what to do next."""
    hints = [f"Results: {database}"]
    failed = [row for row in rows if row.status != Status.OK]
    program = Path(sys.argv[0]).name if sys.argv and not sys.argv[0].endswith(".py") else "bench"
    if failed:
        again = " --retry ".join(sorted({row.status for row in failed}))
        arguments = shlex.join(settings.command) if settings.command else "evaluate"
        hints.append(f"Failed:  {len(failed)} of {len(rows)} cells. Again: {program} {arguments} --retry {again}")
    db = "" if settings.database == DEFAULT_DB else f" --db {shlex.quote(settings.database)}"
    results = f" --results {shlex.quote(str(settings.results))}" if settings.results else ""
    hints.append(f"Next:    {program} leaderboard{db}{results}")
    for hint in hints:
        out.print(hint, markup=False, soft_wrap=True)
