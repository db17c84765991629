"""Charts of the board: pure functions from a frame to an Altair chart, whose `description` is its accessible name.

Colours come from the theme; entries differ in dash as well as in colour. No function expects an empty frame: a page
shows a sentence instead.
"""

from typing import Any

import altair as alt
import pandas as pd

from arithloc.leaderboard.text import counted, listed, number, score_text, shortened

_LABEL_WIDTH = 170
_DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 1], [10, 4], [1, 3], [6, 2, 1, 2, 1, 2]]
_GAP = " "

Chart = alt.Chart | alt.LayerChart | alt.FacetChart


def intervals(frame: pd.DataFrame, score: str, *, baseline: float | None = None) -> Chart:
    """Values with their 95 % intervals, one row each, in the order of the frame.

    Args:
        frame: columns `label` (unique), `value`, `low`, `high`, `shown` (the text of the tooltip).
        score: name of the score; shares are drawn on a logarithmic axis.
        baseline: where chance lies, drawn as a dashed line.
    """
    text = score_text(score)
    data = frame.dropna(subset=["value"])
    scale = alt.Scale(type="log") if text.share else alt.Scale(zero=False, nice=True)
    x_axis = alt.Axis(format=".2~r" if text.share else f".{max(text.digits, 1)}f", tickCount=6, labelOverlap=True)
    y = alt.Y(
        "label:N",
        sort=list(frame["label"]),
        title=None,
        axis=alt.Axis(labelLimit=_LABEL_WIDTH, labelOverlap=False, ticks=False, domain=False, labelPadding=8),
    )
    tooltip = [alt.Tooltip("label:N", title="Entry"), alt.Tooltip("shown:N", title=text.label)]
    title = f"{text.label}, share of edges" if text.share else text.label
    value = alt.Chart(data).mark_tick(thickness=3, size=15, opacity=1)
    layers: list[alt.Chart] = [
        value.encode(x=alt.X("value:Q", scale=scale, title=title, axis=x_axis), y=y, tooltip=tooltip)
    ]
    bounded = data.dropna(subset=["low", "high"])
    if len(bounded):
        bars = alt.Chart(bounded).mark_bar(size=7, opacity=0.4)
        layers.insert(
            0, bars.encode(x=alt.X("low:Q", scale=scale, title=title, axis=x_axis), x2="high:Q", y=y, tooltip=tooltip)
        )
    if baseline is not None:
        rule = pd.DataFrame({"value": [baseline]})
        layers.append(
            alt.Chart(rule)
            .mark_rule(strokeDash=[4, 4], color="gray")
            .encode(x=alt.X("value:Q", scale=scale, title=title, axis=x_axis))
        )
    first, last = data["label"].iloc[0], data["label"].iloc[-1]
    return alt.layer(*layers).properties(
        height=28 * len(data) + 80,
        description=f"{text.label} with 95 % intervals, {counted(len(data), 'row')} from {first} to {last}",
    )


