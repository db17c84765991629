"""The section of the validity page on a pretrained model."""

from collections import defaultdict

from arithloc.benchmark.storage.records import ScoreRecord
from arithloc.benchmark.validity.cells import AREA
from arithloc.benchmark.validity.grids import SHUFFLED
from arithloc.benchmark.validity.markdown import correlation, estimate, spread, table
from arithloc.benchmark.validity.pretrained import OnPretrained


def pretrained_section(found: OnPretrained) -> str:
    """Methods, wrong submissions and other conditions on one model."""
    cells = sorted(found.cells, key=lambda cell: -(cell.value(AREA) or 0.0))
    methods = [
        [cell.summary.title, estimate(cell.summary.scores[AREA]), estimate(cell.summary.scores.get("sparsity"))]
        for cell in cells
    ]
    shifts = [
        [what, correlation(one.agreement.spearman), correlation(one.agreement.kendall), f"{one.mean_spread:.2f}"]
        for what, one in (
            *((f"{name} ablation", one) for name, one in found.ablations.items()),
            *((f"{kind} pairs", one) for kind, one in found.kinds.items()),
        )
    ]
    null = found.null.summary.scores[AREA]
    return f"""## On a pretrained model: `{found.case.model}`

`{found.case.task}`, heads and MLPs, {len(found.null.full)} test pairs with {found.null.n_clusters} operand pairs. Nobody knows the circuit here; the one that is called *found* below is
the smallest circuit of `{SHUFFLED}` that recovers 90 %, {found.size:.1%} of the model.

{table(("method", "faithfulness area", "sparsity"), methods)}

{table(("submission", "faithfulness area"), [["random scores", estimate(null)], *_submissions(found)])}

The interval of the random row {"contains" if _contains_zero(null) else "does not contain"} 0. Submissions are not tuned to the discovery pairs here: backward elimination of n components
takes n^2 / 2 circuits.

{table(("condition", "Spearman", "Kendall tau-b", "change of area"), shifts)}
"""


def _submissions(found: OnPretrained) -> list[list[str]]:
    """One row a submission; several draws of one show mean, lowest and highest."""
    grouped: dict[str, list[ScoreRecord]] = defaultdict(list)
    for one in found.submitted:
        grouped[one.name].append(one.area)
    rows = []
    for name, areas in grouped.items():
        values = [area.value for area in areas if area.value is not None]
        rows.append([name, estimate(areas[0]) if len(areas) == 1 else f"{spread(values)} ({len(areas)} draws)"])
    return rows


def _contains_zero(area: ScoreRecord) -> bool:
    return area.low is not None and area.low <= 0
