"""The local executor: one worker process per device, cells grouped by model, dead workers replaced."""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from arithloc.benchmark.api.errors import CellTimeout, RunError, WorkerDied
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.runner.choices import Choices, choices_from_json
from arithloc.benchmark.runner.executor import Listener
from arithloc.benchmark.runner.job import Job, SurveyRequest, job_to_json, reference_to_json, request_to_json
from arithloc.benchmark.runner.outcome import Failure, Outcome, result_from_json
from arithloc.benchmark.runner.process import WorkerProcess
from arithloc.benchmark.runner.refusals import error_from_json
from arithloc.benchmark.runner.survey import Refused, Survey, survey_from_json
from arithloc.benchmark.storage.records import Attempt, CellResult, Environment, Status
from arithloc.benchmark.storage.text import now

RETRIES_WHEN_KILLED = 2
KILL_AFTER = 5.0
"""Seconds between asking a group to end and ending it."""
TICK = 0.2
"""Longest wait for a message, in seconds: deaths, limits and interrupts are noticed within it."""


@dataclass(eq=False)
class _Slot:
    """One device: its worker and what that is doing."""

    device: str
    worker: WorkerProcess | None = None
    ready: bool = False
    environment: Environment | None = None
    job: Job | None = None
    model: str = ""
    started_at: str = ""
    deadline: float = float("inf")
    kill_at: float = float("inf")
    timed_out: bool = False


