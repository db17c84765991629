"""What an executor is: something that surveys models and runs jobs, one outcome per job."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.runner.choices import Choices
from arithloc.benchmark.runner.job import Job, SurveyRequest
from arithloc.benchmark.runner.outcome import Outcome
from arithloc.benchmark.runner.survey import Refused, Survey


@runtime_checkable
class Listener(Protocol):
    """Who is told how the jobs go. Called from the thread that called `run`."""

    def started(self, job: Job, device: str) -> None:
        """A worker has taken the job."""
        ...

    def progress(self, job: Job, phase: str, done: int, total: int) -> None:
        """The job is in `phase`, `done` of `total` steps."""
        ...

    def finished(self, job: Job, outcome: Outcome) -> None:
        """The job is done, failed, timed out or lost its worker for good. Its result is stored here."""
        ...


@runtime_checkable
class Executor(Protocol):
    """Runs jobs somewhere. A failing job never raises; a machine that cannot run any job does (`RunError`)."""

    name: str

    def choose(self, methods: Sequence[Reference], tasks: Sequence[Reference]) -> Choices:
        """Imports methods and tasks and reads their identities.

        Raises:
            UsageError: one of them cannot be used as given.
        """
        ...

    def survey(self, requests: Sequence[SurveyRequest]) -> dict[str, Survey | Refused]:
        """Describes models and their data, by model reference.

        Raises:
            ArithlocError: an error that is the user's to mend, such as an unknown model.
        """
        ...

    def run(self, jobs: Sequence[Job], listener: Listener) -> bool:
        """Runs the jobs; False if it was interrupted before all of them were done."""
        ...

    def interrupt(self) -> None:
        """First call: start nothing new and give running jobs a grace. Second call: end them now."""
        ...

    def close(self) -> None:
        """Ends all workers."""
        ...
