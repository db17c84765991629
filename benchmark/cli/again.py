"""The command that runs a stored cell again."""

import shlex
from collections.abc import Mapping
from typing import Any

from arithloc.benchmark.runner.choices import option_text
from arithloc.benchmark.runner.discovery import DISCOVERY_KIND
from arithloc.benchmark.runner.job import Effort
from arithloc.benchmark.runner.suites import QUICK, SUITES


def evaluating_command(spec: Mapping[str, Any]) -> str:
    """`bench evaluate` with everything that the key of a cell depends on.

    A method from a file has no path in its key; its place in the command is marked for the reader to fill in.
    """
    method = spec["method"]
    parts = ["bench", "evaluate", *_effort(spec)]
    name = f"<file>.py:<class of {method['name']}>" if method["distribution"] == "local" else method["name"]
    parts += ["--method", name + option_text(method["options"]), "--task", task_text(spec)]
    parts += ["--model", spec["model"]["name"], "--granularity", spec["granularity"], "--ablation", spec["ablation"]]
    parts += ["--seed", str(spec["seed"]), "--dtype", spec["dtype"]]
    if spec.get("private_commitment"):
        parts.append("--private")
    return shlex.join(parts)


def task_text(spec: Mapping[str, Any]) -> str:
    """The task of a cell with its options, and the discovery kind where it is another one than the task's own."""
    own = {name: spec[name] for name in (DISCOVERY_KIND,) if name in spec}
    return str(spec["task"]["name"]) + option_text({**spec["task"]["options"], **own})


def _effort(spec: Mapping[str, Any]) -> list[str]:
    """The suite, and where needed the limit, that give the cell's numbers of pairs, draws and sizes."""
    wanted = Effort(spec["n_discovery"], spec["n_evaluation"], spec["n_draws"], spec["n_sizes"])
    for suite in SUITES.values():
        if suite.effort == wanted:
            return [] if suite is QUICK else ["--suite", suite.name]
    for suite in SUITES.values():
        if (suite.effort.n_draws, suite.effort.n_sizes) == (wanted.n_draws, wanted.n_sizes):
            named = [] if suite is QUICK else ["--suite", suite.name]
            return [*named, "--limit", str(wanted.n_evaluation)]
    return ["--limit", str(wanted.n_evaluation)]
