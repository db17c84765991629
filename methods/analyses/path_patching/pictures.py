"""Pictures and tables of direct effects and of attention."""

from collections.abc import Mapping

import numpy as np

from arithloc.benchmark.api.report import Cell, Heatmap, Measured, Section, Table
from arithloc.benchmark.metrics.measured import Spread
from arithloc.benchmark.models import SubjectModel
from arithloc.methods.analyses.path_patching.attention import OPERANDS, OPERATOR, AttentionByClass
from arithloc.methods.analyses.path_patching.effects import KEY, DirectEffects, head_name, jaccard, shared_of_top

LISTED = 25
"""Heads that the table of key heads lists."""


def effect_section(model: SubjectModel, found: Mapping[str, DirectEffects], titles: Mapping[str, str]) -> Section:
    """A map of direct effects for each variant and kind of counterfactual, and how far they agree.

    Args:
        model: the subject model.
        found: effects by short name, the main ones first.
        titles: what each of them is.
    """
    main = next(iter(found.values()))
    pictures = []
    for name, one in found.items():
        columns = (*map(str, range(model.shape.n_heads)), "MLP")
        rows = tuple(map(str, range(model.shape.n_layers)))
        pictures.append(Heatmap(f"effects_{name}", titles[name], rows, columns, one.score.value, column_title="head"))
    k = main.few()
    rows_of_lists: list[tuple[Cell, ...]] = []
    for name, one in found.items():
        finite = np.isfinite(one.heads) & np.isfinite(main.heads)
        agreement = float(np.corrcoef(one.heads[finite], main.heads[finite])[0, 1]) if finite.sum() > 1 else None
        rows_of_lists.append(
            (
                titles[name], int((one.heads <= KEY).sum()), shared_of_top(main.order, one.order, k), jaccard(main.order, one.order, k),
                agreement, int(one.positive.sum()), len(one.positive),
            )
        )  # fmt: skip
    lists = Table(
        "variants",
        f"Variants, and how far their top {k} heads are those of the first",
        ("variant", "key heads", "overlap", "Jaccard", "correlation", "pairs used", "pairs"),
        tuple(rows_of_lists),
        f"Key heads: relative change of the answer's logit of {KEY:.0%} or less. Overlap by chance: {k / main.heads.size:.1%}. Pairs whose answer logit is not "
        "positive have no relative change and are not used.",
    )
    text = (
        "Each head or MLP alone takes its counterfactual value at the last position; all other heads keep theirs. Shown is the mean relative change of the answer's "
        "logit, the paper's measure, which depends on the arbitrary offset of logits; the table of heads has the change of the logit difference beside it."
    )
    return Section("Direct effects", text, tuple(pictures), (lists,))


def head_table(
    model: SubjectModel, main: DirectEffects, others: Mapping[str, DirectEffects], attention: AttentionByClass
) -> Table:
    """The heads with the largest direct effects."""
    score, change = (_flat(spread) for spread in (main.score, main.logit_diff))
    rows: list[tuple[Cell, ...]] = []
    for index in main.order[:LISTED]:
        place, difference = score[index], change[index]
        ranks = [int(np.flatnonzero(one.order == index)[0]) + 1 for one in others.values()]
        rows.append(
            (
                head_name(model, int(index)), place.value, place.low, place.high, place.high < 0, difference.value, difference.low, difference.high,
                attention.head_type(int(index)), *(float(attention.to([name]).reshape(len(score), -1)[index].mean()) for name in (*OPERANDS, OPERATOR)),
                *ranks,
            )
        )  # fmt: skip
    columns = (
        "head", "s", "low", "high", "supports", "logit difference", "LD low", "LD high", "attends to", *(f"to {name}" for name in (*OPERANDS, OPERATOR)),
        *(f"rank, {name}" for name in others),
    )  # fmt: skip
    note = "s: relative change of the answer's logit; supports: its whole interval is below 0. Attention is that of the last position, exemplars included."
    return Table("heads", "Heads with the largest direct effects", columns, tuple(rows), note)


def mlp_table(main: DirectEffects, direct: DirectEffects) -> Table:
    """Direct effects of the MLPs, and what of them goes through later MLPs.

    Args:
        main: later MLPs recompute.
        direct: later MLPs are frozen.
    """
    last = main.score.value.shape[1] - 1
    rows: list[tuple[Cell, ...]] = []
    for layer in range(len(main.score.value)):
        one = Spread(
            np.asarray(main.score.value[layer, last]), main.score.replicates[:, layer, last], main.score.n
        ).measured
        rows.append((f"m{layer}", one.value, one.low, one.high, float(direct.score.value[layer, last]), one.n))
    return Table(
        "mlps", "Direct effects of MLPs", ("MLP", "s", "low", "high", "s, later MLPs frozen", "n"), tuple(rows)
    )


def attention_map(attention: AttentionByClass, heads: list[int], model: SubjectModel) -> Heatmap:
    """Attention of the found heads to each position class; the strongest head on top."""
    mean = attention.mass.mean(-1).reshape(-1, len(attention.classes))
    ordered = heads[::-1]
    names = tuple(head_name(model, head) for head in ordered)
    return Heatmap(
        "attention", "Attention of the last position by the found heads", names, attention.classes, mean[ordered],
        row_title="Head", column_title="position class",
    )  # fmt: skip


def _flat(spread: Spread) -> list[Measured]:
    heads = spread.value[:, :-1]
    return Spread(heads.reshape(-1), spread.replicates[:, :, :-1].reshape(len(spread.replicates), -1), spread.n).each()
