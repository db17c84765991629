"""The validity page as Markdown: tables from the findings, between texts that hold whatever they are."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import binom

from arithloc.benchmark.metrics.equivalence import p_different, power
from arithloc.benchmark.metrics.minimality import against_random
from arithloc.benchmark.metrics.prefixes import HI
from arithloc.benchmark.metrics.tiers import GATE
from arithloc.benchmark.runner.suites import ORACLE
from arithloc.benchmark.validity.agreement import CLEAR, FACTORS, Shift
from arithloc.benchmark.validity.findings import Findings
from arithloc.benchmark.validity.grids import BASE, EFFORT, METHODS, STRESS, VARIED
from arithloc.benchmark.validity.markdown import NONE, estimate, spread, table
from arithloc.benchmark.validity.page_pretrained import pretrained_section
from arithloc.benchmark.validity.submissions import FEW_PAIRS, SEEDS, Submitted

LEVEL = 0.05
WEAK = 0.5
"""Rank correlation under which the order of a score has little to do with the truth."""


def page(findings: Findings) -> str:
    """The whole page."""
    parts = [
        _head(findings),
        _truth(findings),
        _methods(findings),
        _submissions(findings),
        _halves(findings),
        _shifts("Other ablations", "ablation", findings.ablations),
        _shifts("Other counterfactuals", "pairs", findings.kinds),
        *(pretrained_section(one) for one in findings.pretrained),
        _power(findings),
        _tests(),
        _weaknesses(findings),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _head(findings: Findings) -> str:
    options = "".join(f" --model {one.case.model} --task '{one.case.task}'" for one in findings.pretrained)
    return f"""# Is the benchmark valid?

Written by `bench validity{options}`, which runs the cells that the results database lacks, scores the submissions below and replaces this page. {len(METHODS) - 1}
methods, each on the components that it scores, on {len(BASE)} undisturbed and {len(STRESS)} disturbed compiled circuits ([ground-truth.md](ground-truth.md)), heads and MLPs, and edges of the undisturbed ones; {EFFORT.n_discovery} discovery
and {EFFORT.n_evaluation} test pairs, {EFFORT.n_draws} bootstrap draws. Brackets hold 95 % intervals; of means over circuits by resampling circuits.
"""


def _truth(findings: Findings) -> str:
    rows = [
        [one.score, one.tier, estimate(one.spearman), estimate(one.kendall), estimate(one.alike)]
        for one in findings.truth
    ]
    tied = sum(one.passes for one in findings.methods if one.granularity == "node" and one.title != ORACLE)
    return f"""## Does the score order methods as the truth does?

Rank correlation over methods between each score and AUROC against the proven circuit, averaged over the circuits of a tier (the oracle row is left out, the
random one is in). 1: the same order; 0: none. *Ordered alike*: of the pairs of methods whose AUROCs differ by at least {CLEAR}, the share that the score
orders the same way (0.5 by chance). AUROC is at its ceiling for {tied} methods on nodes; it does not order these, the score does, by which of the proven parts come
first. So the correlations cannot reach 1, and the last column is the one that says whether the score prefers methods that find the circuit.

{table(("score", "circuits", "Spearman", "Kendall tau-b", "ordered alike"), rows)}
"""


def _methods(findings: Findings) -> str:
    rows = [
        [one.granularity, one.title, estimate(one.auroc), estimate(one.area), "yes" if one.passes else "no"]
        for one in findings.methods
    ]
    return f"""Means over the undisturbed circuits. The gate is a mean AUROC of {GATE}: what does not pass it misses parts of circuits that were built by hand.

{table(("components", "method", "AUROC", "faithfulness area", "passes"), rows)}
"""


def _submissions(findings: Findings) -> str:
    grouped: dict[str, list[Submitted]] = defaultdict(list)
    for one in findings.submitted:
        grouped[one.name].append(one)
    rows = []
    for name, listed in grouped.items():
        areas = [one.area.value for one in listed if one.area.value is not None]
        own = [one.area_on_discovery for one in listed if one.area_on_discovery is not None]
        aurocs = [one.auroc for one in listed if one.auroc is not None]
        rows.append([name, spread(areas), spread(aurocs), spread(own) if own else NONE])
    null = [cell.summary.scores["faithfulness_area"] for cell in findings.null]
    zero = sum(area.low is not None and area.low <= 0 for area in null)
    values = [area.value for area in null if area.value is not None]
    rows.insert(0, ["random scores (all circuits)", spread(values), spread(_aurocs(findings)), NONE])
    proven = findings.proven
    above = sum(one.f >= 0.95 for one in proven)
    large = sum(one.size > HI for one in proven)
    return f"""## What do wrong submissions score?

