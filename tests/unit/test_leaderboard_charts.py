import json
import warnings

import numpy as np
import pandas as pd
import pytest

from arithloc.leaderboard import charts

LONG = "a-method-whose-name-is-exactly-as-long-as-a-name-may-ever-be-abc"


def spec(chart):
    """The Vega-Lite specification, checked against its schema by Altair, with JSON-safe values."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        document = chart.to_dict()
    json.dumps(document, allow_nan=False)
    return document


def rows_of(document):
    """All data rows of a specification."""
    return [row for rows in document["datasets"].values() for row in rows]


def layer_of(document, mark):
    (found,) = [layer for layer in document["layer"] if layer["mark"]["type"] == mark]
    return found


def interval_frame(*values):
    return pd.DataFrame(
        {
            "label": [f"entry {i}" for i in range(len(values))],
            "value": [v for v, _, _ in values],
            "low": [low for _, low, _ in values],
            "high": [high for _, _, high in values],
            "shown": "text",
        }
    )


def curve_frame(n_entries, n_points=5):
    sizes = np.geomspace(0.004, 1.0, n_points)
    f = np.linspace(-0.2, 1.2, n_points)
    return pd.concat(
        [
            pd.DataFrame(
                {"entry": f"{LONG}-{e}", "size": sizes, "f": f, "f_low": f - 0.1, "f_high": f + 0.1, "n_components": range(n_points)}
            )
            for e in range(n_entries)
        ],
        ignore_index=True,
    )  # fmt: skip


def test_intervals_keep_the_order_of_the_frame_and_draw_both_ends():
    document = spec(charts.intervals(interval_frame((0.9, 0.8, 1.0), (0.2, 0.1, 0.3)), "faithfulness_area"))
    bar, tick = layer_of(document, "bar"), layer_of(document, "tick")
    assert (bar["encoding"]["x"]["field"], bar["encoding"]["x2"]["field"]) == ("low", "high")
    assert tick["encoding"]["x"]["field"] == "value"
    assert bar["encoding"]["y"]["sort"] == tick["encoding"]["y"]["sort"] == ["entry 0", "entry 1"]
    assert bar["encoding"]["x"]["title"] == tick["encoding"]["x"]["title"] == "Faithfulness area"


def test_shares_are_drawn_on_a_logarithmic_axis_and_other_scores_are_not():
    values = interval_frame((0.01, 0.005, 0.02))
    scales = {
        name: layer_of(spec(charts.intervals(values, name)), "tick")["encoding"]["x"]["scale"].get("type")
        for name in ("sparsity", "cmd")
    }
    assert scales == {"sparsity": "log", "cmd": None}


def test_values_without_interval_and_rows_without_value():
    frame = interval_frame((0.5, np.nan, np.nan), (np.nan, 0.1, 0.2))
    document = spec(charts.intervals(frame, "auroc", baseline=0.5))
    assert [layer["mark"]["type"] for layer in document["layer"]] == ["tick", "rule"]
    assert [row["label"] for row in rows_of(document) if "label" in row] == ["entry 0"]
    assert {"value": 0.5} in rows_of(document)


@pytest.mark.parametrize(("n_entries", "n_points"), [(1, 1), (1, 5), (8, 40)])
def test_curves_are_steps_with_bands_in_two_channels(n_entries, n_points):
    document = spec(charts.faithfulness_curve(curve_frame(n_entries, n_points)))
    line, band = layer_of(document, "line"), layer_of(document, "area")
    assert line["mark"]["interpolate"] == band["mark"]["interpolate"] == "step-after"
    assert line["encoding"]["x"]["scale"]["type"] == "log"
    assert line["encoding"]["color"]["field"] == line["encoding"]["strokeDash"]["field"] == "entry"
    dashes = line["encoding"]["strokeDash"]["scale"]["range"]
    assert len(dashes) == n_entries == len({tuple(dash) for dash in dashes})
    assert (band["encoding"]["y"]["field"], band["encoding"]["y2"]["field"]) == ("f_low", "f_high")
    levels = [row["level"] for row in rows_of(document) if "level" in row]
    assert levels == [0.0, 0.9, 1.0]


def test_long_names_stay_apart_when_they_are_shortened():
    document = spec(charts.faithfulness_curve(curve_frame(8)))
    names = {row["entry"] for row in rows_of(document) if "entry" in row}
    assert len(names) == 8
    assert max(map(len, names)) <= 28


def test_the_frame_of_a_curve_is_cut_where_f_runs_away():
    frame = curve_frame(1).assign(f_low=-50.0, f_high=50.0)
    line = layer_of(spec(charts.faithfulness_curve(frame)), "line")
    assert line["encoding"]["y"]["scale"]["domain"] == pytest.approx([-1.05, 2.55])
    assert line["mark"]["clip"] is True


def test_a_curve_names_the_smallest_size_that_reaches_nine_tenths():
    frame = pd.DataFrame(
        {"entry": ["a", "a", "b"], "size": [0.01, 0.1, 0.1], "f": [0.5, 0.9, 0.8], "f_low": np.nan, "f_high": np.nan, "n_components": 1}
    )  # fmt: skip
    assert "a (0.9 reached at 0.10) and b (0.9 reached at no size)" in str(charts.faithfulness_curve(frame).description)


def test_points_without_f_are_left_out():
    frame = curve_frame(1)
    frame.loc[0, ["f", "f_low", "f_high"]] = np.nan
    document = spec(charts.faithfulness_curve(frame))
    assert len([row for row in rows_of(document) if "size" in row]) == 4


def test_heatmap_puts_layer_0_at_the_bottom_and_the_mlp_apart():
    grid = pd.DataFrame(
        {"layer": [0, 0, 0, 1, 1, 1], "slot": ["0", "1", "MLP"] * 2, "score": [1.0, -3.0, 0, 0, 2, 0], "component": list("abcdef")}
    )  # fmt: skip
    chart = charts.heat_layer_slot(grid, ["0", "1", "MLP"], x_title="Head")
    encoding = spec(chart)["encoding"]
    assert encoding["y"]["sort"] == "descending"
    assert encoding["x"]["scale"]["domain"] == ["0", "1", " ", "MLP"]
    assert encoding["color"]["scale"] == {"domain": [-3.0, 3.0], "domainMid": 0}
    assert "strongest is b with -3" in str(chart.description)


def test_heatmap_of_equal_zero_scores_has_a_scale():
    grid = pd.DataFrame({"layer": [0], "slot": ["attention"], "score": [0.0], "component": ["a0"]})
    encoding = spec(charts.heat_layer_slot(grid, ["attention", "MLP"], x_title="Block"))["encoding"]
    assert encoding["color"]["scale"]["domain"] == [-1.0, 1.0]
    assert encoding["x"]["scale"]["domain"] == ["attention", "MLP"]


def test_neurons_are_counted_by_layer():
    chart = charts.layer_counts(pd.DataFrame({"layer": [0, 1], "n": [3, 12]}), 15)
    assert spec(chart)["encoding"]["y"]["title"] == "Of the 15 strongest neurons"
    assert "most, 12, in layer 1" in str(chart.description)


def test_roc_and_precision_recall_share_their_look():
    points = pd.DataFrame({"entry": "a", "i": [0, 1], "fpr": [0.0, 1.0], "tpr": [0.0, 1.0], "recall": [0.0, 1.0], "precision": [1.0, 0.5]})  # fmt: skip
    roc = spec(charts.roc(points, pd.DataFrame({"fpr": [0.0, 1.0], "low": 0.0, "high": 1.0})))
    assert layer_of(roc, "line")["encoding"]["x"]["field"] == "fpr"
    curve = charts.precision_recall(points, pd.DataFrame({"recall": [0.5, 1.0], "low": 0.0, "high": 1.0}), 0.25)
    line = layer_of(spec(curve), "line")
    assert line["encoding"]["y"]["field"] == "precision"
    assert line["encoding"]["order"]["field"] == "i"
    assert "chance is 0.25" in str(curve.description)


def test_circuit_grid_marks_each_state_with_a_sign_of_its_own():
    states = ["found", "missed", "extra", "left out", "undecided"]
    found = pd.DataFrame(
        {"layer": 0, "slot": list("01234"), "component": list("abcde"), "state": states, "role": "", "score": 1.0}
    )
    chart = charts.circuit_grid(found)
    rows = rows_of(spec(chart))
    assert len({row["mark"] for row in rows}) == 5
    assert "1 found, 1 missed, 1 extra" in str(chart.description)
