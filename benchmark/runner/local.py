"""The local executor: one worker process per device, cells grouped by model, dead workers replaced."""

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
from arithloc.benchmark.runner.job import Job, SurveyRequest, reference_to_json, request_to_json
from arithloc.benchmark.runner.lane import NEVER, Lane, describe_exit, last_line
from arithloc.benchmark.runner.outcome import Failure, Outcome, result_from_json
from arithloc.benchmark.runner.private import PrivateSeed
from arithloc.benchmark.runner.refusals import error_from_json
from arithloc.benchmark.runner.survey import Refused, Survey, survey_from_json
from arithloc.benchmark.storage.records import Attempt, CellResult, Status

RETRIES_WHEN_KILLED = 2
KILL_AFTER = 5.0
"""Seconds between asking a group to end and ending it."""
TICK = 0.2
"""Longest wait for a message, in seconds: deaths, limits and interrupts are noticed within it."""


@dataclass
class LocalExecutor:
    """Runs each job in the worker of a device.

    Attributes:
        devices: one entry per worker: `auto`, `cpu`, `cuda:N`; an entry may repeat.
        folder: results folder; arrays travel through its `tmp`.
        threads: threads of each worker, 0 for the libraries' own choice.
        timeout: wall-clock limit of one job in seconds, counted from when its model and pairs are ready.
        grace: seconds that running jobs get after the first interrupt.
        private_seed: secret that private test pairs are drawn with, where there are some.
    """

    devices: Sequence[str]
    folder: Path
    threads: int = 0
    timeout: float = NEVER
    grace: float = 10.0
    private_seed: PrivateSeed | None = None
    name: str = "local"
    _lanes: list[Lane] = field(init=False)
    _interrupts: int = field(default=0, init=False)
    _grace_ends: float = field(default=NEVER, init=False)
    _attempts: dict[str, list[Attempt]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._lanes = [Lane(device, private_seed=self.private_seed) for device in self.devices]

    def start(self) -> None:
        """Starts the first worker, so that its imports overlap with what the parent still has to do."""
        self._lanes[0].start(self.threads, self.folder / "tmp")

    def choose(self, methods: Sequence[Reference], tasks: Sequence[Reference]) -> Choices:
        """Imports methods and tasks in the first worker; see `Executor.choose`."""
        question = {
            "do": "choose",
            "methods": [reference_to_json(reference) for reference in methods],
            "tasks": [reference_to_json(reference) for reference in tasks],
        }
        answer = self._ask(question, "the chosen methods and tasks", self.timeout)
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
            self._lanes[0].model = request.model
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
            while pending or any(lane.job for lane in self._lanes):
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
        for lane in self._lanes:
            if lane.worker is not None:
                lane.worker.kill()
                lane.worker = None

    def _stop_now(self) -> bool:
        running = any(lane.job for lane in self._lanes)
        if running and self._interrupts == 1 and time.monotonic() < self._grace_ends:
            return False
        self.close()
        return True

    def _assign(self, pending: list[Job], listener: Listener) -> None:
        for lane in self._lanes:
            if lane.job is not None or not pending:
                continue
            worker = lane.start(self.threads, self.folder / "tmp")
            if not lane.ready:
                continue
            job = self._choose(lane, pending)
            pending.remove(job)
            lane.give(job, worker)
            listener.started(job, lane.device)

    def _choose(self, lane: Lane, pending: Sequence[Job]) -> Job:
        """The next job of the loaded model, else of a model no other device works on, else the next one."""
        for job in pending:
            if job.model == lane.model:
                return job
        busy = {other.model for other in self._lanes if other is not lane and other.job}
        return next((job for job in pending if job.model not in busy), pending[0])

    def _turn(self, pending: list[Job], listener: Listener) -> None:
        sources = [source for lane in self._lanes if lane.worker for source in lane.worker.waitables()]
        wait(sources, TICK) if sources else time.sleep(TICK)
        for lane in self._lanes:
            if lane.worker is None:
                continue
            lane.worker.drain()
            for message in lane.worker.receive():
                self._handle(lane, message, listener)
            self._check(lane, pending, listener)

    def _handle(self, lane: Lane, message: dict[str, Any], listener: Listener) -> None:
        if message["event"] == "ready":
            lane.welcome(message)
        elif lane.job is None or lane.timed_out:
            return  # the last words of a job that has been given up
        elif message["event"] == "progress":
            if message["phase"] == "localize" and lane.deadline == NEVER:
                lane.deadline = time.monotonic() + self.timeout
            listener.progress(lane.job, message["phase"], message["done"], message["total"])
        elif message["event"] == "result":
            result = result_from_json(message["result"], self.folder / "tmp")
            self._finish(lane, listener, lane.attempt(Status.OK, self.name), result)
        elif message["event"] == "failure":
            attempt = lane.attempt(Status.FAILED, self.name, Failure(message["error"], message["message"]))
            self._finish(lane, listener, attempt, trace=message["trace"])

    def _check(self, lane: Lane, pending: list[Job], listener: Listener) -> None:
        """Notices a death and a passed limit."""
        worker = lane.worker
        if worker is None:
            return
        moment = time.monotonic()
        if worker.exit_code is None:
            if moment > lane.kill_at:
                worker.kill()
            elif lane.job is not None and moment > lane.deadline and not lane.timed_out:
                lane.timed_out, lane.kill_at = True, moment + KILL_AFTER
                worker.terminate()
            if worker.exit_code is None:
                return
        for message in [] if worker.connection.closed else worker.receive():
            self._handle(lane, message, listener)  # a result sent just before the end still counts
        code, was_ready = worker.exit_code, lane.ready
        worker.kill()
        log = worker.take_output()
        lane.worker = None
        if lane.job is None:
            if not was_ready:
                raise RunError(f"A worker could not start ({describe_exit(code)}): {last_line(log)}")
            return
        if lane.timed_out:
            failure = Failure(
                CellTimeout.__name__,
                f"Still running after {self.timeout:g} s. Raise --timeout, or make the method faster.",
            )
            self._finish(lane, listener, lane.attempt(Status.TIMEOUT, self.name, failure, code), log=log)
            return
        failure = Failure(
            WorkerDied.__name__,
            f"The worker process ended without a result ({describe_exit(code)}). {last_line(log)}".strip(),
        )
        attempt = lane.attempt(Status.KILLED, self.name, failure, code)
        if len(self._attempts.get(lane.job.key, [])) < RETRIES_WHEN_KILLED and not self._interrupts:
            self._attempts.setdefault(lane.job.key, []).append(attempt)
            pending.insert(0, lane.job)
            lane.job = None
        else:
            self._finish(lane, listener, attempt, log=log)

    def _finish(
        self,
        lane: Lane,
        listener: Listener,
        attempt: Attempt,
        result: CellResult | None = None,
        log: str = "",
        trace: str = "",
    ) -> None:
        job = lane.job
        assert job is not None and lane.environment is not None  # noqa: S101 (a job runs in a worker that is ready)
        output = log or (lane.worker.take_output() if lane.worker else "")
        attempts = (*self._attempts.pop(job.key, []), attempt)
        lane.job, lane.deadline, lane.kill_at = None, NEVER, NEVER
        text = "\n".join(part for part in (output.rstrip(), trace.rstrip()) if part)
        listener.finished(job, Outcome(attempt.status, attempts, lane.environment, result, text))

    def _output(self) -> str:
        worker = self._lanes[0].worker
        return worker.take_output() if worker else ""

    def _ask(self, message: dict[str, Any], what: str, limit: float = NEVER) -> dict[str, Any]:
        """Sends one question to the first worker and waits for its answer, for `limit` seconds at most."""
        lane = self._lanes[0]
        worker = lane.start(self.threads, self.folder / "tmp")
        worker.send(message)
        ends = time.monotonic() + limit
        while True:
            wait(worker.waitables(), TICK)
            worker.drain()
            for answer in worker.receive():
                if answer["event"] == "ready":
                    lane.welcome(answer)
                else:
                    return answer
            if worker.exit_code is not None:
                code = worker.exit_code
                worker.kill()
                lane.worker = None
                raise RunError(
                    f"The worker ended while it loaded {what!r} ({describe_exit(code)}): {last_line(worker.take_output())}"
                )
            if time.monotonic() > ends:
                self.close()
                raise RunError(
                    f"Still importing {what} after {limit:g} s. Raise --timeout, or look at what a plugin does when it is imported."
                )
