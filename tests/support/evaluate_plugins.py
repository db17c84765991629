"""Methods and a task as a user would write them in one file outside the package; several break the contract.

Named on the command line as `path/to/evaluate_plugins.py:Steady`; never imported by a test.
"""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from arithloc.benchmark.api import (
    ComponentSpace,
    Granularity,
    MethodInfo,
    ModelShape,
    PromptPair,
    Scores,
    TaskInfo,
    TooFewPairs,
)


def info(name, *granularities):
    return MethodInfo(
        name=name, summary="For tests.", granularities=set(granularities) or {Granularity.NODE, Granularity.LAYER}
    )


@dataclass(frozen=True)
class Steady:
    """Scores that fall with the index; negative from `turn` on."""

    scale: float = 1.0
    turn: int = 1000

    info = info("steady", Granularity.NODE, Granularity.LAYER, Granularity.NEURON)

    def localize(self, problem):
        values = self.scale * np.arange(len(problem.space), 0, -1.0)
        values[self.turn :] *= -1
        problem.progress(1, 1)
        return Scores.of(problem.space, values)


class Noise:
    """Scores from several sources of randomness, global ones too."""

    info = info("noise")

    def localize(self, problem):
        n = len(problem.space)
        own = problem.rng.random(n) + torch.rand(n, generator=torch.Generator().manual_seed(problem.seed)).numpy()
        careless = torch.rand(n).numpy() + np.random.rand(n)
        return Scores.of(problem.space, own + careless)


class Raises:
    info = info("raises")

    def localize(self, problem):
        raise ValueError("first line\nsecond line")


class WrongShape:
    info = info("wrong-shape")

    def localize(self, problem):
        return Scores.of(problem.space, np.zeros(3))


class NotFinite:
    info = info("not-finite")

    def localize(self, problem):
        values = np.zeros(len(problem.space))
        values[1] = np.nan
        return Scores(problem.space, values)


class NotScores:
    info = info("not-scores")

    def localize(self, problem):
        return np.zeros(len(problem.space))


class OtherSpace:
    info = info("other-space")

    def localize(self, problem):
        space = ComponentSpace(Granularity.NODE, ModelShape(1, 1, 1, 4, 4, 4, 4))
        return Scores.of(space, np.zeros(len(space)))


@dataclass(frozen=True)
class Hangs:
    """Sleeps, with a child process that sleeps too; its id goes to a file."""

    pid_file: str = ""

    info = info("hangs")

    def localize(self, problem):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        if self.pid_file:
            Path(self.pid_file).write_text(str(child.pid))
        time.sleep(600)


@dataclass(frozen=True)
class Dies:
    """Ends its process, as often as there are fewer than `times` lines in the file."""

    file: str
    times: int = 1000

    info = info("dies")

    def localize(self, problem):
        with Path(self.file).open("a+") as tries:
            tries.seek(0)
            if len(tries.readlines()) < self.times:
                tries.write("try\n")
                tries.flush()
                os._exit(3)
        return Scores.of(problem.space, np.ones(len(problem.space)))


class Prints:
    """Floods its output, then closes it."""

    info = info("prints")

    def localize(self, problem):
        for _ in range(200):
            print("x" * 65536)  # noqa: T201
        sys.stdout.flush()
        os.close(1)
        os.close(2)
        return Scores.of(problem.space, np.ones(len(problem.space)))


class Exits:
    info = info("exits")

    def localize(self, problem):
        sys.exit("giving up")


class LongMessage:
    """Raises an exception that cannot be pickled, with a message of 10 MB."""

    info = info("long-message")

    def localize(self, problem):
        class Local(Exception):
            def __init__(self):
                super().__init__("long " * 2_000_000)
                self.lock = __import__("threading").Lock()

        raise Local


class EditsWeights:
    info = info("edits-weights")

    def localize(self, problem):
        with torch.no_grad():
            next(problem.model.module.parameters()).data[0, 0] += 1
        return Scores.of(problem.space, np.ones(len(problem.space)))


