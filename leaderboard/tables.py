"""Display tables: pure functions from query frames to frames of ready text, one column per heading. No Streamlit."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from arithloc.leaderboard.text import (
    MISSING,
    ScoreText,
    duration,
    interval,
    moment,
    number,
    plain,
    rank,
    score_text,
    shortened,
    size_of,
)

MAIN_SCORES = ("faithfulness_area", "sparsity", "completeness_area", "auroc", "average_precision", "cpr", "cmd")
"""Scores that have a column of their own, in this order, where there are any values."""

TRUTH_SCORES = ("auroc", "average_precision", "precision_at_true_size", "faithfulness_area")
"""Columns of the table of known circuits."""


def entry_link(entry_id: str) -> str:
    """Address of an entry's page, relative to the board."""
    return f"entry?id={entry_id}"


def score_columns(rows: pd.DataFrame, scores: Sequence[str]) -> pd.DataFrame:
    """One text column `value [low, high]` per score that has any value, or says that it was not reached.

    A row without any score, as of a failed cell, stays empty.

    Args:
        rows: columns `<score>`, `<score>.low`, `<score>.high`.
        scores: which, in order.
    """
    measured = rows[[name for name in rows if f"{name}.low" in rows]].notna().any(axis=1)
    columns = {}
    for name in scores:
        text = score_text(name)
        if name in rows and (rows[name].notna().any() or (text.unreached and measured.any())):
            shown = pd.Series(
                _intervals(rows, (name, f"{name}.low", f"{name}.high"), text), index=rows.index, dtype=str
            )
            columns[text.label] = shown.where(measured, MISSING)
    return pd.DataFrame(columns, index=rows.index)


