"""The claims of the paper about heads and MLPs, each as one number.

Layers of the paper's 32-block model are taken as shares of the depth. Reference: arXiv:2409.01659.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark.api.report import Claim
from arithloc.benchmark.metrics.measured import Spread
from arithloc.methods.analyses.forms import Form
from arithloc.methods.analyses.path_patching.attention import OPERANDS, OPERATOR, AttentionByClass
from arithloc.methods.analyses.path_patching.effects import FEW, KEY, DirectEffects
from arithloc.methods.analyses.path_patching.geometry import Geometry
from arithloc.methods.analyses.path_patching.knockout import MATCHED, RANDOM, TOP, Knockout
from arithloc.methods.analyses.path_patching.transfer import Target, Transfer

PAPER: Final = "arXiv:2409.01659"
BLOCKS: Final = 32
"""Depth of the model (LLaMA2-7B) whose layers the paper names."""
CHANGE: Final = (
    "relative change of the mean logit difference without the found heads, minus without random ones of the same blocks"
)


def depth(n_layers: int, low: int, high: int) -> Bool[ndarray, " layer"]:
    """Blocks that lie at the depth of blocks low to high - 1 of 32.

    Example:
    >>> np.flatnonzero(depth(8, 16, 32)).tolist()
    [4, 5, 6, 7]
    """
    place = np.arange(n_layers) / n_layers
    return np.asarray((place >= low / BLOCKS - 1e-9) & (place < high / BLOCKS - 1e-9))


def head_claims(found: DirectEffects) -> Iterator[Claim]:
    """Few heads, in the middle, and MLPs behind them."""
    key = found.score.map(lambda s: (s[:, :, :-1] <= KEY).mean((-1, -2)))
    yield Claim.below(
        "P1",
        "Fewer than 5 % of the heads write to the answer directly.",
        statistic=f"share of heads with a relative change of the answer's logit of {KEY:.0%} or less",
        threshold=FEW,
        estimate=key.measured,
        source=f"{PAPER}, abstract",
        note="None does: no head reaches the paper's threshold." if not float(key.value) else "",
    )
    n_layers = len(found.heads)
    early, late = depth(n_layers, 0, 12), depth(n_layers, 12, BLOCKS)
    heads = found.score.map(lambda s: _mean(np.abs(s[:, late, :-1])) - _mean(np.abs(s[:, early, :-1])))
    yield from _if_defined(
        "P2", "Heads with a direct effect lie in blocks 12 of 32 and later, none earlier.",
        "mean |relative change of the answer's logit| of heads, later minus earlier blocks", heads,
    )  # fmt: skip
    low, high = depth(n_layers, 0, 17), depth(n_layers, 17, BLOCKS)
    mlps = found.score.map(lambda s: _mean(np.abs(s[:, high, -1:])) - _mean(np.abs(s[:, low, -1:])))
    yield from _if_defined(
        "P3", "MLPs from block 17 of 32 on have a direct effect, earlier ones none.",
        "mean |relative change of the answer's logit| of MLPs, later minus earlier blocks", mlps,
    )  # fmt: skip


def knockout_claims(out: Knockout, k: int, n_heads: int) -> Iterator[Claim]:
    """The found heads are needed, random ones are not."""
    share = f"top {k} of {n_heads} heads"
    for number, (kind, text) in enumerate(
        (
            (RANDOM, "Without the found heads the answer is lost far more often than without random ones."),
            (MATCHED, "The same against random heads of the same blocks."),
        ),
        start=1,
    ):
        drop = out.mean("accuracy", kind, k) - out.mean("accuracy", TOP, k)
        yield Claim.above(
            f"P4.{number}",
            text,
            statistic=f"accuracy on other pairs without as many {kind} minus without the {share}",
            threshold=0.0,
            estimate=drop.measured,
            source=f"{PAPER}, section 3" if kind == RANDOM else "control of this project",
        )


def attention_claims(found: AttentionByClass, heads: Sequence[int]) -> Iterator[Claim]:
    """The found heads look at operands and operators."""
    for number, (names, text) in enumerate(
        (
            (OPERANDS, "The found heads attend to the operands."),
            ((OPERATOR,), "The found heads attend to the operator."),
        ),
        start=1,
    ):
        statistic = "attention of the last position, found heads minus all others"
        if not set(names) & set(found.classes):
            yield Claim.untested(
                f"P5.{number}", text, statistic=statistic, reason="The prompts have no such class.", source=PAPER
            )
            continue
        estimate = found.excess(heads, names).measured
        yield Claim.above(
            f"P5.{number}", text, statistic=statistic, threshold=0.0, estimate=estimate, source=f"{PAPER}, section 4"
        )


def geometry_claims(found: Geometry | None) -> Iterator[Claim]:
    """MLPs read operands in the middle and write the answer later."""
    claims = (
        ("P6.1", "What the MLPs read turns to the operands in the middle blocks (16-19 of 32, against 0-11).", "read_operands", (16, 20), (0, 12)),
        ("P6.2", "What the MLPs write turns to the answer in the later blocks (17 of 32 and later, against earlier).", "write_answer", (17, 32), (0, 17)),
    )  # fmt: skip
    for id, text, name, inside, outside in claims:
        statistic = f"mean cosine ({name.replace('_', ', ')}), these blocks minus those"
        source = f"{PAPER}, section 4"
        if found is None:
            reason = "No operand is one token."
            yield Claim.untested(id, text, statistic=statistic, reason=reason, source=source)
            continue
        values = found.mean_of(getattr(found, name))
        these, those = (depth(len(values.value), *span) for span in (inside, outside))
        difference = values.map(_minus(these, those))
        yield from _if_defined(id, text, statistic, difference)


def transfer_claims(
    found: Sequence[Transfer | tuple[Target, Form]], main: Spread, k: int, n_heads: int
) -> Iterator[Claim]:
    """Same heads elsewhere, other ones for the controls.

    Args:
        found: transfers, and targets without one.
        main: relative change of the main task without the found heads, minus without random ones of the same blocks.
        k: heads knocked out.
        n_heads: heads of the model.
    """
    for one in found:
        target = one.target if isinstance(one, Transfer) else one[0]
        if target.group == "control":
            yield _control(target.name, one, main)
        else:
            yield _needed(target.name, one)
            yield _same(target.name, one, k, n_heads)


def _control(name: str, one: Transfer | tuple[Target, Form], main: Spread) -> Claim:
    id, text = f"P8.{name}", f"The found heads matter less for {name} than for the main task."
    statistic, source = f"{CHANGE}, {name} minus main task", "control of this project"
    if not isinstance(one, Transfer):
        return Claim.untested(id, text, statistic=statistic, reason=one[1].reason, source=source)
    estimate = ((one.found - one.matched) - main).measured
    return Claim.above(id, text, statistic=statistic, threshold=0.0, estimate=estimate, source=source)


def _needed(name: str, one: Transfer | tuple[Target, Form]) -> Claim:
    id, text = f"P7.{name}.needed", f"The found heads are needed for {name} too."
    source = f"{PAPER}, section 4"
    if not isinstance(one, Transfer):
        return Claim.untested(id, text, statistic=CHANGE, reason=one[1].reason, source=source)
    estimate = (one.found - one.matched).measured
    return Claim.below(id, text, statistic=CHANGE, threshold=0.0, estimate=estimate, source=source)


def _same(name: str, one: Transfer | tuple[Target, Form], k: int, n_heads: int) -> Claim:
    id, text = f"P7.{name}.same", f"The heads found on {name} are the same ones."
    statistic, source = f"share of common heads among the top {k}", f"{PAPER}, section 4"
    if not isinstance(one, Transfer):
        return Claim.untested(id, text, statistic=statistic, reason=one[1].reason, source=source)
    chance = round(k / n_heads, 4)
    note = "The threshold is what chance gives."
    return Claim.above(id, text, statistic=statistic, threshold=chance, estimate=one.overlap.measured, source=source, note=note)  # fmt: skip


def _minus(these: Bool[ndarray, " layer"], those: Bool[ndarray, " layer"]) -> Callable[[ndarray], ndarray]:
    """Mean over some layers minus that over others, for every resample (rep, layer)."""
    return lambda values: _mean(values[:, these, None]) - _mean(values[:, those, None])


def _mean(values: Float[ndarray, "rep layer node"]) -> Float[ndarray, " rep"]:
    """Mean over layers and nodes; NaN where there is none."""
    return values.mean((-1, -2)) if values.shape[1] else np.full(len(values), np.nan)


def _if_defined(id: str, text: str, statistic: str, found: Spread) -> Iterator[Claim]:
    source = f"{PAPER}, section 4"
    if np.isfinite(found.value):
        yield Claim.above(id, text, statistic=statistic, threshold=0.0, estimate=found.measured, source=source)
    else:
        yield Claim.untested(id, text, statistic=statistic, reason="The model has too few blocks.", source=source)