Faithfulness area and AUROC: mean over the undisturbed circuits, lowest and highest in brackets; random ones are drawn {SEEDS} times. *Tuned*: parts are
ordered by backward elimination of all components on the discovery pairs; the last column is the area on the very pairs that it was tuned to.

{table(("submission", "faithfulness area", "AUROC", "area on its own pairs"), rows)}

The null, which ranks the proven circuit last and so recovers nothing before the last part of it, has {_mean_area(_named(findings, "the proven circuit last"))}. The interval of the random row contains 0 on {zero} of {len(null)} circuits: with 10 to 20
components a random prefix holds the circuit before half of the model is kept. The proven circuit, and nothing else, recovers f = {spread([one.f for one in proven], 3)} at sizes of {spread([one.size for one in proven], 3)};
f is at least 0.95 on {above} of {len(proven)} circuits. The circuit is larger than {HI}, where the area ends, on {large} of them. The area of the oracle row is {spread([one.area for one in proven])}: it is bounded by the
size of the circuit, not by 1. No area can exceed 1, since g(f) <= 1; a circuit with f = 3 counts like one with f = -1.
"""


def _aurocs(findings: Findings) -> list[float]:
    return [value for cell in findings.null if (value := cell.value("auroc")) is not None]


def _halves(findings: Findings) -> str:
    rows = [
        [one.name, str(one.separation.n_methods), f"{one.halves.tau:.2f}", f"{one.halves.same_first:.0%}"]
        for one in findings.questions
    ]
    splits = findings.questions[0].halves.n_splits if findings.questions else 0
    return f"""## Would other pairs give the same order?

{splits} random splits of the test clusters in halves: Kendall tau-b between the two orders of the methods, and how often the same method is first.

{table(("question", "methods", "tau-b", "same first"), rows)}
"""


def _shifts(title: str, what: str, shifts: Mapping[str, Sequence[Shift]]) -> str:
    rows = [
        [
            name,
            spread([one.agreement.spearman for one in listed if one.agreement.spearman is not None]),
            spread([one.agreement.kendall for one in listed if one.agreement.kendall is not None]),
            spread([one.mean_spread for one in listed]),
        ]
        for name, listed in sorted(shifts.items())
    ]
    return f"""## {title}

Areas of the same methods on {" and ".join(f"`{model}`" for model in VARIED)}, against those with `counterfactual` ablation of `operands` pairs: agreement of the orders,
and by how much the area of one method changes on average.

{table((what, "Spearman", "Kendall tau-b", "change of area"), rows)}
"""


def _power(findings: Findings) -> str:
    rows = []
    for one in findings.questions:
        found = one.separation
        needed = NONE if found.median_needed is None else f"{found.median_needed:,.0f}"
        reachable = [f"{found.reachable[factor]:.0%}" for factor in FACTORS]
        rows.append([one.name, str(found.n_clusters), f"{found.separated:.0%}", *reachable, needed])
    columns = ("question", "clusters", "separated", *(f"at {factor}x" for factor in FACTORS), "median needed")
    return f"""## How many pairs does it take?

Share of all pairs of methods that the joint rank intervals separate; share that the same number of clusters, twice, four and sixteen times as many would
separate with a chance of 80 %, if the differences are what they seem; and the median number of clusters that the pairs still open would need. Pairs with equal
scores need infinitely many and are not in the median.

{table(columns, rows)}
"""


def _tests() -> str:
    rows = []
    for n in (50, 100, 200, 400, 1000):
        k = np.arange(n + 1)
        rejected = np.array([p_different(int(wins), n) <= LEVEL for wins in k])
        different = [float(binom.pmf(k[rejected], n, pi).sum()) for pi in (0.6, 0.75)]
        rows.append(
            [str(n), f"{power(n, pi=0.6):.3f}", f"{power(n):.2f}", f"{different[0]:.3f}", f"{different[1]:.2f}"]
        )
    shown = []
    for n in (29, 100, 1000):
        k = np.arange(n + 1)
        reject = np.array([against_random(int(better), n).p <= LEVEL for better in k])
        shown.append([str(n), *(f"{float(binom.pmf(k[reject], n, q).sum()):.3f}" for q in (0.9, 0.95, 0.99, 1.0))])
    return f"""## Error rates of the tests

