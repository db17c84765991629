"""Sections on the steps and on the rift."""

from collections.abc import Mapping, Sequence

import numpy as np

from arithloc.benchmark.api.report import Curves, Section, Series, Table
from arithloc.benchmark.metrics.bootstrap import Resamples
from arithloc.benchmark.metrics.measured import Spread
from arithloc.methods.analyses.cot.rift import EXPECTED, Readings, crossing
from arithloc.methods.analyses.cot.subtasks import GATE, SubTask


def steps_section(asked: Sequence[SubTask]) -> Section:
    """What the model solves."""
    rows = tuple(
        (
            one.name,
            one.discovery.drawn + one.test.drawn,
            one.clean,
            one.counterfactual,
            len(one.discovery.pairs),
            len(one.test.pairs),
            one.reason or "analysed",
        )
        for one in asked
    )
    columns = ("step", "drawn", "clean", "counterfactual", "discovery", "test", "verdict")
    note = (
        "Accuracy among the words that could stand there; of the counterfactual prompts on the pairs whose clean prompt is answered. "
        "Steps 4, 8 and 12 have no counterfactual with one right answer and are not scored."
    )
    text = f"A step is analysed where the model answers {GATE:.0%} of the clean and of the counterfactual prompts."
    return Section("Steps", text, (), (Table("steps", "Steps of the chain", columns, rows, note),))


def rift_section(found: Mapping[str, Readings], draws: Resamples) -> Section:
    """Shares by level for each text. The texts have one prompt for each pair of the draws."""
    series, rows = [], []
    for name, readings in found.items():
        if not len(readings.prompt):
            continue
        value, replicates = readings.shares(draws)
        levels = np.arange(value.shape[1], dtype=np.float64)
        for place, share in enumerate(("follows in the prompt", "follows in general")):
            one = Spread(value[place], replicates[:, place], draws.n_clusters)
            series.append(Series.of(f"{name}: {share}", levels.tolist(), one.each()))
        where, width = (one.measured for one in crossing(readings, draws))
        rows.append(
            (name, len(readings.prompt), where.value, where.low, where.high, width.value, width.low, width.high)
        )
    columns = ("text", "places", "rift_level", "rift_low", "rift_high", "width", "width_low", "width_high")
    table = Table(
        "rift", "Where the prompt takes over", columns, tuple(rows), "NaN: it does not, or not in the resamples."
    )
    text = (
        "Places whose token has occurred before with another successor than the one that the model expects after the token alone. "
        f"Shown is how often the logit lens' first token is an earlier successor, and how often it is among the {EXPECTED} expected ones. "
        "The rift is the first level from which on the former stays above the latter."
    )
    curve = Curves("rift_levels", "What the lens says", "Level", "Share of the places", tuple(series))
    return Section("Rift", text, (curve,), (table,))
