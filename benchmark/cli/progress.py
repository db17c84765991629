"""Progress of a run on stderr: a bar with time left on a terminal, one line per finished cell elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from arithloc.benchmark.api import Progress as StepProgress
from arithloc.benchmark.runner.executor import Listener
from arithloc.benchmark.runner.job import Job
from arithloc.benchmark.runner.outcome import Outcome
from arithloc.benchmark.storage.records import Status

_PHASE_SHARE = {"load": (0.0, 0.05), "pairs": (0.05, 0.1), "localize": (0.1, 0.6), "score": (0.6, 1.0)}
"""Where in a cell each phase begins and ends, as a rough share of its time."""


@contextmanager
def display_for(console: Console, total: int) -> Iterator[Listener]:
    """The display that fits a console."""
    if not console.is_terminal:
        yield LineDisplay(console, total)
        return
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    with progress:
        yield BarDisplay(progress, total)


@contextmanager
def counting(what: str) -> Iterator[StepProgress]:
    """A bar on stderr for one long task whose steps are counted; silent where there is no terminal."""
    console = Console(stderr=True, highlight=False)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(what, total=None)

        def step(done: int, total: int) -> None:
            progress.update(bar, completed=done, total=total)

        yield step


@contextmanager
def phases(console: Console) -> Iterator[Callable[[str], StepProgress]]:
    """Steps of unknown number, each counted on its own: a bar on a terminal, a line for each elsewhere.

    What is yielded names the step that begins and gives its progress.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=None)

        def begin(what: str) -> StepProgress:
            progress.reset(bar, total=None, description=escape(what))
            if not console.is_terminal:
                console.print(what, markup=False, soft_wrap=True)

            def step(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=total)

            return step

        yield begin


class LineDisplay:
    """One line per finished cell."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._done = 0

    def started(self, job: Job, device: str) -> None:
        """Says nothing."""

    def progress(self, job: Job, phase: str, done: int, total: int) -> None:
        """Says nothing."""

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Prints the cell and how it ended."""
        self._done += 1
        self._console.print(f"[{self._done}/{self._total}] {summary(job, outcome)}", markup=False, soft_wrap=True)


class BarDisplay:
    """A bar over all cells, moved by the phases of the running ones."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._bar: TaskID = progress.add_task("starting", total=total)
        self._finished = 0
        self._shares: dict[str, float] = {}

    def started(self, job: Job, device: str) -> None:
        """Names the cell beside the bar."""
        self._shares[job.key] = 0.0
        self._progress.update(self._bar, description=escape(f"{job.method.label} {job.granularity} {job.model}"))

    def progress(self, job: Job, phase: str, done: int, total: int) -> None:
        """Moves the bar by a part of a cell."""
        begin, end = _PHASE_SHARE.get(phase, (0.0, 1.0))
        self._shares[job.key] = begin + (end - begin) * min(1.0, done / max(total, 1))
        self._update()

    def finished(self, job: Job, outcome: Outcome) -> None:
        """Moves the bar by a whole cell; a failure is printed above it."""
        self._shares.pop(job.key, None)
        self._finished += 1
        if outcome.status is not Status.OK:
            self._progress.console.print(summary(job, outcome), markup=False, soft_wrap=True)
        self._update()

    def _update(self) -> None:
        self._progress.update(self._bar, completed=self._finished + sum(self._shares.values()))


def summary(job: Job, outcome: Outcome) -> str:
    """How a cell ended, in one line."""
    if outcome.result is None:
        return f"{job.describe()}: {outcome.status}: {outcome.error_type}: {outcome.error_message}"
    costs = outcome.result.costs
    return f"{job.describe()}: ok ({costs['wall_localize_s'] + costs['wall_score_s']:.1f} s)"
