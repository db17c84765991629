"""One worker process seen from the parent: start, messages, bounded output, death, and the end of its whole group."""

import json
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe
from typing import Any

from arithloc.benchmark.runner.private import VARIABLE

OUTPUT_LIMIT = 256 * 1024
"""Bytes of a worker's output that are kept, the last ones."""


class WorkerProcess:
    """A worker in its own process group, with a message pipe and its output captured.

    Start it from the main thread: on Linux a worker is killed when the thread that started it ends, so that no orphan
    can hold a device.

    Args:
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: threads of its numerical libraries, 0 for their own choice.
    """

    def __init__(self, device: str, threads: int) -> None:
        ours, theirs = Pipe(duplex=True)
        environment, self.inner_device = worker_environment(device, threads, dict(os.environ))
        self.device = device
        self.connection: Connection = ours
        self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable, "-m", "arithloc.benchmark.runner.worker", str(theirs.fileno()), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs.fileno(),),
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        assert self._process.stdout is not None  # noqa: S101 (PIPE was asked for)
        self._output = self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._output_open = True
        self._tail = bytearray()

    @property
    def pid(self) -> int:
        """Process id, also the id of its group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, negative for a signal, None while alive."""
        return self._process.poll()

    def waitables(self) -> list[Any]:
        """What `multiprocessing.connection.wait` can wait on."""
        sources: list[Any] = []
        if not self.connection.closed:
            sources.append(self.connection)
        if self._output_open:
            sources.append(self._output)
        return sources

    def send(self, message: dict[str, Any]) -> bool:
        """Sends a message; False if the worker is gone."""
        try:
            self.connection.send_bytes(json.dumps(message).encode())
        except OSError:
            return False
        return True

    def receive(self) -> list[dict[str, Any]]:
        """All messages that have arrived; never waits for one."""
        messages: list[dict[str, Any]] = []
        while not self.connection.closed:
            try:
                if not self.connection.poll():
                    break
                messages.append(json.loads(self.connection.recv_bytes()))
            except (OSError, EOFError):
                self.connection.close()
        return messages

    def drain(self) -> None:
        """Takes the output that has arrived and keeps its tail."""
        for _ in range(64):  # at most 4 MB a turn, so that a flood cannot starve the messages
            try:
                chunk = os.read(self._output.fileno(), 65536) if self._output_open else b""
            except BlockingIOError:
                return
            if not chunk:
                self._output_open = False
                return
            self._tail += chunk
            del self._tail[:-OUTPUT_LIMIT]

    def take_output(self) -> str:
        """The kept output since the last call."""
        self.drain()
        text = self._tail.decode(errors="replace")
        self._tail.clear()
        return text

    def terminate(self) -> None:
        """Asks the whole group to end."""
        self._signal_group(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the whole group and waits for the worker itself."""
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        self.drain()
        self.connection.close()
        self._output_open = False
        self._output.close()

    def _signal_group(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            return  # nobody left in the group (macOS says EPERM for a group of zombies)


def worker_environment(device: str, threads: int, inherited: dict[str, str]) -> tuple[dict[str, str], str]:
    """Environment of a worker, and its device as seen from inside.

    One card is made visible before anything is imported, so a plugin cannot take another one by accident. The secret
    seed of a private split is left out.

    Example:
    >>> environment, inside = worker_environment("cuda:1", 0, {"CUDA_VISIBLE_DEVICES": "4,5"})
    >>> environment["CUDA_VISIBLE_DEVICES"], inside
    ('5', 'cuda:0')
    """
    environment = {name: value for name, value in inherited.items() if name != VARIABLE}  # methods run there
    inside = device
    if device.startswith("cuda:"):
        index = int(device.removeprefix("cuda:"))
        visible = [part for part in inherited.get("CUDA_VISIBLE_DEVICES", "").split(",") if part]
        environment["CUDA_VISIBLE_DEVICES"] = visible[index] if index < len(visible) else str(index)
        inside = "cuda:0"
    elif device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    if threads and "OMP_NUM_THREADS" not in inherited:
        environment["OMP_NUM_THREADS"] = str(threads)
    environment.setdefault("TOKENIZERS_PARALLELISM", "false")
    return environment, inside
