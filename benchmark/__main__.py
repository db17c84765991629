"""`python -m arithloc.benchmark`: the `bench` command."""

from arithloc.benchmark.cli import main

main()
