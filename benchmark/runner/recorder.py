"""Stores outcomes as they come: the parent is the only writer."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from arithloc.benchmark.runner.executor import Listener
from arithloc.benchmark.runner.job import Job
from arithloc.benchmark.runner.outcome import Outcome
from arithloc.benchmark.runner.plan import PlannedCell
from arithloc.benchmark.storage.atomic import atomic_write
from arithloc.benchmark.storage.records import Status
from arithloc.benchmark.storage.repository import Repository


@dataclass
class Recorder:
    """A listener that stores each outcome before it tells the next listener.

    Attributes:
        repository: open for writing.
        cells: the planned cells.
        display: who shows the run.
        statuses: status of each cell of this run, by key.
    """

    repository: Repository
    cells: Iterable[PlannedCell]
    display: Listener
    statuses: dict[str, Status] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._specs = {cell.job.key: cell.spec for cell in self.cells}

    def started(self, job: Job, device: str) -> None:
        """See `Listener.started`."""
        self.display.started(job, device)

    def progress(self, job: Job, phase: str, done: int, total: int) -> None:
        """See `Listener.progress`."""
        self.display.progress(job, phase, done, total)

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Writes every attempt, each in one transaction, and the log of a cell that has no result."""
        spec = self._specs[job.key]
        for attempt in outcome.attempts[:-1]:
            self.repository.store(spec, attempt, None, outcome.environment)
        self.repository.store(spec, outcome.attempts[-1], outcome.result, outcome.environment)
        if outcome.status is not Status.OK and outcome.log:
            results = self.repository.location.results
            atomic_write(log_path(results, job.key), outcome.log.encode(errors="replace"), results / "tmp")
        self.statuses[job.key] = outcome.status
        self.display.finished(job, outcome)


def log_path(results: Path, key: str) -> Path:
    """Where the last output of a cell without result is kept."""
    return results / "logs" / f"{key}.log"
