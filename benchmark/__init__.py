"""Contracts, engine, metrics, runner, storage and command line of arithloc."""

if __name__ == "benchmark":
    raise ImportError("import arithloc.benchmark, not benchmark: install the project with 'make setup' first")
