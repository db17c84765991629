"""Are the heads those of other operators, templates and tasks too? Knocked out there, and found there anew.

Reference: Zhang et al., arXiv:2409.01659, section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.api import Ablation, Split
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.report import Cell, Measured, Table
from arithloc.benchmark.api.study import Study
from arithloc.benchmark.metrics.measured import Spread
from arithloc.methods.analyses.forms import OPERATORS, Form, first_solved, forms, shared
from arithloc.methods.analyses.path_patching.effects import DirectEffects, direct_effects, jaccard, overlap_spread
from arithloc.methods.analyses.path_patching.knockout import MATCHED, TOP, Knockout, knockout

SPLITS: Final = (Split.DISCOVERY, Split.TEST)
TEMPLATES: Final = (("equation", "zE5"), ("statement", "zS0"), ("question", "zQ1"))
"""One frame of each of the paper's three styles."""
CONTROLS: Final = ("retrieval", "copying", "comparison", "factual")


@dataclass(frozen=True)
class Target:
    """Something that the heads are tried on.

    Attributes:
        name: short name.
        group: `operator`, `template`, `digits` or `control`.
        forms: task references; the first that the model solves is used.
    """

    name: str
    group: str
    forms: tuple[Reference, ...]


@dataclass(frozen=True, eq=False)
class Transfer:
    """What the heads of the main task do on a target.

    Attributes:
        target: what it is.
        form: the task in the form that was used.
        found: change of the mean logit difference without the found heads, as a share of it.
        matched: the same without random heads of the same blocks.
        accuracy: accuracy of the whole model, without the found heads, and without the random ones.
        overlap: share of the target's own top heads that are among the found ones.
        jaccard: common heads over all heads of both lists.
    """

    target: Target
    form: Form
    found: Spread
    matched: Spread
    accuracy: tuple[float, float, float]
    overlap: Spread
    jaccard: float


def targets_of(task: Reference) -> tuple[Target, ...]:
    """Everything that heads found on one arithmetic task are tried on."""
    options = {**dict(task.options), "kind": "operator_null"}
    more_digits = {**options, "digits": "d2"}
    return (
        *(Target(name, "operator", forms(name, options)) for name in OPERATORS if name != task.name),
        *(
            Target(style, "template", forms(task.name, {**options, "frames": frame}))
            for style, frame in TEMPLATES
            if options.get("frames") != frame
        ),
        Target("two-digit", "digits", forms(task.name, more_digits)),
        *(Target(name, "control", forms(name, shared(task))) for name in CONTROLS if name != task.name),
    )


def transfer(
    study: Study, target: Target, main: DirectEffects, k: int, ablation: Ablation, draws: int
) -> Transfer | Form:
    """Knocks the top k heads of the main task out on a target, and finds the target's own.

    Returns: the transfer, or the form where the model solves none.
    """
    form = first_solved(study, target.forms, SPLITS)
    if not form.solved:
        return form
    discovery, test = (sample.pairs for sample in form.samples)
    out = knockout(
        study.model,
        main.order,
        (0, k),
        test,
        discovery,
        ablation=ablation,
        draws=draws,
        seed=study.seed,
        progress=study.phase(f"knock-out: {target.name}"),
    )
    own = direct_effects(study.model, discovery, "heads", study.phase(f"direct effects: {target.name}"))
    return Transfer(
        target,
        form,
        relative(out, TOP, k),
        relative(out, MATCHED, k),
        (
            float(out.mean("accuracy", TOP, 0).value),
            float(out.mean("accuracy", TOP, k).value),
            float(out.mean("accuracy", MATCHED, k).value),
        ),
        overlap_spread(main, own, k),
        jaccard(main.order, own.order, k),
    )


def relative(out: Knockout, kind: str, k: int) -> Spread:
    """(mean logit difference without k heads - with all) / with all; NaN where the whole model has none."""
    before, after = out.mean("logit_diff", TOP, 0), out.mean("logit_diff", kind, k)
    return Spread(_share(before.value, after.value), _share(before.replicates, after.replicates), before.n)


def _share(before: Float[ndarray, "..."], after: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
    usable = before > 0
    return np.asarray(np.where(usable, (after - before) / np.where(usable, before, 1.0), np.nan))


def transfer_table(found: Sequence[Transfer | tuple[Target, Form]], k: int, n_heads: int) -> Table:
    """One row per target, those that the model does not solve included.

    Args:
        found: transfers, and targets without one.
        k: heads knocked out.
        n_heads: heads of the model.
    """
    rows: list[tuple[Cell, ...]] = []
    for one in found:
        if isinstance(one, tuple):
            target, form = one
            rows.append((target.group, target.name, form.tried[-1].task, *[None] * 12, "not solved"))
            continue
        difference = (one.found - one.matched).measured
        rows.append(
            (
                one.target.group, one.target.name, one.form.tried[-1].task, *_three(one.found.measured),
                one.matched.measured.value, *_three(difference), *one.accuracy, float(one.overlap.value), one.jaccard, "",
            )
        )  # fmt: skip
    columns = (
        "group", "target", "task", "change", "low", "high", "change, random", "difference", "difference low", "difference high",
        "accuracy", "accuracy without", "accuracy, random", "overlap", "Jaccard", "note",
    )  # fmt: skip
    note = (
        f"Change: of the mean logit difference when the top {k} heads of the main task are ablated, as a share of it; random: heads of the same blocks, as many in each; "
        f"difference: change minus change, random. Overlap: share of the target's own top {k} heads that are the same ones; by chance {k / n_heads:.1%}."
    )
    return Table("transfer", "The heads on other operators, templates and tasks", columns, tuple(rows), note)


def _three(found: Measured) -> tuple[float, float, float]:
    return found.value, found.low, found.high
