"""Starting Python in another process, with the tests' support modules on its path."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]


def start(*arguments: object) -> subprocess.Popen[str]:
    """Runs `python ARGUMENTS` with pipes for its output."""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 60.0) -> str:
    """Waits for a process that must succeed; returns its standard output."""
    output, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors
    return output
