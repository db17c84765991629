"""The local executor: equal to the serial one, and unharmed by methods that hang, die, flood or exit."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from arithloc.benchmark.api import Ablation, Granularity
from arithloc.benchmark.api.errors import RunError, UnknownName
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.registry import model_sources
from arithloc.benchmark.runner.job import Effort, SurveyRequest
from arithloc.benchmark.runner.local import LocalExecutor
from arithloc.benchmark.runner.plan import Grid, make_plan
from arithloc.benchmark.runner.process import WorkerProcess
from arithloc.benchmark.runner.serial import SerialExecutor
from arithloc.benchmark.storage.records import Status

PLUGINS = Path(__file__).parents[1] / "support" / "evaluate_plugins.py"
TOY = Reference("toy-arith")


def plugin(name, **options):
    return Reference(f"{PLUGINS}:{name}", tuple(sorted((key, str(value)) for key, value in options.items())))


@dataclass
class Listener:
    outcomes: dict = field(default_factory=dict)
    order: list = field(default_factory=list)
    phases: list = field(default_factory=list)
    on_start: object = None

    def started(self, job, device):
        self.order.append((job.method.name.rpartition(":")[2], device))
        if self.on_start:
            self.on_start(job)

    def progress(self, job, phase, done, total):
        self.phases.append(phase)

    def finished(self, job, outcome):
        self.outcomes[job.method.name.rpartition(":")[2]] = outcome


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return str(model_sources()["toy-a-base-1"].folder(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def local(tmp_path):
    executors = []

    def make(devices=("cpu",), **settings):
        executors.append(LocalExecutor(devices, tmp_path, threads=1, **settings))
        return executors[-1]

    yield make
    for executor in executors:
        executor.close()


def jobs(executor, model, *methods):
    choices = executor.choose(methods, [TOY])
    surveys = executor.survey([SurveyRequest(model, "float64", (TOY,), 4, 4)])
    grid = Grid(
        methods=choices.methods,
        tasks=choices.tasks,
        models=(model,),
        granularities=(Granularity.LAYER,),
        ablations=(Ablation.COUNTERFACTUAL,),
        seeds=(0,),
        effort=Effort(4, 4, 20, 4),
        dtype="float64",
    )
    return [cell.job for cell in make_plan(grid, surveys).cells]


def close(mine, theirs):
    """Both missing, or equal up to the rounding of float64 sums."""
    return mine is theirs is None or mine == pytest.approx(theirs, rel=1e-9, abs=1e-9)


def alive(pid):
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "gave up waiting"
        time.sleep(0.02)


@pytest.fixture
def one_thread():
    """As many threads as the workers have: sums over more threads differ in the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_results_equal_those_of_the_serial_executor(local, toy, one_thread):
    methods = [plugin("Noise"), plugin("Steady"), plugin("Raises")]
    here, there = Listener(), Listener()
    serial = SerialExecutor("cpu")
    assert serial.run(jobs(serial, toy, *methods), here)
    executor = local()
    executor.start()
    assert executor.run(jobs(executor, toy, *methods), there)
    assert here.outcomes.keys() == there.outcomes.keys() == {"Noise", "Steady", "Raises"}
    for name, outcome in here.outcomes.items():
        other = there.outcomes[name]
        assert (outcome.status, outcome.error_type, outcome.error_message) == (
            other.status, other.error_type, other.error_message,
        )  # fmt: skip
        if outcome.result is None:
            continue
        # matrix products of two processes may differ in the last bits: memory is aligned otherwise
        for mine, theirs in zip(outcome.result.scores, other.result.scores, strict=True):
            assert (mine.name, mine.reason, mine.flags) == (theirs.name, theirs.reason, theirs.flags)
            assert close(mine.value, theirs.value) and close(mine.low, theirs.low) and close(mine.high, theirs.high)
        for mine, theirs in zip(outcome.result.curve, other.result.curve, strict=True):
            assert (mine.curve, mine.i, mine.size) == (theirs.curve, theirs.i, theirs.size)
            assert close(mine.f, theirs.f)
        np.testing.assert_array_equal(outcome.result.components, other.result.components)
        assert outcome.result.replicates.keys() == other.result.replicates.keys()
        for part, values in outcome.result.pair_values.items():
            np.testing.assert_allclose(values, other.result.pair_values[part], rtol=1e-6, atol=1e-6)
    assert there.outcomes["Steady"].attempts[0].device == "cpu"
    assert there.outcomes["Steady"].environment.packages["torch"]
    assert {"load", "pairs", "localize", "score"} <= set(there.phases)
    assert list(executor.folder.glob("tmp/*")) == []


