"""From recoveries to the named numbers of a cell."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark.metrics.area import faithfulness_area
from arithloc.benchmark.metrics.bootstrap import (
    FEW_CLUSTERS,
    interval,
    lower_bound,
    quantile_with_infinity,
    upper_bound,
)
from arithloc.benchmark.metrics.estimate import Estimate
from arithloc.benchmark.metrics.mib import budget_mean, cmd, cpr
from arithloc.benchmark.metrics.prefixes import HI, Circuits
from arithloc.benchmark.metrics.readout import Recovery, Runs
from arithloc.benchmark.metrics.sparsity import NEVER, first_reached, reaches

Replicates = dict[str, Float[ndarray, " rep"]]


@dataclass(frozen=True, eq=False)
class CellContext:
    """What all scores of a cell share.

    Attributes:
        n_pairs: evaluation pairs.
        n_clusters: clusters among them.
        circuits: the circuits of the curve.
        lo: where the faithfulness area starts.
    """

    n_pairs: int
    n_clusters: int
    circuits: Circuits
    lo: float

    def estimate(
        self,
        name: str,
        value: float | None,
        replicates: Float[ndarray, " rep"] | None = None,
        *,
        rule: Literal["absolute", "signed", "none"] = "absolute",
        direction: Literal["higher", "lower"] = "higher",
        unit: str = "",
        reason: str = "",
        flags: tuple[str, ...] = (),
    ) -> Estimate:
        """A named number with the interval of its replicates."""
        spread = None if replicates is None else interval(replicates)
        few = ("few-clusters",) if self.n_clusters < FEW_CLUSTERS else ()
        return Estimate(
            name=name,
            value=value,
            low=None if spread is None else spread.low,
            high=None if spread is None else spread.high,
            se=None if spread is None else spread.se,
            n_pairs=self.n_pairs,
            n_clusters=self.n_clusters,
            ranking_rule=rule,
            direction=direction,
            unit=unit,
            reason=reason,
            flags=(*few, *flags),
        )


def level_estimates(context: CellContext, recovery: Recovery, prefix: str) -> list[Estimate]:
    """Means of the full model and of the empty circuit, and what lies between them."""
    levels = {
        "full": (recovery.full, recovery.full_replicates),
        "empty": (recovery.empty, recovery.empty_replicates),
        "effect": (recovery.full - recovery.empty, recovery.full_replicates - recovery.empty_replicates),
    }
    direction: Literal["higher", "lower"] = "lower" if recovery.name == "kl" else "higher"
    return [
        context.estimate(f"{prefix}_{name}", value, replicates, rule="none", direction=direction, unit=recovery.name)
        for name, (value, replicates) in levels.items()
    ]


def area_estimate(context: CellContext, name: str, runs: Runs, recovery: Recovery) -> tuple[Estimate, Replicates]:
    """Area under g of the runs; for complements pass their completeness as f."""
    reason = recovery.reason or ("no-size-range" if context.lo >= HI else "")
    if reason or runs.f is None or runs.replicates is None:
        return context.estimate(name, None, reason=reason, flags=recovery.flags), {}
    sizes = context.circuits.sizes
    value = float(faithfulness_area(runs.f, sizes, context.lo))
    replicates = faithfulness_area(runs.replicates, sizes, context.lo)
    return context.estimate(name, value, replicates, flags=recovery.flags), {name: replicates}


def completeness_runs(runs: Runs) -> Runs:
    """The same runs with completeness, 1 - f, in the place of f."""
    if runs.f is None or runs.replicates is None:
        return runs
    return Runs(runs.m, runs.b, runs.f_ror, 1.0 - runs.f, 1.0 - runs.replicates)


def sparsity_estimates(context: CellContext, recovery: Recovery) -> tuple[list[Estimate], Replicates]:
    """Smallest size with a lower bound of f of 0.9, its number of components, its completeness, and the two-sided size.

    Replicate b asks the same question of the replicates of the bounds: each bound keeps its distance from f.
    """
    names = ("sparsity", "sparsity_components", "sparsity_two_sided", "sparsity_completeness")
    f, replicates = recovery.kept.f, recovery.kept.replicates
    if f is None or replicates is None:
        return [context.estimate(n, None, reason=recovery.reason, flags=recovery.flags) for n in names], {}
    low, high = lower_bound(replicates), upper_bound(replicates)
    low_b, high_b = replicates - (f - low), replicates + (high - f)
    one, logs = _smallest(context, names[0], reaches(low), reaches(low_b), recovery.flags)
    two, _ = _smallest(context, names[2], reaches(low, high), reaches(low_b, high_b), recovery.flags)
    at = int(first_reached(reaches(low)))
    return [one, _components(context, names[1], at), two, _completeness_at(context, names[3], at, recovery)], {
        names[0]: logs
    }


def _smallest(
    context: CellContext,
    name: str,
    reached: Bool[ndarray, " size"],
    reached_b: Bool[ndarray, "rep size"],
    flags: tuple[str, ...],
) -> tuple[Estimate, Float[ndarray, " rep"]]:
    sizes = np.append(context.circuits.sizes, np.inf)  # index -1: never
    found = sizes[first_reached(reached_b)]
    at = int(first_reached(reached))
    low, high = (quantile_with_infinity(found, q) for q in (0.025, 0.975))
    few = ("few-clusters",) if context.n_clusters < FEW_CLUSTERS else ()
    estimate = Estimate(
        name=name,
        value=None if at == NEVER else float(sizes[at]),
        low=None if np.isinf(low) else low,
        high=None if np.isinf(high) else high,
        n_pairs=context.n_pairs,
        n_clusters=context.n_clusters,
        ranking_rule="absolute",
        direction="lower",
        reason="not-reached" if at == NEVER else "",
        flags=(*few, *flags, *(("high-not-reached",) if np.isinf(high) else ())),
    )
    return estimate, np.log(np.minimum(found, 1.0))


def _components(context: CellContext, name: str, at: int) -> Estimate:
    if at == NEVER:
        return context.estimate(name, None, direction="lower", unit="components", reason="not-reached")
    n = float(context.circuits.n_components[at])
    return context.estimate(name, n, direction="lower", unit="components")


def _completeness_at(context: CellContext, name: str, at: int, recovery: Recovery) -> Estimate:
    runs = completeness_runs(recovery.removed)
    if at == NEVER or runs.f is None or runs.replicates is None:
        return context.estimate(name, None, reason="not-reached", flags=recovery.flags)
    return context.estimate(name, float(runs.f[at]), runs.replicates[:, at], flags=recovery.flags)


def budget_estimates(
    context: CellContext, recovery: Recovery, signed: Runs, absolute: Runs
) -> tuple[list[Estimate], Replicates]:
    """CPR and the mean over the budgets from the signed ranking, CMD from the absolute one."""
    if signed.f is None or signed.replicates is None or absolute.f is None or absolute.replicates is None:
        names = ("cpr", "cpr_mean", "cmd")
        return [context.estimate(n, None, reason=recovery.reason, flags=recovery.flags) for n in names], {}
    replicates = {"cpr": cpr(signed.replicates), "cmd": cmd(absolute.replicates)}
    flags = recovery.flags
    return [
        context.estimate("cpr", float(cpr(signed.f)), replicates["cpr"], rule="signed", flags=flags),
        context.estimate(
            "cpr_mean", float(budget_mean(signed.f)), budget_mean(signed.replicates), rule="signed", flags=flags
        ),
        context.estimate("cmd", float(cmd(absolute.f)), replicates["cmd"], direction="lower", flags=flags),
    ], replicates