Exact, from the binomial distribution, at level 0.05. Equivalence: the circuit wins in a share pi of the clusters; at pi = 0.6, the edge of equivalence, the first
column must not exceed 0.05, and the test for a difference must not either.

{table(("clusters", "TOST error, pi 0.6", "TOST power, pi 0.5", "T-equiv error, pi 0.6", "T-equiv power, pi 0.75"), rows)}

Random circuits: the circuit beats a share q of all random circuits; at q = 0.9 the column is the error, beyond it the power.

{table(("random circuits", "q 0.9", "q 0.95", "q 0.99", "q 1"), shown)}

Coverage of the intervals, measured by simulation: [results/coverage.md](results/coverage.md).
"""


def _weaknesses(findings: Findings) -> str:
    open_pairs = ""
    if findings.questions:
        worst = min(findings.questions, key=lambda one: one.separation.separated)
        open_pairs = f" On `{worst.name}` {worst.separation.separated:.0%} of the pairs of methods are separated."
    late, few = (_named(findings, name) for name in ("late layers first", f"tuned to {FEW_PAIRS} pairs"))
    tuned = _named(findings, "tuned to the discovery pairs")
    unordered = _named(findings, "the proven circuit, unordered")
    oracle = [one.area for one in findings.proven if one.model in BASE]
    on_own = [one.area_on_discovery for one in few if one.area_on_discovery is not None]
    return f"""## Weaknesses

- The circuits are compiled: exact, small (10 to 20 heads and MLPs) and free of the redundancy of learned ones. Agreement here is needed, not enough.
{_weak_scores(findings)}- The proven circuit has an area of {_mean_area(unordered)} when its parts come in arbitrary order, {np.mean(oracle):.2f} in the order that recovers most first. So a
  method gains as much by ordering the parts it found as others lose by missing one, and areas of methods with equal AUROC differ.
- With so few components neither is the random row 0 nor the best area 1; both depend on the model, so areas do not compare across models.
- A submission that knows nothing but the order of the layers has an area of {_mean_area(late)}. An area says how small a sufficient set was found, not that it was
  found for a reason; look at the null row of the same model.
- Backward elimination on the discovery pairs, which asks for nothing but the score, has {_mean_area(tuned)} where the ordered proven circuit has
  {np.mean(oracle):.2f}: the score can be optimised directly. That is allowed, costs many forwards, and pays as far as discovery pairs are like test pairs: tuned to
  {FEW_PAIRS} pairs it has {np.mean(on_own):.2f} on those and {_mean_area(few)} on the test pairs. Scores measured on the discovery pairs would be worth little.
- Methods are not independent of each other: many are first-order estimates of the same effect, so rank correlations over methods rest on fewer than they count.
- Intervals cover the choice of test pairs. Discovery pairs and seeds vary too: `bench audit-circuit` measures that for one cell.
- Ties and near ties are common at {EFFORT.n_evaluation} pairs.{open_pairs} Read ranks with their intervals.
{_few_pretrained(findings)}- Means over {len(BASE)} and {len(STRESS)} circuits have intervals from so few resampling units that they are too short.
"""


def _weak_scores(findings: Findings) -> str:
    """A sentence on the scores whose rank correlation with the truth is low, interval and all."""
    weak = [
        f"`{one.score}` ({one.tier})"
        for one in findings.truth
        if one.spearman is not None and one.spearman.high is not None and one.spearman.high < WEAK
    ]
    if not weak:
        return ""
    return (
        f"- Scores whose order of methods has little to do with the truth (Spearman under {WEAK}, interval and all): "
        f"{', '.join(weak)}.\n  One essential part at the top of a ranking is enough for a high completeness on a toy; do not rank by it alone.\n"
    )


def _few_pretrained(findings: Findings) -> str:
    if findings.pretrained:
        return (
            "- One pretrained model and one question stand for all of them in what is said about pretrained models.\n"
        )
    return "- No pretrained model was measured (`--model`, `--task`): what this page says about stability and power holds for toys.\n"


def _named(findings: Findings, name: str) -> list[Submitted]:
    return [one for one in findings.submitted if one.name == name]


def _mean_area(listed: Sequence[Submitted]) -> str:
    areas = [one.area.value for one in listed if one.area.value is not None]
    return f"{np.mean(areas):.2f}" if areas else NONE