@dataclass
class LocalExecutor:
    """Runs each job in the worker of a device.

    Attributes:
        devices: one entry per worker: `auto`, `cpu`, `cuda:N`; an entry may repeat.
        folder: results folder; arrays travel through its `tmp`.
        threads: threads of each worker, 0 for the libraries' own choice.
        timeout: wall-clock limit of one job in seconds, counted from when its model and pairs are ready.
        grace: seconds that running jobs get after the first interrupt.
    """

    devices: Sequence[str]
    folder: Path
    threads: int = 0
    timeout: float = float("inf")
    grace: float = 10.0
    name: str = "local"
    _slots: list[_Slot] = field(init=False)
    _interrupts: int = field(default=0, init=False)
    _grace_ends: float = field(default=float("inf"), init=False)
    _attempts: dict[str, list[Attempt]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._slots = [_Slot(device) for device in self.devices]

    def start(self) -> None:
        """Starts the first worker, so that its imports overlap with what the parent still has to do."""
        self._start(self._slots[0])

    def choose(self, methods: Sequence[Reference], tasks: Sequence[Reference]) -> Choices:
        """Imports methods and tasks in the first worker; see `Executor.choose`."""
        question = {
            "do": "choose",
            "methods": [reference_to_json(reference) for reference in methods],
            "tasks": [reference_to_json(reference) for reference in tasks],
        }
        answer = self._ask(question, "the chosen methods and tasks")
        if answer["event"] == "refused":
            error = error_from_json(answer)
            error.add_note(self._output())  # shown with --debug
            raise error
        return choices_from_json(answer["choices"])

    def survey(self, requests: Sequence[SurveyRequest]) -> dict[str, Survey | Refused]:
        """Describes models and their data in the first worker; see `Executor.survey`."""
        found: dict[str, Survey | Refused] = {}
        for request in requests:
            answer = self._ask({"do": "survey", "request": request_to_json(request)}, request.model)
            self._slots[0].model = request.model
            if answer["event"] == "survey":
                found[request.model] = survey_from_json(answer["survey"])
                continue
            error = error_from_json(answer)
            if error.exit_code == 2 or isinstance(error, RunError):
                error.add_note(self._output())  # shown with --debug
                raise error
            found[request.model] = Refused(answer["error"], answer["message"])
        return found

    def run(self, jobs: Sequence[Job], listener: Listener) -> bool:
        """Runs the jobs; see `Executor.run`."""
        pending = list(jobs)
        self._attempts.clear()
        try:
            while pending or any(slot.job for slot in self._slots):
                if self._interrupts:
                    if self._stop_now():
                        return False
                else:
                    self._assign(pending, listener)
                self._turn(pending, listener)
        except BaseException:
            self.close()
            raise
        return True

    def interrupt(self) -> None:
        """See `Executor.interrupt`."""
        self._interrupts += 1
        if self._interrupts == 1:
            self._grace_ends = time.monotonic() + self.grace

    def close(self) -> None:
        """Ends all workers and everything they have started."""
        for slot in self._slots:
            if slot.worker is not None:
                slot.worker.kill()
                slot.worker = None

    def _stop_now(self) -> bool:
        running = any(slot.job for slot in self._slots)
        if running and self._interrupts == 1 and time.monotonic() < self._grace_ends:
            return False
        self.close()
        return True

    def _start(self, slot: _Slot) -> None:
        slot.worker = WorkerProcess(slot.device, self.threads)
        slot.ready, slot.model, slot.environment = False, "", None
        slot.worker.send(
            {"do": "hello", "device": slot.worker.inner_device, "folder": str((self.folder / "tmp").resolve())}
        )

    def _assign(self, pending: list[Job], listener: Listener) -> None:
        for slot in self._slots:
            if slot.job is not None or not pending:
                continue
            if slot.worker is None:
                self._start(slot)
            if not slot.ready:
                continue
            job = self._choose(slot, pending)
            pending.remove(job)
            slot.job, slot.model, slot.started_at = job, job.model, now()
            slot.deadline, slot.kill_at, slot.timed_out = float("inf"), float("inf"), False
            assert slot.worker is not None  # noqa: S101 (started above)
            slot.worker.take_output()
            slot.worker.send({"do": "run", "job": job_to_json(job)})
            listener.started(job, slot.device)

    def _choose(self, slot: _Slot, pending: Sequence[Job]) -> Job:
        """The next job of the loaded model, else of a model no other device works on, else the next one."""
        for job in pending:
            if job.model == slot.model:
                return job
        busy = {other.model for other in self._slots if other is not slot and other.job}
        return next((job for job in pending if job.model not in busy), pending[0])

    def _turn(self, pending: list[Job], listener: Listener) -> None:
        sources = [source for slot in self._slots if slot.worker for source in slot.worker.waitables()]
        wait(sources, TICK) if sources else time.sleep(TICK)
        for slot in self._slots:
            if slot.worker is None:
                continue
            slot.worker.drain()
            for message in slot.worker.receive():
                self._handle(slot, message, listener)
            self._check(slot, pending, listener)

    def _welcome(self, slot: _Slot, message: dict[str, Any]) -> None:
        slot.ready, slot.environment = True, Environment(**message["environment"])
        if slot.device == "auto":
            slot.device = message["device"]

    def _handle(self, slot: _Slot, message: dict[str, Any], listener: Listener) -> None:
        if message["event"] == "ready":
            self._welcome(slot, message)
        elif slot.job is None or slot.timed_out:
            return  # the last words of a job that has been given up
        elif message["event"] == "progress":
            if message["phase"] == "localize" and slot.deadline == float("inf"):
                slot.deadline = time.monotonic() + self.timeout
            listener.progress(slot.job, message["phase"], message["done"], message["total"])
        elif message["event"] == "result":
            result = result_from_json(message["result"], self.folder / "tmp")
            self._finish(slot, listener, self._attempt(slot, Status.OK), result)
        elif message["event"] == "failure":
            attempt = self._attempt(slot, Status.FAILED, Failure(message["error"], message["message"]))
            self._finish(slot, listener, attempt, trace=message["trace"])

    def _check(self, slot: _Slot, pending: list[Job], listener: Listener) -> None:
        """Notices a death and a passed limit."""
        worker = slot.worker
        if worker is None:
            return
        moment = time.monotonic()
        if worker.exit_code is None:
            if moment > slot.kill_at:
                worker.kill()
            elif slot.job is not None and moment > slot.deadline and not slot.timed_out:
                slot.timed_out, slot.kill_at = True, moment + KILL_AFTER
                worker.terminate()
            if worker.exit_code is None:
                return
        for message in [] if worker.connection.closed else worker.receive():
            self._handle(slot, message, listener)  # a result sent just before the end still counts
        code, was_ready = worker.exit_code, slot.ready
        worker.kill()
        log = worker.take_output()
        slot.worker = None
        if slot.job is None:
            if not was_ready:
                raise RunError(f"A worker could not start ({describe_exit(code)}): {last_line(log)}")
            return
        if slot.timed_out:
            failure = Failure(
                CellTimeout.__name__,
                f"Still running after {self.timeout:g} s. Raise --timeout, or make the method faster.",
            )
            self._finish(slot, listener, self._attempt(slot, Status.TIMEOUT, failure, code), log=log)
            return
        failure = Failure(
            WorkerDied.__name__,
            f"The worker process ended without a result ({describe_exit(code)}). {last_line(log)}".strip(),
        )
        attempt = self._attempt(slot, Status.KILLED, failure, code)
        if len(self._attempts.get(slot.job.key, [])) < RETRIES_WHEN_KILLED and not self._interrupts:
            self._attempts.setdefault(slot.job.key, []).append(attempt)
            pending.insert(0, slot.job)
            slot.job = None
        else:
            self._finish(slot, listener, attempt, log=log)

    def _attempt(self, slot: _Slot, status: Status, failure: Failure | None = None, code: int | None = None) -> Attempt:
        return Attempt(
            status=status,
            started_at=slot.started_at,
            finished_at=now(),
            device=slot.device,
            executor=self.name,
            error_type=failure.error_type if failure else "",
            error_message=failure.message if failure else "",
            exit_code=code,
        )

    def _finish(
        self,
        slot: _Slot,
        listener: Listener,
        attempt: Attempt,
        result: CellResult | None = None,
        log: str = "",
        trace: str = "",
    ) -> None:
        job = slot.job
        assert job is not None and slot.environment is not None  # noqa: S101 (a job runs in a worker that is ready)
        output = log or (slot.worker.take_output() if slot.worker else "")
        attempts = (*self._attempts.pop(job.key, []), attempt)
        slot.job, slot.deadline, slot.kill_at = None, float("inf"), float("inf")
        text = "\n".join(part for part in (output.rstrip(), trace.rstrip()) if part)
        listener.finished(job, Outcome(attempt.status, attempts, slot.environment, result, text))

    def _output(self) -> str:
        worker = self._slots[0].worker
        return worker.take_output() if worker else ""

    def _ask(self, message: dict[str, Any], what: str) -> dict[str, Any]:
        """Sends one question to the first worker and waits for its answer."""
        slot = self._slots[0]
        if slot.worker is None:
            self._start(slot)
        worker = slot.worker
        assert worker is not None  # noqa: S101 (started above)
        worker.send(message)
        while True:
            wait(worker.waitables(), TICK)
            worker.drain()
            for answer in worker.receive():
                if answer["event"] == "ready":
                    self._welcome(slot, answer)
                else:
                    return answer
            if worker.exit_code is not None:
                code = worker.exit_code
                worker.kill()
                slot.worker = None
                raise RunError(
                    f"The worker ended while it loaded {what!r} ({describe_exit(code)}): {last_line(worker.take_output())}"
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