def faithfulness_curve(points: pd.DataFrame, *, y_title: str = "Faithfulness f") -> Chart:
    """Faithfulness over realised circuit size, one step line with a 95 % band per entry.

    The line is a step to the right: between two evaluated circuits the smaller one counts, as in the area score.

    Args:
        points: columns `entry`, `size` in (0, 1], `f`, `f_low`, `f_high`, `n_components`; at most eight entries.
        y_title: name of the vertical axis.
    """
    data = points.dropna(subset=["f"]).assign(entry=lambda d: d["entry"].map(shortened))
    names = list(dict.fromkeys(data["entry"]))
    low = data["f_low"].fillna(data["f"]).min()
    high = data["f_high"].fillna(data["f"]).max()
    y_scale = alt.Scale(domain=[max(min(low, 0.0), -1.0) - 0.05, min(max(high, 1.0), 2.5) + 0.05], nice=False)
    x_scale = alt.Scale(
        type="log", domain=[min(data["size"].min(), 0.5) * 0.9, max(data["size"].max(), 0.5)], nice=False
    )
    x_axis = alt.Axis(format=".2~r", tickCount=5, labelOverlap=True)
    chosen = alt.selection_point(fields=["entry"], bind="legend", name="entry")
    faded = alt.condition(chosen, alt.value(1.0), alt.value(0.12))
    legend = _legend()
    colour = alt.Color("entry:N", sort=names, legend=legend if len(names) > 1 else None)
    dash = alt.StrokeDash(
        "entry:N",
        sort=names,
        scale=alt.Scale(domain=names, range=_DASHES[: len(names)]),
        legend=legend if len(names) > 1 else None,
    )
    x = alt.X("size:Q", scale=x_scale, axis=x_axis, title="Circuit size, share of edges")
    tooltip: list[Any] = [
        alt.Tooltip("entry:N", title="Entry"),
        alt.Tooltip("size:Q", title="Size", format=".3g"),
        alt.Tooltip("n_components:Q", title="Components", format=","),
        alt.Tooltip("f:Q", title="f", format=".2f"),
        alt.Tooltip("f_low:Q", title="95 % from", format=".2f"),
        alt.Tooltip("f_high:Q", title="to", format=".2f"),
    ]
    base = alt.Chart(data)
    band = base.mark_area(interpolate="step-after", clip=True).encode(
        x=x,
        y=alt.Y("f_low:Q", scale=y_scale, title=y_title),
        y2="f_high:Q",
        color=colour,
        opacity=alt.condition(chosen, alt.value(0.2), alt.value(0.03)),
    )
    line = base.mark_line(interpolate="step-after", clip=True, strokeWidth=2).encode(
        x=x, y=alt.Y("f:Q", scale=y_scale, title=y_title), color=colour, strokeDash=dash, opacity=faded
    )
    marks = base.mark_point(filled=True, size=34, clip=True).encode(
        x=x, y=alt.Y("f:Q", scale=y_scale, title=y_title), color=colour, opacity=faded, tooltip=tooltip
    )
    levels = (
        alt.Chart(pd.DataFrame({"level": [0.0, 0.9, 1.0]}))
        .mark_rule(strokeDash=[2, 3], color="gray")
        .encode(y=alt.Y("level:Q", scale=y_scale, title=y_title))
    )
    chart: Chart = (
        alt.layer(levels, band, line, marks.add_params(chosen))
        .properties(
            height=380 + _legend_height(names), description=f"{y_title} over circuit size for {_reached(data, names)}"
        )
        .resolve_legend(color="shared", strokeDash="shared")
    )
    return chart


def _legend() -> alt.Legend:
    return alt.Legend(
        orient="bottom", columns=1, title=None, labelLimit=320, symbolType="stroke", symbolSize=600,
        symbolOpacity=1, symbolStrokeWidth=2.5, rowPadding=5,
    )  # fmt: skip


def _legend_height(names: list[str]) -> int:
    """The chart's height counts the legend below it."""
    return 21 * len(names) if len(names) > 1 else 0


def _reached(data: pd.DataFrame, names: list[str]) -> str:
    """The entries of a curve with the smallest size at which each reaches 0.9."""
    parts = []
    for name in names:
        reached = data[(data["entry"] == name) & (data["f"] >= 0.9)]["size"]
        share = number(reached.min(), score_text("sparsity")) if len(reached) else "no size"
        parts.append(f"{name} (0.9 reached at {share})")
    return listed(parts)


