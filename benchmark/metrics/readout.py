"""Per-pair values of the runs of a cell, and what they recover."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.api.errors import MetricError, NoEffect
from arithloc.benchmark.metrics.bootstrap import MAX_BAD_SHARE, Resamples, bad_share, lower_bound, ratios
from arithloc.benchmark.metrics.faithfulness import MIN_KL, faithfulness, mean_of_ratios, pair_recovery

LOWER_IS_BETTER: Final = frozenset({"kl"})
"""Per-pair metrics of which less is better."""


@dataclass(frozen=True, eq=False)
class Readout:
    """One per-pair metric of all runs of a cell, pairs on the last axis.

    Attributes:
        name: name of the metric.
        full: the full model.
        empty: the empty circuit.
        kept: the circuits of the curve.
        removed: their complements.
        budgets_signed, budgets_absolute: MIB's ten budgets, where they were run.
    """

    name: str
    full: Float[ndarray, " pair"]
    empty: Float[ndarray, " pair"]
    kept: Float[ndarray, "size pair"]
    removed: Float[ndarray, "size pair"]
    budgets_signed: Float[ndarray, "budget pair"] | None = None
    budgets_absolute: Float[ndarray, "budget pair"] | None = None


@dataclass(frozen=True, eq=False)
class Runs:
    """What a row of circuits recovers.

    Attributes:
        m: mean of the metric.
        b: mean per-pair recovery.
        f_ror: mean of per-pair ratios, None where no pair has an effect.
        f: faithfulness, None where it is not defined (see `Recovery.reason`).
        replicates: bootstrap replicates of f.
    """

    m: Float[ndarray, " row"]
    b: Float[ndarray, " row"]
    f_ror: tuple[float | None, ...]
    f: Float[ndarray, " row"] | None
    replicates: Float[ndarray, "rep row"] | None


@dataclass(frozen=True, eq=False)
class Recovery:
    """One metric's view of a cell.

    Attributes:
        name: name of the metric.
        full, empty: means of the metric.
        full_replicates, empty_replicates: their bootstrap replicates.
        reason: why faithfulness is not defined, or empty.
        flags: cautions about the denominator.
        kept, removed, budgets_signed, budgets_absolute: the runs.
    """

    name: str
    full: float
    empty: float
    full_replicates: Float[ndarray, " rep"]
    empty_replicates: Float[ndarray, " rep"]
    reason: str
    flags: tuple[str, ...]
    kept: Runs
    removed: Runs
    budgets_signed: Runs | None
    budgets_absolute: Runs | None


def recover(readout: Readout, draws: Resamples, *, required: bool = False) -> Recovery:
    """Faithfulness of all runs of a readout, with replicates.

    Args:
        readout: per-pair values.
        draws: the resampling of their pairs.
        required: whether a model that does no better than the empty circuit is an error.

    Raises:
        NoEffect: `required`, and the lower 95% bound of m(M) - m(0) is not positive.
        MetricError: another number of pairs than in `draws`, or values that are not finite.
    """
    _check(readout, len(draws.cluster))
    sign = -1.0 if readout.name in LOWER_IS_BETTER else 1.0
    blocks = [readout.kept, readout.removed, readout.budgets_signed, readout.budgets_absolute]
    stacked = [readout.full[None], readout.empty[None], *(block for block in blocks if block is not None)]
    rows = sign * np.concatenate(stacked, dtype=np.float64)
    ends = np.cumsum([2, *(0 if block is None else len(block) for block in blocks)])
    full, empty, means = rows[0], rows[1], draws.means(rows)
    reason = _reason(readout.name, full, empty, means)
    if required and reason == "no-effect":
        raise NoEffect(
            f"Expected {readout.name} of the full model to be better than of the empty circuit, found "
            f"{readout.full.mean():.4g} and {readout.empty.mean():.4g} on {len(full)} pairs. "
            "Use pairs that the model answers correctly, or more of them."
        )

    def runs(block: int) -> Runs:
        part = slice(ends[block], ends[block + 1])
        return Runs(
            m=sign * rows[part].mean(axis=-1),
            b=pair_recovery(rows[part], full, empty).mean(axis=-1),
            f_ror=tuple(_mean_of_ratios(row, full, empty) for row in rows[part]),
            f=None if reason else faithfulness(rows[part], full, empty),
            replicates=None if reason else ratios(means[:, part], means[:, 0], means[:, 1]),
        )

    return Recovery(
        name=readout.name,
        full=float(sign * full.mean()),
        empty=float(sign * empty.mean()),
        full_replicates=sign * means[:, 0],
        empty_replicates=sign * means[:, 1],
        reason=reason,
        flags=("denominator",) if bad_share(means[:, 0], means[:, 1]) > 0 else (),
        kept=runs(0),
        removed=runs(1),
        budgets_signed=None if readout.budgets_signed is None else runs(2),
        budgets_absolute=None if readout.budgets_absolute is None else runs(3),
    )


def _reason(
    name: str, full: Float[ndarray, " pair"], empty: Float[ndarray, " pair"], means: Float[ndarray, "rep row"]
) -> str:
    if name == "kl" and (full - empty).mean() < MIN_KL:
        return "no-effect"
    if lower_bound(means[:, 0] - means[:, 1]) <= 0:
        return "no-effect"
    return "denominator" if bad_share(means[:, 0], means[:, 1]) > MAX_BAD_SHARE else ""


def _mean_of_ratios(
    row: Float[ndarray, " pair"], full: Float[ndarray, " pair"], empty: Float[ndarray, " pair"]
) -> float | None:
    try:
        return mean_of_ratios(row, full, empty).value
    except NoEffect:
        return None


def _check(readout: Readout, n_pairs: int) -> None:
    for field in ("full", "empty", "kept", "removed", "budgets_signed", "budgets_absolute"):
        values = getattr(readout, field)
        if values is None:
            continue
        if values.shape[-1] != n_pairs:
            raise MetricError(
                f"Expected {n_pairs} pairs in {readout.name}.{field}, found {values.shape[-1]}. "
                "Give one value and one cluster per pair."
            )
        if not np.isfinite(values).all():
            raise MetricError(
                f"Expected finite values in {readout.name}.{field}, found {int((~np.isfinite(values)).sum())} others. "
                "Check the model's outputs and dtype."
            )
