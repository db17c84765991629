"""The serial executor: everything in this process, for tests and debugging. No limits, no protection from crashes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from arithloc.benchmark.api.errors import ArithlocError
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.runner.choices import Choices, choose
from arithloc.benchmark.runner.executor import Listener
from arithloc.benchmark.runner.job import Job, SurveyRequest
from arithloc.benchmark.runner.outcome import Failure, Outcome
from arithloc.benchmark.runner.private import PrivateSeed
from arithloc.benchmark.runner.provenance import environment
from arithloc.benchmark.runner.survey import Refused, Survey
from arithloc.benchmark.runner.workbench import Workbench
from arithloc.benchmark.storage.records import Attempt, Status
from arithloc.benchmark.storage.text import now


@dataclass
class SerialExecutor:
    """Runs jobs one after the other on one device of this process.

    Attributes:
        device: `auto`, or a torch device.
        private_seed: secret that private test pairs are drawn with, where there are some.
    """

    device: str = "cpu"
    private_seed: PrivateSeed | None = None
    name: str = "serial"
    _interrupted: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._bench = Workbench(self.device, self.private_seed)

    def choose(self, methods: Sequence[Reference], tasks: Sequence[Reference]) -> Choices:
        """Imports methods and tasks; see `Executor.choose`."""
        return choose(methods, tasks)

    def survey(self, requests: Sequence[SurveyRequest]) -> dict[str, Survey | Refused]:
        """Describes models and their data; see `Executor.survey`."""
        found: dict[str, Survey | Refused] = {}
        for request in requests:
            try:
                found[request.model] = self._bench.survey(request)
            except ArithlocError as error:
                if error.exit_code == 2:
                    raise
                found[request.model] = Refused(type(error).__name__, str(error))
        return found

    def run(self, jobs: Sequence[Job], listener: Listener) -> bool:
        """Runs the jobs; see `Executor.run`. An interrupt counts after the running job."""
        place = environment()
        for job in jobs:
            if self._interrupted:
                return False
            started_at = now()
            listener.started(job, self._bench.device)

            def phase(name: str, done: int, total: int, job: Job = job) -> None:
                listener.progress(job, name, done, total)

            answer = self._bench.run(job, phase)
            failed = answer if isinstance(answer, Failure) else None
            attempt = Attempt(
                status=Status.FAILED if failed else Status.OK,
                started_at=started_at,
                finished_at=now(),
                device=self._bench.device,
                executor=self.name,
                error_type=failed.error_type if failed else "",
                error_message=failed.message if failed else "",
            )
            result = None if isinstance(answer, Failure) else answer
            log = failed.trace if failed else ""
            listener.finished(job, Outcome(attempt.status, (attempt,), place, result, log))
        return True

    def interrupt(self) -> None:
        """See `Executor.interrupt`; nothing can be ended in the middle here."""
        self._interrupted = True

    def close(self) -> None:
        """Nothing to end."""