class Untidy:
    """Leaves folder, environment and numerical settings changed."""

    info = info("untidy")

    def localize(self, problem):
        os.chdir("/")
        os.environ["LEFT_BEHIND"] = "yes"
        np.seterr(all="ignore")
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_num_threads(7)
        torch.set_grad_enabled(False)
        torch.set_float32_matmul_precision("medium")
        torch.use_deterministic_algorithms(True)
        return Scores.of(problem.space, np.ones(len(problem.space)))


class PatchesForward:
    info = info("patches-forward")

    def localize(self, problem):
        problem.model.mlp(0).forward = lambda x: x * 0
        return Scores.of(problem.space, np.ones(len(problem.space)))


class LeavesHook:
    info = info("leaves-hook")

    def localize(self, problem):
        problem.model.module.register_forward_hook(lambda module, inputs, output: None)
        return Scores.of(problem.space, np.ones(len(problem.space)))


@dataclass(frozen=True)
class Peeks:
    """Fails unless it sees discovery pairs only and the problem holds nothing else about data."""

    info = info("peeks")

    def localize(self, problem):
        splits = {pair.split.value for pair in problem.pairs}
        names = sorted(vars(problem))
        if splits != {"discovery"} or names != sorted(
            ["model", "pairs", "space", "metric", "ablation", "seed", "rng", "progress"]
        ):
            raise RuntimeError(f"saw {splits} and {names}")
        return Scores.of(problem.space, np.ones(len(problem.space)))


class NoInfo:
    def localize(self, problem):
        return None


@dataclass(frozen=True)
class Digits:
    """Single-digit prompts `3+5=` answered by another digit, right or wrong as the model likes; never filtered."""

    correct_only: bool = False
    offset: int = 0

    info = TaskInfo(name="digits", summary="For tests.", family="test", correct_only=False)

    def pairs(self, tokenizer, split, n, seed):
        encode = tokenizer.backend_tokenizer.encode
        found = []
        start = {"discovery": 0, "validation": 30, "test": 60}[split.value] + 100 * seed + self.offset
        for i in range(start, start + n):
            a, b = i % 9, (i // 9) % 9
            clean, other = f"{a}+{b}=", f"{a + 1}+{b}="
            ids, other_ids = tuple(encode(clean).ids), tuple(encode(other).ids)
            answer, foil = encode(str(a)).ids[-1], encode(str((a + 5) % 10)).ids[-1]
            classes = ("bos",) * (len(ids) - 4) + ("operand1", "operator", "operand2", "last")
            found.append(
                PromptPair(
                    task="digits",
                    frame="plain",
                    operator="add",
                    kind="operands",
                    clean=clean,
                    counterfactual=other,
                    clean_ids=ids,
                    counterfactual_ids=other_ids,
                    classes=classes,
                    answer=str(a),
                    answer_cf=str((a + 5) % 10),
                    answer_ids=(answer,),
                    answer_cf_ids=(foil,),
                    first_diff=0,
                    candidates=tuple(encode(str(d)).ids[-1] for d in range(10)),
                    strata=(),
                    cluster=f"{i}",
                    split=split,
                    index=i - start,
                )
            )
        return found


@dataclass(frozen=True)
class Filtered(Digits):
    """The same, kept only where the model answers right."""

    info = TaskInfo(name="filtered", summary="For tests.", family="test", correct_only=True)


class Impossible:
    info = TaskInfo(name="impossible", summary="For tests.", family="test")

    def pairs(self, tokenizer, split, n, seed):
        raise TooFewPairs("Expected at least one valid pair, found none. Use another tokenizer.")


class Fickle(Digits):
    """Other pairs each time."""

    info = TaskInfo(name="fickle", summary="For tests.", family="test", correct_only=False)

    def pairs(self, tokenizer, split, n, seed):
        Fickle.calls = getattr(Fickle, "calls", 0) + 1
        return super().pairs(tokenizer, split, n, seed + Fickle.calls)


class RaisingTask:
    info = TaskInfo(name="raising-task", summary="For tests.", family="test")

    def pairs(self, tokenizer, split, n, seed):
        raise KeyError("nothing here")
