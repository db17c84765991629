"""Do 95% intervals cover what they should? Simulated cells with known scores, clusters of unequal size.

    python perf/coverage.py [--runs 1000] [--draws 1000] [--ratio-runs 3000]

Each simulated pair has a cluster effect and noise of its own in the full model, the empty circuit and every circuit; the
circuits recover known shares of the effect, so that f, and from it the area, CPR and CMD, are known exactly. `difference`
is the paired difference of the areas of two methods, `same` the share of boards of six methods, five of them equal, on
which no equal pair is separated. Coverage of 95% +- 2% is the aim; the binomial error of 1,000 runs is 0.7%. Runs share their draws in blocks of
`BLOCK`, which saves time and adds to the error what the quantiles of so many draws vary by (with 1,000 draws 0.7% a block).
`ratio` repeats f alone many times more. Last, false positives of the comparison of two equal methods, and of the tests.
"""

import argparse
import hashlib

import numpy as np

from arithloc.benchmark.metrics.area import faithfulness_area
from arithloc.benchmark.metrics.bootstrap import interval, ratios, resamples
from arithloc.benchmark.metrics.cell import CellScores, Curves, score_cell
from arithloc.benchmark.metrics.comparison import Paired, Verdict, compare
from arithloc.benchmark.metrics.equivalence import power
from arithloc.benchmark.metrics.independence import independence
from arithloc.benchmark.metrics.mib import cmd, cpr
from arithloc.benchmark.metrics.minimality import minimality
from arithloc.benchmark.metrics.prefixes import BUDGETS, Circuits
from arithloc.benchmark.metrics.ranking import rank
from arithloc.benchmark.metrics.readout import Readout

BLOCK = 25
"""Runs that share bootstrap draws."""
SIZES = np.geomspace(0.001, 0.4, 10)
SHARES = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85, 0.95, 1.15])
OTHER = SHARES * 0.9
BUDGET_SHARES = np.array([0, 0.05, 0.2, 0.4, 0.6, 0.8, 1.1, 1.2, 1.3, 1.0])


def circuits(sizes: np.ndarray) -> Circuits:
    n = len(sizes)
    return Circuits(np.arange(n) + 1, np.arange(n) + 1, np.asarray(sizes), np.tri(n, dtype=bool))


CURVES = Curves(circuits(SIZES), 0.001, circuits(np.array(BUDGETS)), circuits(np.array(BUDGETS)))