def heat_layer_slot(grid: pd.DataFrame, slots: list[str], *, x_title: str) -> Chart:
    """Component scores as layer by slot, layer 0 at the bottom, colours centred at 0.

    Args:
        grid: columns `layer`, `slot`, `score`, `component`.
        slots: slots from left to right; `MLP` is set apart by a gap.
        x_title: name of the horizontal axis.
    """
    data = grid.assign(slot=grid["slot"].astype(str))
    columns = [s for slot in slots for s in ((_GAP, slot) if slot == "MLP" and len(slots) > 2 else (slot,))]
    n_layers = int(data["layer"].max()) + 1
    top = float(data["score"].abs().max()) or 1.0
    strongest = data.iloc[int(data["score"].abs().to_numpy().argmax())]
    chart: Chart = (
        alt.Chart(data)
        .mark_rect()
        .encode(
            x=alt.X(
                "slot:N",
                scale=alt.Scale(domain=columns, paddingInner=0.06, paddingOuter=0),
                title=x_title,
                axis=alt.Axis(labelAngle=0, labelOverlap=True, ticks=False, domain=False, grid=False),
            ),
            y=alt.Y(
                "layer:O",
                sort="descending",
                scale=alt.Scale(paddingInner=0.06, paddingOuter=0),
                title="Layer",
                axis=alt.Axis(ticks=False, domain=False, grid=False, labelOverlap=True),
            ),
            color=alt.Color(
                "score:Q",
                scale=alt.Scale(domain=[-top, top], domainMid=0),
                legend=alt.Legend(orient="bottom", title="Component score", gradientLength=220, format=".2~r"),
            ),
            tooltip=[
                alt.Tooltip("component:N", title="Component"),
                alt.Tooltip("score:Q", title="Score", format=".4g"),
            ],
        )
        .properties(
            height=max(min(26 * n_layers, 520), 110) + 140,
            description=f"Component scores by layer and {x_title.lower()}; strongest is {strongest['component']} with {strongest['score']:.3g}",
        )
    )
    return chart


_STATES = {"found": "●", "missed": "○", "extra": "+", "left out": "", "undecided": "?"}


def circuit_grid(found: pd.DataFrame) -> Chart:
    """An entry's circuit of the true size against the proven one, layer 0 at the bottom.

    Args:
        found: columns `layer`, `slot`, `component`, `state` (a key of the legend), `role`, `score`.
    """
    data = found.assign(slot=found["slot"].astype(str), mark=found["state"].map(_STATES))
    slots = list(dict.fromkeys(data["slot"]))
    counts = data["state"].value_counts()
    x = alt.X(
        "slot:N",
        sort=slots,
        title="Head",
        scale=alt.Scale(paddingInner=0.08, paddingOuter=0),
        axis=alt.Axis(labelAngle=0, ticks=False, domain=False, grid=False),
    )
    y = alt.Y(
        "layer:O",
        sort="descending",
        title="Layer",
        scale=alt.Scale(paddingInner=0.08, paddingOuter=0),
        axis=alt.Axis(ticks=False, domain=False, grid=False),
    )
    colour = alt.Color(
        "state:N",
        scale=alt.Scale(domain=list(_STATES), range=["#009E73", "#E69F00", "#D55E00", "#9AA5AE", "#CFC4DA"]),
        legend=alt.Legend(orient="bottom", columns=3, title=None),
    )
    tooltip: list[Any] = ["component:N", "state:N", "role:N", alt.Tooltip("score:Q", format=".4g")]
    base = alt.Chart(data).encode(x=x, y=y, tooltip=tooltip)
    cells = base.mark_rect().encode(
        color=colour, opacity=alt.condition("datum.state == 'left out'", alt.value(0.25), alt.value(0.9))
    )
    marks = base.mark_text(fontSize=16, fontWeight="bold", color="black").encode(text="mark:N")
    return alt.layer(cells, marks).properties(
        height=max(min(44 * data["layer"].nunique(), 520), 110) + 120,
        description=f"Circuit of the entry against the proven one: {counts.get('found', 0)} found, "
        f"{counts.get('missed', 0)} missed, {counts.get('extra', 0)} extra",
    )