def with_scores(rows: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Rows of a board with the values of other boards beside them, as columns `<score>`, `<score>.low`, `<score>.high`.

    Args:
        rows: column `entry_id`.
        others: by score, rows with `entry_id`, `value`, `low`, `high`.
    """
    for name, other in others.items():
        renamed = other[["entry_id", "value", "low", "high"]].rename(
            columns={"value": name, "low": f"{name}.low", "high": f"{name}.high"}
        )
        rows = rows.merge(renamed, on="entry_id", how="left")
    return rows


def board_table(rows: pd.DataFrame, scores: Sequence[str]) -> pd.DataFrame:
    """A board as it is shown; without ranks for entries that have none.

    Args:
        rows: columns `entry_id`, `label`, `access`, `done`, `required`, `wall_s`, for each score `<score>`,
            `<score>.low`, `<score>.high`, and for ranked ones `rank_low`, `rank_high`, `tied`.
        scores: what it is ranked by first, then the others.
    """
    numbers = score_columns(rows, scores)
    columns: dict[str, Iterable[object]] = {"Entry": rows["label"]}
    if "rank_low" in rows:
        columns["Rank"] = [rank(int(a), int(b)) for a, b in zip(rows["rank_low"], rows["rank_high"], strict=True)]
    columns |= {name: numbers[name] for name in numbers.columns[:1]}
    if "tied" in rows:
        columns["Tied with"] = [str(len(names)) if names else "" for names in rows["tied"]]
    columns |= {name: numbers[name] for name in numbers.columns[1:]}
    return pd.DataFrame(
        columns
        | {
            "Time": rows["wall_s"].map(duration),
            "Access": rows["access"].map(plain),
            "Cells": [f"{done} of {required}" for done, required in zip(rows["done"], rows["required"], strict=True)],
            "Page": rows["entry_id"].map(entry_link),
        }
    )


def rank_rows(rows: pd.DataFrame, score: str) -> pd.DataFrame:
    """Rows of the interval chart of a board: the rank interval stands before the name."""
    labels = [
        f"{rank(int(low), int(high))}  {shortened(label, 22)}"
        for low, high, label in zip(rows["rank_low"], rows["rank_high"], rows["label"], strict=True)
    ]
    values = rows.rename(columns={"value": score, "low": f"{score}.low", "high": f"{score}.high"})
    return interval_rows(pd.Series(labels), values, score)


def wide_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Long scores (`key`, `name`, `value`, `low`, `high`) as one row per cell, with `<score>`, `.low`, `.high`."""
    parts = []
    for column, suffix in (("value", ""), ("low", ".low"), ("high", ".high")):
        part = scores.pivot(index="key", columns="name", values=column)
        part.columns = pd.Index([f"{name}{suffix}" for name in part.columns])
        parts.append(part)
    return pd.concat(parts, axis=1)


def cell_labels(cells: pd.DataFrame) -> list[str]:
    """One line per cell of one entry: task and model, and the other coordinates only where they differ.

    Args:
        cells: columns `task`, `model`, `granularity`, `ablation`, `positions_json`, `seed`, `key`.
    """
    return _labels(cells, ["task", "model"], ["granularity", "ablation"])


def entry_labels(cells: pd.DataFrame) -> list[str]:
    """One line per cell of one task and model: the entry, and the other coordinates only where they differ."""
    return _labels(cells, ["entry"], [])


def best_first(cells: pd.DataFrame, scores: pd.DataFrame, name: str) -> pd.DataFrame:
    """Cells in the order of a score, higher first; those without a value come last."""
    values = scores[scores["name"] == name].set_index("key")["value"].astype(float)
    order = cells["key"].map(values).sort_values(ascending=False, kind="stable", na_position="last").index
    return cells.loc[order]


def cells_table(cells: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The cells of one entry with their main scores.

    Args:
        cells: as the query gives them, with a column `label`.
        scores: long scores of the finished ones.
    """
    return _scored(cells, scores, {"Cell": cells["label"]})


def task_table(cells: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The cells of one task and model with their main scores: as `cells_table`, with a link to each entry."""
    table = _scored(cells, scores, {"Entry": cells["label"]})
    return table.assign(Page=cells["entry_id"].map(entry_link))


def truth_table(cells: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Scores of cells against a proven circuit, with a link to each entry."""
    wide = wide_scores(scores).reindex(cells["key"])
    wide.index = cells.index
    first = pd.DataFrame({"Entry": cells["label"]})
    numbers = score_columns(wide, TRUTH_SCORES)
    return pd.concat([first, numbers, pd.DataFrame({"Page": cells["entry_id"].map(entry_link)})], axis=1)


def roles_table(found: pd.DataFrame) -> pd.DataFrame:
    """Components that are in the proven circuit or in the entry's, missed ones first."""
    kept = found[found["state"].isin(("missed", "extra", "found"))]
    order = kept["state"].map({"missed": 0, "extra": 1, "found": 2}).sort_values(kind="stable").index
    kept = kept.loc[order]
    return pd.DataFrame(
        {
            "Component": kept["component"],
            "State": kept["state"],
            "Role": kept["role"],
            "Score": [f"{value:.3g}" for value in kept["score"]],
        }
    )


def _scored(cells: pd.DataFrame, scores: pd.DataFrame, first: dict[str, pd.Series]) -> pd.DataFrame:
    wide = wide_scores(scores).reindex(cells["key"])
    wide.index = cells.index
    last = {
        "Status": cells["status"],
        "Pairs": cells["n_evaluation"],
        "Time to localize": cells["wall_localize_s"].map(duration),
        "Time to score": cells["wall_score_s"].map(duration),
        "Memory": cells["peak_host_bytes"].map(size_of),
    }
    return pd.concat(
        [pd.DataFrame(first), score_columns(wide, MAIN_SCORES), pd.DataFrame(last, index=cells.index)], axis=1
    )


def interval_rows(labels: pd.Series, wide: pd.DataFrame, score: str) -> pd.DataFrame:
    """Rows of an interval chart: `label`, `value`, `low`, `high`, `shown`; rows without a value are left out.

    Args:
        labels: one per row of `wide`, in the same order.
        wide: columns `<score>`, `<score>.low`, `<score>.high`.
        score: which.
    """
    text = score_text(score)
    if score not in wide:
        return pd.DataFrame(columns=["label", "value", "low", "high", "shown"])
    rows = pd.DataFrame(
        {
            "label": _unique([shortened(label) for label in labels]),
            "value": wide[score].to_numpy(),
            "low": wide[f"{score}.low"].to_numpy(),
            "high": wide[f"{score}.high"].to_numpy(),
        }
    ).astype({"value": float, "low": float, "high": float})
    rows["shown"] = _intervals(rows, ("value", "low", "high"), text)
    return rows.dropna(subset=["value"])


def points_table(points: pd.DataFrame) -> pd.DataFrame:
    """Curve points as they are shown."""
    size, ratio = score_text("sparsity"), score_text("f")
    return pd.DataFrame(
        {
            "Curve": points["entry"],
            "Components": points["n_components"],
            "Size": [number(value, size) for value in points["size"]],
            "f": _intervals(points, ("f", "f_low", "f_high"), ratio),
            "Accuracy": [number(value, ratio) for value in points["accuracy"]],
            "KL": [number(value, ratio) for value in points["kl"]],
        }
    )


def circuit_tests_table(tests: pd.DataFrame) -> pd.DataFrame:
    """Tests of a circuit as they are shown; `n` counts clusters, draws or runs, whichever the test is made of."""
    shown = [
        interval(value, low, high, ScoreText("")) if pd.notna(low) else MISSING if pd.isna(value) else f"{value:.3g}"
        for value, low, high in zip(tests["value"], tests["low"], tests["high"], strict=True)
    ]
    return pd.DataFrame(
        {
            "Test": [score_text(name).label for name in tests["name"]],
            "Value": shown,
            "n": ["" if n == 0 else str(n) for n in tests["n"]],
            "Better": tests["direction"],
            "Remark": [plain(remark.strip(", ")) for remark in tests["remark"]],
        }
    )


def named(points: pd.DataFrame, keys: Mapping[str, str]) -> pd.DataFrame:
    """Points of curves with the name of their cell in the column `entry`, in the order of the names.

    Args:
        points: column `key`, the points of one cell in order.
        keys: cell keys by name.
    """
    names = {key: name for name, key in keys.items()}
    place = points["key"].map({key: i for i, key in enumerate(names)})
    return points.assign(entry=points["key"].map(names)).loc[place.sort_values(kind="stable").index]


def strongest_table(strongest: pd.DataFrame) -> pd.DataFrame:
    """The strongest components of a cell, strongest first."""
    return pd.DataFrame(
        {
            "Place": strongest["place"],
            "Component": strongest["component"],
            "Score": [f"{value:.3g}" for value in strongest["score"]],
        }
    )


def attempts_table(attempts: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Every try at the cells of one entry, failures with what went wrong."""
    of_key = cells.set_index("key")
    tried = of_key.loc[attempts["key"]].reset_index()
    return pd.DataFrame(
        {
            "Cell": tried["task"] + " · " + tried["model"],
            "Components": tried["granularity"],
            "Ablation": tried["ablation"],
            "Seed": tried["seed"],
            "Try": attempts["number"],
            "Status": attempts["status"],
            "Error": attempts["error_type"].map(plain),
            "Message": attempts["error_message"].map(plain),
            "Device": attempts["device"],
            "Ended": attempts["finished_at"].map(moment),
        }
    )


def raw_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One page of the raw results."""
    text = score_text("faithfulness_area")
    return pd.DataFrame(
        {
            "Entry": rows["entry"],
            "Task": rows["task"],
            "Model": rows["model"],
            "Components": rows["granularity"],
            "Ablation": rows["ablation"],
            "Seed": rows["seed"],
            "Status": rows["status"],
            text.label: _intervals(rows, ("value", "low", "high"), text),
            "Error": [
                f"{plain(kind)}: {plain(message)}" if kind else ""
                for kind, message in zip(rows["error_type"], rows["error_message"], strict=True)
            ],
            "Attempts": rows["attempts"],
            "Time to localize": rows["wall_localize_s"].map(duration),
            "Time to score": rows["wall_score_s"].map(duration),
            "Device": rows["device"],
            "Ended": rows["finished_at"].map(moment),
            "Page": rows["entry_id"].map(entry_link),
        }
    )


def _labels(cells: pd.DataFrame, always: list[str], where_varying: list[str]) -> list[str]:
    parts = [*always, *(name for name in where_varying if cells[name].nunique() > 1)]
    names = [" · ".join(str(cell[name]) for name in parts) for cell in cells.to_dict("records")]
    if cells["positions_json"].nunique() > 1:
        names = [
            name if positions == "[]" else f"{name} · by position"
            for name, positions in zip(names, cells["positions_json"], strict=True)
        ]
    if cells["seed"].nunique() > 1:
        names = [f"{name} · seed {seed}" for name, seed in zip(names, cells["seed"], strict=True)]
    return [
        name if names.count(name) == 1 else f"{name} · {key[:8]}" for name, key in zip(names, cells["key"], strict=True)
    ]


def _intervals(rows: pd.DataFrame, columns: tuple[str, str, str], text: ScoreText) -> list[str]:
    value, low, high = columns
    return [interval(*numbers, text) for numbers in zip(rows[value], rows[low], rows[high], strict=True)]


def _unique(names: list[str]) -> list[str]:
    """Names of which none is there twice: a chart would draw two rows in one place."""
    return [
        name if names.index(name) == i else f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)
    ]
