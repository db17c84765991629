"""The validity page: agreement worked by hand, planted orders, and a page that holds what was found."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from arithloc.benchmark.metrics.area import faithfulness_area
from arithloc.benchmark.metrics.estimate import Estimate
from arithloc.benchmark.storage.queries import CellSummary
from arithloc.benchmark.storage.records import ScoreRecord, Status
from arithloc.benchmark.validity.agreement import agreement, halves, separation, shift, with_truth
from arithloc.benchmark.validity.cells import Measured
from arithloc.benchmark.validity.findings import Findings, MethodTruth, Proven, Question, TierAgreement
from arithloc.benchmark.validity.grids import BASE, PARTS, STRESS, VARIED, Pretrained
from arithloc.benchmark.validity.page import page
from arithloc.benchmark.validity.page_pretrained import pretrained_section
from arithloc.benchmark.validity.pretrained import OnPretrained
from arithloc.benchmark.validity.submissions import Submitted

SIZES = np.array([0.01, 0.1])


def cell(title, share, *, n=40, noise=0.0, auroc=0.5, seed=0, **scores):
    """A method that recovers `share` of the effect at both sizes, one pair per cluster."""
    rng = np.random.default_rng(seed)
    full, empty = np.full(n, 2.0), np.full(n, 0.0)
    kept = 2 * share + noise * rng.normal(size=(2, n))
    area = float(faithfulness_area(kept.mean(axis=1) / 2, SIZES, 0.001))
    values = {"faithfulness_area": area, "auroc": auroc, **scores}
    summary = CellSummary(
        key=title.encode().hex().ljust(64, "0")[:64], entry_id=title, title=title, sanity=False, method=title,
        task="toy-arith", task_options={"kind": "operands"}, model="toy", granularity="node", positions=(),
        ablation="counterfactual", seed=0, dtype="float32", status=Status.OK, error_type="", error_message="", note="",
        finished_at="", wall_localize_s=0.0, wall_score_s=0.0, forward_equivalents=0.0,
        scores={name: ScoreRecord(name, value, value, value) for name, value in values.items()},
    )  # fmt: skip
    draws = area + 0.01 * np.random.default_rng([seed, 1]).normal(size=400)
    return Measured(summary, draws, full, empty, kept, SIZES, np.array([1, 2]), 0.001, np.arange(n))


def test_agreement_worked_example():
    # orders 1 2 3 4 and 1 3 2 4: one of six pairs turned: tau = 4/6, rho = 1 - 6 * 2 / 60
    found = agreement([1.0, 2.0, 3.0, 4.0], [10.0, 30.0, 20.0, 40.0])
    assert (found.kendall, found.spearman, found.n) == (pytest.approx(2 / 3), pytest.approx(0.8), 4)
    assert found.alike == pytest.approx(5 / 6)
    # differences of .01 in the second are no clear ones: one pair is left, and it is turned
    assert agreement([1.0, 2.0, 3.0], [0.9, 0.51, 0.5]).alike == 0 and agreement([1.0, 2.0], [0.5, 0.5]).alike is None
    assert agreement([1.0, None], [1.0, 2.0]).n == 1 and agreement([1.0, 1.0], [1.0, 2.0]).kendall is None


def test_a_score_of_which_less_is_better_is_turned():
    cells = [cell("a", 0.2, auroc=0.5, cmd=0.9), cell("b", 0.5, auroc=0.7, cmd=0.5), cell("c", 0.9, auroc=1.0, cmd=0.1)]
    assert with_truth(cells, "cmd", higher_is_better=False).kendall == 1
    assert with_truth(cells, "faithfulness_area", higher_is_better=True).spearman == pytest.approx(1)
    assert with_truth(cells, "cpr", higher_is_better=True).n == 0


def test_areas_on_some_clusters_are_those_of_their_pairs():
    one = cell("a", 0.5, noise=0.3)
    chosen = np.arange(40) < 10
    f = one.kept[:, :10].mean(axis=1) / 2
    # g(f) on [.01, .1] and [.1, .5] of ln(.5/.001)
    g = 1 - np.minimum(np.abs(1 - f), 1)
    expected = (g[0] * np.log(10) + g[1] * np.log(5)) / np.log(500)
    assert one.area_on(chosen) == pytest.approx(expected)
    assert replace(one, full=one.empty).area_on(chosen) == 0.0


def test_clear_orders_are_stable_and_noise_is_not():
    clear = [cell(str(i), share, noise=0.05, seed=i) for i, share in enumerate((0.2, 0.5, 0.8))]
    assert halves(clear, seed=0, n_splits=20).tau == 1 and halves(clear, seed=0, n_splits=20).same_first == 1
    noise = [cell(str(i), 0.5, noise=1.0, seed=i) for i in range(6)]
    assert halves(noise, seed=0, n_splits=40).tau < 0.7


def test_separation_counts_pairs_and_what_the_others_need():
    cells = [cell("a", 0.2, seed=0), cell("b", 0.21, seed=1), cell("c", 0.9, seed=2)]
    found = separation(cells)
    assert (found.n_methods, found.n_clusters) == (3, 40)
    assert found.separated == pytest.approx(2 / 3)  # a and b are not told apart
    values = [c.value("faithfulness_area") for c in cells]
    se = (cells[0].replicates - cells[1].replicates).std(ddof=1)
    # the joint critical value of the board lies between that of one and of three independent normal tests
    low, high = (norm.ppf(1 - 0.05 / (2 * k)) + norm.ppf(0.8) for k in (0.9, 4))
    bounds = [40 * (z * se / (values[1] - values[0])) ** 2 for z in (low, high)]
    assert bounds[0] <= found.median_needed <= bounds[1] + 1
    assert found.reachable[1] <= found.reachable[4] <= found.reachable[16]
    equal = separation([cell("a", 0.5), cell("b", 0.5)])
    assert equal.separated == 0 and equal.median_needed is None


def test_shift_matches_methods_by_title():
    usual = [cell("a", 0.2), cell("b", 0.6)]
    other = [cell("b", 0.3), cell("a", 0.4), cell("new", 0.9)]
    found = shift(usual, other)
    assert found.agreement.kendall == -1 and found.agreement.n == 2
    areas = [abs(usual[i].value("faithfulness_area") - other[1 - i].value("faithfulness_area")) for i in range(2)]
    assert found.mean_spread == pytest.approx(np.mean(areas))


def test_the_grids_vary_one_thing_at_a_time():
    assert set(VARIED) <= {*BASE, *STRESS} == set(PARTS[0].models)
    assert len(BASE) >= 4  # so many circuits are needed to rank methods on a tier
    assert all(set(part.models) <= {*BASE, *STRESS} for part in PARTS)


def test_the_page_holds_the_numbers_that_were_found():
    question = Question(
        "toy-a-base-1", halves([cell("a", 0.2), cell("b", 0.6)], 0, 5), separation([cell("a", 0.2), cell("b", 0.6)])
    )
    one = Estimate("x", 0.625, 0.5, 0.75)
    names = ("the proven circuit, unordered", "late layers first", "tuned to 4 pairs", "tuned to the discovery pairs")
    findings = Findings(
        truth=(TierAgreement("cmd", "base, nodes", one, None, one),),
        methods=(MethodTruth("node", "mediation", one, one, passes=False),),
        proven=(Proven("toy-a-base-1", 0.998, 0.14, 0.55), Proven("toy-a-base-2", 0.94, 0.2, 0.45)),
        null=(cell("random", 0.1),),
        questions=(question,),
        ablations={"zero": (shift([cell("a", 0.2), cell("b", 0.6)], [cell("a", 0.3), cell("b", 0.7)]),)},
        kinds={},
        submitted=tuple(Submitted(n, "toy-a-base-1", ScoreRecord("area", 0.3125, 0.2, 0.4), 0.875, 0.5) for n in names),
        pretrained=(),
    )
    text = page(findings)
    assert "| cmd | base, nodes | 0.62 [0.50, 0.75] | - | 0.62 [0.50, 0.75] |" in text
    assert "| node | mediation | 0.62 [0.50, 0.75] | 0.62 [0.50, 0.75] | no |" in text
    assert "| tuned to 4 pairs | 0.31 [0.31, 0.31] | 0.88 [0.88, 0.88] | 0.50 [0.50, 0.50] |" in text
    assert "f is at least 0.95 on 1 of 2 circuits" in text and "contains 0 on 0 of 1" in text
    assert "No pretrained model was measured" in text
    assert "| zero | 1.00" in text and "nan" not in text
    widths = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    tables = re.split(r"\n(?!\|)", text)
    assert widths and all(
        len({line.count("|") for line in t.splitlines() if line.startswith("|")}) <= 1 for t in tables
    )


def test_the_section_on_a_pretrained_model_holds_what_was_found():
    cells = (cell("random", 0.01), cell("mediation", 0.8, sparsity=0.2), cell("new", 0.5))
    found = OnPretrained(
        case=Pretrained("small", "addition[shots=1]"),
        cells=cells,
        size=0.125,
        submitted=(
            Submitted("late layers first", "small", ScoreRecord("area", 0.25, 0.125, 0.5), None),
            *(Submitted("shuffled scores", "small", ScoreRecord("area", v, 0.0, 1.0), None) for v in (0.25, 0.5)),
        ),
        ablations={"zero": shift(cells, cells[::-1])},
        kinds={},
    )
    text = pretrained_section(found)
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert [row.split("|")[1].strip() for row in rows[1:4]] == ["mediation", "new", "random"]  # best first
    assert "recovers 90 %, 12.5% of the model" in text and "40 test pairs with 40 operand pairs" in text
    assert "| late layers first | 0.25 [0.12, 0.50] |" in text
    assert "| shuffled scores | 0.38 [0.25, 0.50] (2 draws) |" in text
    assert "| zero ablation | 1.00 | 1.00 | 0.00 |" in text and "row does not contain 0" in text
    first = Pretrained("small", "addition[shots=1]").parts
    assert {ablation.value for part in first for ablation in part.ablations} == {"counterfactual", "mean"}
    assert dict(first[2].tasks[0].options) == {"shots": "1", "kind": "single_operand"}
