"""Pictures and tables of maps."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from arithloc.benchmark.api.report import Cell, Curves, Heatmap, Section, Series, Table
from arithloc.benchmark.metrics.effects import summary
from arithloc.benchmark.metrics.measured import Spread, masked_means
from arithloc.methods.analyses.mediation.importance import relative_importance, relative_importance_floor
from arithloc.methods.analyses.mediation.maps import ATTENTION, MLP, ModuleMap, PairEffects

MODULES = {ATTENTION: "attention", MLP: "MLP"}


def map_section(found: ModuleMap, task: str) -> Section:
    """Both maps of one design, and every cell with its interval."""
    design = found.design
    effect = "log(1 + IE), without sign" if design.result_fixed else "mean of (d + d') / 2 in nats"
    ceiling = found.ceiling.ie if design.result_fixed else found.ceiling.signed
    text = (
        f"{design.title}: {task}, {len(found.pairs)} pairs. Each block alone takes its value from the clean run while the counterfactual prompt is run; shown is the "
        f"{effect}. The clean run itself has {np.log1p(ceiling.mean()) if design.result_fixed else ceiling.mean():.3g}."
    )
    cells = np.log1p(found.ie.value) if design.result_fixed else found.signed.value
    pictures = tuple(
        Heatmap(
            f"map_{_stem(design.id)}_{name.lower()}",
            f"{name} blocks: {design.title.lower()}",
            tuple(map(str, range(found.n_layers))),
            found.classes,
            cells[:, module],
            column_title="position class",
        )
        for module, name in ((MLP, "MLP"), (ATTENTION, "Attention"))
    )
    return Section(f"Map: {design.id}", text, pictures, (cell_table(found),))


def cell_table(found: ModuleMap) -> Table:
    """Every cell of a map with its interval, largest first; embeddings as layer -1."""
    n_layers, n_classes = found.n_layers, len(found.classes)
    labels = [(name, layer) for layer in range(n_layers) for name in MODULES.values()] + [("embedding", -1)]
    rows: list[tuple[float, tuple[Cell, ...]]] = []
    signed, ie = _with_embedding(found, "signed"), _with_embedding(found, "ie")
    means, raw = _spread(found, signed).each(), _spread(found, ie).each()
    for i, (mean, effect) in enumerate(zip(means, raw, strict=True)):
        (module, layer), c = labels[i // n_classes], i % n_classes
        location = summary(ie[i][found.has[c]])
        cells: tuple[Cell, ...] = (
            module, layer, found.classes[c], mean.value, mean.low, mean.high, effect.value, effect.low, effect.high,
            location.median, location.trimmed, int(found.has[c].sum()),
        )  # fmt: skip
        rows.append((-abs(effect.value if found.design.result_fixed else mean.value), cells))
    columns = (
        "module", "layer", "class", "effect", "low", "high", "IE", "IE low", "IE high", "median IE", "trimmed IE", "pairs",
    )  # fmt: skip
    note = "Effect: mean of (d + d') / 2. IE: the paper's indirect effect, whose mean one pair can carry: compare its median and its mean without the outer tenths."
    ordered = tuple(row for _, row in sorted(rows, key=lambda item: item[0]))
    return Table(f"cells_{_stem(found.design.id)}", f"All cells of {found.design.id}", columns, ordered, note)


def _with_embedding(found: ModuleMap, name: str) -> Float[ndarray, "cell pair"]:
    """Effects of all cells, layer by layer, module by module, class by class, those of the embedding last."""
    n_pairs = len(found.pairs)
    parts = [getattr(effects, name).reshape(-1, n_pairs) for effects in (found.effects, found.embedding)]
    return np.concatenate(parts)


def _spread(found: ModuleMap, values: Float[ndarray, "cell pair"]) -> Spread:
    return masked_means(values, np.tile(found.has, (len(values) // len(found.has), 1)), found.draws)


def importance_section(maps: Sequence[tuple[ModuleMap, str]]) -> Section:
    """Relative importance of the late MLPs at the last position in every design."""
    rows = []
    for found, task in maps:
        ri = relative_importance(found).measured
        rows.append((found.design.id, task, ri.value, ri.low, ri.high, ri.n, relative_importance_floor(found)))
    table = Table(
        "relative_importance",
        "Relative importance of the late MLPs at the last position",
        ("design", "task", "RI", "low", "high", "n", "RI as released"),
        tuple(rows),
        "RI: share of the sum of log(1 + IE) over all MLP cells that lies in the upper half of the blocks at the last position. As released: with cells under "
        "0.1 counted as 0.1, so that even a map without any effect has one.",
    )
    text = (
        "How much of what the MLPs carry is carried by those of the upper half at the last position. The paper reports about 40 % where the result changes, 4 % where "
        "it is fixed, and single digits for the controls, on another model: compare directions."
    )
    return Section("Relative importance", text, (), (table,))


def node_section(nodes: Sequence[tuple[str, str, Float[ndarray, "layer node pair"]]]) -> Section:
    """Maps of heads and MLPs.

    Args:
        nodes: file stem, title and effects of each map.
    """
    pictures = []
    for name, title, values in nodes:
        n_layers, n_nodes = values.shape[:2]
        columns = (*map(str, range(n_nodes - 1)), "MLP")
        pictures.append(
            Heatmap(name, title, tuple(map(str, range(n_layers))), columns, values.mean(-1), column_title="head")
        )
    text = "The same patches head by head: the paper patches whole attention blocks only. Shown is the mean of (d + d') / 2 in nats."
    return Section("Heads and MLPs", text, tuple(pictures))


def random_donor_section(found: ModuleMap, other: PairEffects, has: Bool[ndarray, " pair"]) -> Section:
    """Last-position MLPs patched from the pair's own clean run and from another pair."""
    layers = list(map(float, range(found.n_layers)))
    everywhere = np.broadcast_to(has, other.d.shape)
    own = masked_means(found.effects.signed[:, MLP, found.last], everywhere, found.draws)
    strange = masked_means(other.signed, everywhere, found.draws)
    picture = Curves(
        "random_donor",
        "MLPs at the last position: the pair's clean run against another pair",
        "Layer",
        "mean of (d + d') / 2 in nats",
        (
            Series.of("from the pair's clean run", layers, own.each()),
            Series.of("from another pair", layers, strange.each()),
        ),
    )
    text = "A patch from another pair with the same position classes cannot bring this pair's result: what it does to the two results is disturbance, not information."
    return Section("Random donors", text, (picture,))


def _stem(id: str) -> str:
    return id.replace("-", "_")
