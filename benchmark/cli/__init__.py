"""The `bench` command: one file per command."""

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command that `sys.argv` names and exits with its code."""
    try:  # the imports take a while, and Ctrl-C may come while they run
        from arithloc.benchmark.cli.app import command
        from arithloc.benchmark.cli.guard import guarded
    except KeyboardInterrupt:
        sys.stderr.write("interrupted.\n")
        sys.exit(130)
    sys.exit(guarded(command, sys.argv[1:]))