def layer_counts(counts: pd.DataFrame, n_top: int) -> Chart:
    """How many of the strongest neurons lie in each layer.

    Args:
        counts: columns `layer`, `n`.
        n_top: how many neurons were counted.
    """
    peak = counts.iloc[int(counts["n"].to_numpy().argmax())]
    chart: Chart = (
        alt.Chart(counts)
        .mark_bar()
        .encode(
            x=alt.X("layer:O", title="Layer", axis=alt.Axis(labelAngle=0, labelOverlap=True)),
            y=alt.Y("n:Q", title=f"Of the {n_top:,} strongest neurons", axis=alt.Axis(format="d", tickMinStep=1)),
            tooltip=[alt.Tooltip("layer:O", title="Layer"), alt.Tooltip("n:Q", title="Neurons")],
        )
        .properties(
            height=260,
            description=f"Layers of the {n_top} strongest neurons; most, {int(peak['n'])}, in layer {int(peak['layer'])}",
        )
    )
    return chart


def roc(points: pd.DataFrame, band: pd.DataFrame) -> Chart:
    """Receiver operating characteristic against the proven circuit, with the band of random scores.

    Args:
        points: columns `entry`, `fpr`, `tpr`, starting at (0, 0).
        band: columns `fpr`, `low`, `high`: where 95 % of random orders lie.
    """
    return _truth_lines(
        points,
        band,
        x=("fpr", "False positive rate"),
        y=("tpr", "True positive rate"),
        interpolate="linear",
        description=f"ROC against the proven circuit of {listed(list(dict.fromkeys(points['entry'])))}",
    )


def precision_recall(points: pd.DataFrame, band: pd.DataFrame, share: float) -> Chart:
    """Precision over recall of the proven circuit, with the band of random scores.

    Args:
        points: columns `entry`, `recall`, `precision`.
        band: columns `recall`, `low`, `high`: where 95 % of random orders lie.
        share: share of positives, the precision of chance.
    """
    return _truth_lines(
        points,
        band,
        x=("recall", "Recall"),
        y=("precision", "Precision"),
        interpolate="step-before",
        description=f"Precision over recall of the proven circuit; chance is {share:.2f}",
    )


def _truth_lines(
    points: pd.DataFrame,
    band: pd.DataFrame,
    *,
    x: tuple[str, str],
    y: tuple[str, str],
    interpolate: Any,
    description: str,
) -> Chart:
    data = points.assign(entry=points["entry"].map(shortened))
    names = list(dict.fromkeys(data["entry"]))
    unit = alt.Scale(domain=[0, 1])
    legend = _legend()
    chosen = alt.selection_point(fields=["entry"], bind="legend", name="entry")
    area = (
        alt.Chart(band)
        .mark_area(opacity=0.16, color="gray")
        .encode(x=alt.X(f"{x[0]}:Q", scale=unit, title=x[1]), y=alt.Y("low:Q", scale=unit, title=y[1]), y2="high:Q")
    )
    lines = (
        alt.Chart(data)
        .mark_line(interpolate=interpolate, strokeWidth=2.2)
        .encode(
            x=alt.X(f"{x[0]}:Q", scale=unit, title=x[1]),
            y=alt.Y(f"{y[0]}:Q", scale=unit, title=y[1]),
            order="i:Q",
            color=alt.Color("entry:N", sort=names, legend=legend),
            strokeDash=alt.StrokeDash(
                "entry:N", sort=names, legend=legend, scale=alt.Scale(domain=names, range=_DASHES[: len(names)])
            ),
            opacity=alt.condition(chosen, alt.value(1.0), alt.value(0.12)),
            tooltip=["entry:N", alt.Tooltip(f"{x[0]}:Q", format=".2f"), alt.Tooltip(f"{y[0]}:Q", format=".2f")],
        )
    )
    return alt.layer(area, lines.add_params(chosen)).properties(
        height=320 + _legend_height(names), description=description
    )
