"""The worker: answers surveys and runs jobs, one message at a time, until its parent hangs up.

Started as `python -m arithloc.benchmark.runner.worker FD PARENT`; the parent's side is `process.WorkerProcess`.
"""

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from arithloc.benchmark.runner.choices import choices_to_json, choose
from arithloc.benchmark.runner.job import job_from_json, reference_from_json, request_from_json
from arithloc.benchmark.runner.outcome import Failure, result_to_json
from arithloc.benchmark.runner.private import PrivateSeed
from arithloc.benchmark.runner.refusals import error_to_json
from arithloc.benchmark.runner.survey import survey_to_json

_PR_SET_PDEATHSIG = 1
_REPORT_EVERY = 0.2
"""Seconds between two progress messages of one phase."""


def main(descriptor: int, parent: int) -> None:
    """Serves the parent on an inherited pipe."""
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    Server(Connection(descriptor)).serve()


def die_with_parent(parent: int) -> None:
    """Has the kernel end this process when its parent ends (Linux); elsewhere the closed pipe does."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it had ended before the request
        os._exit(1)


class Server:
    """Reads questions from the pipe and writes answers to it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reported: tuple[str, float] = ("", 0.0)

    def serve(self) -> None:
        """Answers until the parent closes the pipe."""
        try:
            self._open(self._receive())
            while True:
                message = self._receive()
                if message["do"] == "choose":
                    self._choose(message)
                elif message["do"] == "survey":
                    self._survey(message["request"])
                elif message["do"] == "run":
                    self._run(message["job"])
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return  # the parent has closed the pipe or is gone: nobody is left to work for

    def _open(self, hello: dict[str, Any]) -> None:
        from arithloc.benchmark.runner.provenance import environment
        from arithloc.benchmark.runner.workbench import Workbench

        self._folder = Path(hello["folder"])
        secret = hello.pop("private_seed")
        self._bench = Workbench(hello["device"], PrivateSeed.revealed(secret) if secret else None)
        self._send({"event": "ready", "device": self._bench.device, "environment": asdict(environment())})

    def _choose(self, question: dict[str, Any]) -> None:
        methods = [reference_from_json(value) for value in question["methods"]]
        tasks = [reference_from_json(value) for value in question["tasks"]]
        try:
            choices = choose(methods, tasks)
        except Exception as error:  # whatever a plugin raises is reported, and the worker lives on
            traceback.print_exc()
            self._send({"event": "refused", **error_to_json(error)})
        else:
            self._send({"event": "choices", "choices": choices_to_json(choices)})

    def _survey(self, request: dict[str, Any]) -> None:
        try:
            survey = self._bench.survey(request_from_json(request))
        except Exception as error:  # whatever a model or a task raises is reported, and the worker lives on
            traceback.print_exc()
            self._send({"event": "refused", **error_to_json(error)})
        else:
            self._send({"event": "survey", "survey": survey_to_json(survey)})

    def _run(self, job: dict[str, Any]) -> None:
        answer = self._bench.run(job_from_json(job), self._progress)
        if isinstance(answer, Failure):
            self._send(
                {"event": "failure", "error": answer.error_type, "message": answer.message, "trace": answer.trace}
            )
        else:
            self._send({"event": "result", "result": result_to_json(answer, self._folder)})

    def _progress(self, phase: str, done: int, total: int) -> None:
        moment = time.monotonic()
        last_phase, last_time = self._reported
        if phase == last_phase and moment - last_time < _REPORT_EVERY:
            return
        self._reported = (phase, moment)
        self._send({"event": "progress", "phase": phase, "done": int(done), "total": int(total)})

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv_bytes())
        return message

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.send_bytes(json.dumps(message).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