def test_bad_methods_cost_their_own_cell_only(local, toy, tmp_path):
    pid_file, once, always = tmp_path / "pid", tmp_path / "once", tmp_path / "always"
    methods = [
        plugin("Hangs", pid_file=pid_file),
        plugin("Prints"),
        plugin("Exits"),
        plugin("LongMessage"),
        plugin("Dies", file=always),
        plugin("Steady"),
    ]
    executor, listener = local(timeout=6.0), Listener()
    assert executor.run(jobs(executor, toy, *methods), listener)
    statuses = {name: outcome.status for name, outcome in listener.outcomes.items()}
    assert statuses == {
        "Hangs": Status.TIMEOUT,
        "Prints": Status.OK,
        "Exits": Status.FAILED,
        "LongMessage": Status.FAILED,
        "Dies": Status.KILLED,
        "Steady": Status.OK,
    }
    hangs, dies = listener.outcomes["Hangs"], listener.outcomes["Dies"]
    assert hangs.error_type == "CellTimeout" and "6 s" in hangs.error_message
    assert not alive(int(pid_file.read_text())), "the child of a timed-out method is still running"
    assert dies.error_type == "WorkerDied" and "exit code 3" in dies.error_message
    assert [attempt.status for attempt in dies.attempts] == [Status.KILLED] * 3
    assert len(always.read_text().splitlines()) == 3
    assert len(listener.outcomes["LongMessage"].error_message) <= 4000
    assert len(listener.outcomes["Prints"].log) <= 256 * 1024

    again = Listener()
    assert executor.run(jobs(executor, toy, plugin("Dies", file=once, times=1)), again)
    revived = again.outcomes["Dies"]
    assert revived.status is Status.OK
    assert [attempt.status for attempt in revived.attempts] == [Status.KILLED, Status.OK]


def test_an_interrupt_starts_nothing_new_and_waits_for_the_grace_only(local, toy):
    executor = local(grace=0.5)
    listener = Listener(on_start=lambda job: "Hangs" in job.method.name and executor.interrupt())
    planned = jobs(executor, toy, plugin("Steady"), plugin("Hangs"), plugin("Noise"))
    started = time.monotonic()
    assert executor.run(planned, listener) is False
    assert time.monotonic() - started < 30
    assert listener.outcomes.keys() == {"Steady"}
    assert [name for name, _ in listener.order] == ["Steady", "Hangs"]


def test_a_second_interrupt_ends_running_cells_at_once(local, toy):
    executor = local(grace=600.0)

    def twice(job):
        executor.interrupt()
        executor.interrupt()

    started = time.monotonic()
    assert executor.run(jobs(executor, toy, plugin("Hangs")), Listener(on_start=twice)) is False
    assert time.monotonic() - started < 30


def test_two_workers_share_the_cells_of_one_model(local, toy):
    executor, listener = local(devices=("cpu", "cpu")), Listener()
    methods = [plugin("Steady", scale=float(scale)) for scale in range(1, 5)]
    planned = jobs(executor, toy, *methods)
    assert executor.run(planned, listener)
    assert len(listener.order) == len(planned) == 4


def test_errors_of_the_user_come_back_as_themselves(local, toy):
    executor = local()
    with pytest.raises(UnknownName, match="no-such-model"):
        executor.survey([SurveyRequest("no-such-model", "float32", (TOY,), 4, 4)])
    with pytest.raises(UnknownName, match="scale"):
        executor.choose([plugin("Steady", scal=1.0)], [TOY])
    assert executor.choose([plugin("Steady")], [TOY]).methods[0].record.name == "steady"


def test_a_plugin_that_hangs_when_it_is_imported_is_given_up(local, tmp_path):
    file = tmp_path / "hangs.py"
    file.write_text("import time\ntime.sleep(600)\n")
    with pytest.raises(RunError, match=r"Still importing the chosen methods and tasks after 2 s\. Raise --timeout"):
        local(timeout=2.0).choose([Reference(f"{file}:Mine")], [TOY])


def test_a_worker_that_cannot_start_ends_the_run_with_its_last_words(local, monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.exit('no such thing here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RunError, match="no such thing here"):
        local().choose([plugin("Steady")], [TOY])


def test_a_worker_ends_with_its_parent(tmp_path):
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:  # a process that starts a worker, tells its id and is killed
        worker = WorkerProcess("cpu", 1)
        os.write(writer, str(worker.pid).encode())
        time.sleep(600)
    os.close(writer)
    pid = int(os.read(reader, 32))
    os.close(reader)
    assert alive(pid)
    os.kill(parent, 9)
    os.waitpid(parent, 0)
    wait_until(lambda: not alive(pid))
