"""A process that writes cells until it is done or killed: `python -m support.writer DATABASE FIRST COUNT [ROWS BYTES]`.

Cells are those of seeds FIRST, FIRST + 1, ...; each has ROWS curve points and per-pair values of about BYTES bytes.
"""

import sys
from dataclasses import replace

import numpy as np
from support.results import ENVIRONMENT, SPEC, attempt, result

from arithloc.benchmark.storage.records import CellResult, CellSpec, CurvePoint, RankingRule
from arithloc.benchmark.storage.repository import Repository


def spec(seed: int) -> CellSpec:
    """The cell of a seed."""
    return replace(SPEC, seed=seed)


def outcome(seed: int, rows: int, size: int) -> CellResult:
    """Its result, the same in every process."""
    points = tuple(
        CurvePoint("kept", RankingRule.ABSOLUTE, i, i, i / rows, None, 1.0, (seed + i) % 7 / 7) for i in range(rows)
    )
    values = np.random.default_rng(seed).random((max(1, size // 256), 64), np.float32)
    return replace(result(seed), curve=points, pair_values={"kept": values})


def main() -> None:
    database, first, count, rows, size = sys.argv[1], *map(int, sys.argv[2:6])
    with Repository.open(database) as repository:
        sys.stdout.write("open\n")
        sys.stdout.flush()
        for seed in range(first, first + count):
            repository.store(spec(seed), attempt(), outcome(seed, rows, size), ENVIRONMENT)


if __name__ == "__main__":
    main()
