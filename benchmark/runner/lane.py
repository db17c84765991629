"""One device of the local executor: its worker and what that is doing."""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arithloc.benchmark.runner.job import Job, job_to_json
from arithloc.benchmark.runner.outcome import Failure
from arithloc.benchmark.runner.private import PrivateSeed
from arithloc.benchmark.runner.process import WorkerProcess
from arithloc.benchmark.storage.records import Attempt, Environment, Status
from arithloc.benchmark.storage.text import now

NEVER = float("inf")


@dataclass(eq=False)
class Lane:
    """A device, its worker, and the job that the worker has.

    Attributes:
        device: as asked for; `auto` becomes what the worker chose.
        worker: None before the first start and after a death.
        ready: the worker has said so.
        environment: of the last worker that was ready.
        job: what it runs now.
        model: what it has loaded.
        started_at: when the job was given.
        deadline: moment at which the job is over its limit.
        kill_at: moment at which a worker that was asked to end is made to.
        timed_out: the job is over its limit.
        private_seed: that its worker may draw test pairs with.
    """

    device: str
    worker: WorkerProcess | None = None
    ready: bool = False
    environment: Environment | None = None
    job: Job | None = None
    model: str = ""
    started_at: str = ""
    deadline: float = NEVER
    kill_at: float = NEVER
    timed_out: bool = False
    private_seed: PrivateSeed | None = None

    def start(self, threads: int, folder: Path) -> WorkerProcess:
        """Starts a worker, unless there is one; its arrays go to `folder`."""
        if self.worker is None:
            self.worker = WorkerProcess(self.device, threads)
            self.ready, self.model = False, ""
            secret = self.private_seed.reveal() if self.private_seed else ""
            hello = {"do": "hello", "device": self.worker.inner_device, "folder": str(folder.resolve())}
            self.worker.send({**hello, "private_seed": secret})
        return self.worker

    def welcome(self, message: dict[str, Any]) -> None:
        """The worker is ready."""
        self.ready, self.environment = True, Environment(**message["environment"])
        if self.device == "auto":
            self.device = message["device"]

    def give(self, job: Job, worker: WorkerProcess) -> None:
        """Hands the worker a job."""
        self.job, self.model, self.started_at = job, job.model, now()
        self.deadline, self.kill_at, self.timed_out = NEVER, NEVER, False
        worker.take_output()  # what it printed before is not this job's
        worker.send({"do": "run", "job": job_to_json(job)})

    def attempt(
        self, status: Status, executor: str, failure: Failure | None = None, exit_code: int | None = None
    ) -> Attempt:
        """The current try at the job, ending now."""
        return Attempt(
            status=status,
            started_at=self.started_at,
            finished_at=now(),
            device=self.device,
            executor=executor,
            error_type=failure.error_type if failure else "",
            error_message=failure.message if failure else "",
            exit_code=exit_code,
        )


def describe_exit(code: int | None) -> str:
    """An exit code in words.

    Example:
    >>> describe_exit(-9)
    'signal SIGKILL, often the system running out of memory'
    """
    if code is None or code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name if -code in signal.valid_signals() else str(-code)
    return f"signal {name}" + (", often the system running out of memory" if name == "SIGKILL" else "")


def last_line(text: str) -> str:
    """The last line of an output that is not blank, cut at 300 characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "No output."
