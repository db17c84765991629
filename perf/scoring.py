"""How long does scoring take beyond the forward passes?

    python perf/scoring.py [--methods 20] [--sizes 10] [--pairs 500] [--draws 2000]

Scores so many cells of one task from random per-pair values, each with its curve, its complements, MIB's budgets in both
rankings, accuracy and KL, then ranks them and compares the first with the second. Wall time depends on what else the
machine does, so the time of the processor is printed too.
"""

import argparse
import time

import numpy as np

from arithloc.benchmark.metrics.cell import CellScores, Curves, score_cell
from arithloc.benchmark.metrics.comparison import Paired, compare
from arithloc.benchmark.metrics.prefixes import BUDGETS, Circuits
from arithloc.benchmark.metrics.ranking import rank
from arithloc.benchmark.metrics.readout import Readout

AREA = "faithfulness_area"


def circuits(sizes: np.ndarray) -> Circuits:
    n = len(sizes)
    return Circuits(np.arange(n) + 1, np.arange(n) + 1, np.asarray(sizes), np.tri(n, dtype=bool))


class Cells:
    """Per-pair values of methods on one task: the model and the empty circuit are the same for all."""

    def __init__(self, n_sizes: int, n_pairs: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.clusters = [f"{i // 2}" for i in range(n_pairs)]
        self.curves = Curves(
            circuits(np.geomspace(0.002, 0.4, n_sizes)), 0.001, circuits(np.array(BUDGETS)), circuits(np.array(BUDGETS))
        )
        self.full, self.empty = self.rng.normal(3, 1, n_pairs), self.rng.normal(-1, 1, n_pairs)
        self.n_sizes = n_sizes

    def runs(self, shares: np.ndarray) -> np.ndarray:
        noise = self.rng.normal(0, 1, (len(shares), len(self.full)))
        return self.empty + shares[:, None] * (self.full - self.empty) + noise

    def readout(self, name: str) -> Readout:
        shares = np.linspace(0.05, 1, self.n_sizes)
        kept, removed = self.runs(shares), self.runs(1 - shares)
        budgets = [self.runs(np.linspace(0, 1, len(BUDGETS))) for _ in range(2)]
        full, empty = self.full, self.empty
        if name == "kl":  # lower is better, 0 for the model itself
            full, empty, kept, removed = np.zeros_like(full), np.abs(self.full) + 1, np.abs(kept), np.abs(removed)
            budgets = [np.abs(rows) for rows in budgets]
        return Readout(name, full, empty, kept, removed, *budgets)


def value(cell: CellScores) -> float:
    return next(estimate.value for estimate in cell.estimates if estimate.name == AREA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("methods", 20), ("sizes", 10), ("pairs", 500), ("draws", 2000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    cells = Cells(arguments.sizes, arguments.pairs, seed=0)
    readouts = [[cells.readout(name) for name in ("logit_diff", "accuracy", "kl")] for _ in range(arguments.methods)]
    wall, processor = time.perf_counter(), time.process_time()
    scored = [
        score_cell(cells.curves, metric, cells.clusters, "ab" * 32, arguments.draws, accuracy=accuracy, kl=kl)
        for metric, accuracy, kl in readouts
    ]
    ranking = rank(np.array([value(cell) for cell in scored]), np.array([cell.replicates[AREA] for cell in scored]))
    first, second = scored[:2]
    pair = Paired(value(first), value(second), first.replicates[AREA], second.replicates[AREA], arguments.pairs // 2)
    (difference,) = compare([pair])
    print(
        f"{arguments.methods} methods x {arguments.sizes} sizes x {arguments.pairs} pairs, {arguments.draws} draws: "
        f"{time.process_time() - processor:.2f} s of processor time, {time.perf_counter() - wall:.2f} s in all "
        f"({int(ranking.beats.sum())} pairs separated; the first two: {difference.verdict})"
    )


if __name__ == "__main__":
    main()
