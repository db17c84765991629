"""The `bench` command: one file per command."""

from arithloc.benchmark.cli.guard import main

__all__ = ["main"]