class Sample:
    """Pairs of one simulated task: clusters of one to four pairs."""

    def __init__(self, n_clusters: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.cluster = np.repeat(np.arange(n_clusters), rng.integers(1, 5, n_clusters))
        self.n_clusters = n_clusters
        self.empty = rng.normal(-1, 1, len(self.cluster))
        effect = rng.gamma(4, 1, n_clusters)[self.cluster] + rng.normal(0, 1, len(self.cluster))
        self.full = self.empty + effect
        self.hash = hashlib.sha256(rng.bytes(8)).hexdigest()

    def with_hash_of(self, block: int) -> "Sample":
        """The same pairs under a hash that the runs of a block share, and with it their draws."""
        self.hash = hashlib.sha256(f"{self.n_clusters}/{block}".encode()).hexdigest()
        return self

    def runs(self, shares: np.ndarray, noise: float = 1.0) -> np.ndarray:
        """Circuits that recover `shares` of the effect, with noise per cluster and per pair."""
        per_cluster = self.rng.normal(0, noise, (len(shares), self.n_clusters))[:, self.cluster]
        per_pair = self.rng.normal(0, noise, (len(shares), len(self.cluster)))
        return self.empty + shares[:, None] * (self.full - self.empty) + per_cluster + per_pair

    def score(self, shares: np.ndarray, draws: int) -> CellScores:
        budgets = [self.runs(BUDGET_SHARES) for _ in range(2)]
        for rows in budgets:
            rows[-1] = self.full  # the last budget keeps everything
        readout = Readout("logit_diff", self.full, self.empty, self.runs(shares), self.runs(1 - shares), *budgets)
        return score_cell(CURVES, readout, [str(c) for c in self.cluster], self.hash, draws)


def coverage(n_clusters: int, runs: int, draws: int) -> dict[str, float]:
    """Share of simulated cells whose interval covers the true score."""
    truth = {
        "faithfulness_area": float(faithfulness_area(SHARES, SIZES)),
        "completeness_area": float(faithfulness_area(SHARES, SIZES)),
        "cpr": float(cpr(BUDGET_SHARES)),
        "cmd": float(cmd(BUDGET_SHARES)),
    }
    gap = truth["faithfulness_area"] - float(faithfulness_area(OTHER, SIZES))
    hits = dict.fromkeys(("f = 0.5", "f = 0.95", *truth, "difference", "same"), 0)
    for run in range(runs):
        sample = Sample(n_clusters, np.random.default_rng([n_clusters, run])).with_hash_of(run // BLOCK)
        first, second = sample.score(SHARES, draws), sample.score(OTHER, draws)
        points = {p.i: p for p in first.curve if p.curve == "kept"}
        hits["f = 0.5"] += points[5].f_low <= 0.5 <= points[5].f_high
        hits["f = 0.95"] += points[8].f_low <= 0.95 <= points[8].f_high
        for estimate in first.estimates:
            if estimate.name in truth:
                hits[estimate.name] += estimate.low <= truth[estimate.name] <= estimate.high
        found = interval(first.replicates["faithfulness_area"] - second.replicates["faithfulness_area"])
        hits["difference"] += found.low <= gap <= found.high
        if run < runs // 4:
            hits["same"] += 4 * equals_stay_together(sample, first, draws)
    return {name: count / runs for name, count in hits.items()}


def equals_stay_together(sample: Sample, first: CellScores, draws: int) -> bool:
    """Whether a board of this method, four equal ones and a worse one separates none of the equal ones."""
    scored = [first, *(sample.score(SHARES, draws) for _ in range(4)), sample.score(SHARES * 0.5, draws)]
    values = np.array([next(e.value for e in s.estimates if e.name == "faithfulness_area") for s in scored])
    board = rank(values, np.array([s.replicates["faithfulness_area"] for s in scored]))
    return not board.beats[:5, :5].any()


def ratio_coverage(n_clusters: int, runs: int, draws: int, share: float = 0.95) -> float:
    """Share of simulated cells whose interval of f covers the truth, from the sums of clusters alone."""
    covered = 0
    for run in range(runs):
        sample = Sample(n_clusters, np.random.default_rng([n_clusters, run, 1])).with_hash_of(run // BLOCK)
        resampled = resamples([str(c) for c in range(n_clusters)], sample.hash, draws)
        rows = (sample.runs(np.array([share]))[0], sample.full, sample.empty)
        sums = np.stack([np.bincount(sample.cluster, values, minlength=n_clusters) for values in rows])
        circuit, full, empty = sums @ resampled.weights.T
        found = interval(ratios(circuit, full, empty))
        covered += found.low <= share <= found.high
    return covered / runs


def false_positives(n_clusters: int, runs: int, draws: int) -> dict[str, float]:
    """Share of runs in which something is found although there is nothing: in a comparison and in the tests."""
    wrong = dict.fromkeys(("comparison", "independence", "minimality"), 0)
    for run in range(runs):
        sample = Sample(n_clusters, np.random.default_rng([n_clusters, run, 2])).with_hash_of(run // BLOCK)
        first, second = sample.score(SHARES, draws), sample.score(SHARES, draws)
        values = [next(e.value for e in cell.estimates if e.name == "faithfulness_area") for cell in (first, second)]
        replicates = [cell.replicates["faithfulness_area"] for cell in (first, second)]
        (found,) = compare([Paired(*values, *replicates, n_clusters)])
        wrong["comparison"] += found.verdict is not Verdict.OPEN
        n_tested = min(n_clusters, 200)  # the test compares all pairs of clusters
        one, other = sample.rng.normal(size=(2, n_tested))
        wrong["independence"] += independence(one, other, ["x"] * n_tested, seed=run, n_permutations=199).p <= 0.05
        parts, null = np.abs(sample.rng.normal(size=10)), np.abs(sample.rng.normal(size=1000))
        wrong["minimality"] += minimality(parts, null).minimal_share > 0
    return {name: count / runs for name, count in wrong.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratio-runs", type=int, default=3000)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    arguments = parser.parse_args()
    for n_clusters in (50, 200, 1000):
        found = coverage(n_clusters, arguments.runs, arguments.draws)
        print(
            f"{n_clusters:5d} clusters  " + "  ".join(f"{name} {share:.3f}" for name, share in found.items()),
            flush=True,
        )
    for n_clusters in (50, 200, 1000):
        share = ratio_coverage(n_clusters, arguments.ratio_runs, arguments.draws)
        print(f"{n_clusters:5d} clusters  ratio f = 0.95, {arguments.ratio_runs} runs: {share:.4f}", flush=True)
    print("false positives at level 0.05 where there is nothing to find:")
    for n_clusters in (50, 200, 1000):
        found = false_positives(n_clusters, arguments.runs, arguments.draws)
        print(
            f"{n_clusters:5d} clusters  " + "  ".join(f"{name} {share:.3f}" for name, share in found.items()),
            flush=True,
        )
    print("power of the equivalence test at pi = 1/2, eps = 0.1, level 0.05, and its error at the edge, pi = 0.6:")
    for n_clusters in (50, 100, 200, 250, 400, 1000):
        print(f"{n_clusters:5d} clusters  power {power(n_clusters):.3f}  error {power(n_clusters, pi=0.6):.4f}")


if __name__ == "__main__":
    main()
