"""Whether the steps share their heads (C1), and how many heads they need (C2)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from arithloc.benchmark.api import Ablation
from arithloc.benchmark.api.report import Cell, Claim, Curves, Heatmap, Section, Series, Table
from arithloc.benchmark.api.study import Study
from arithloc.benchmark.metrics.measured import Spread, draws_of
from arithloc.methods.analyses.cot.claims import above, below, mean, untested
from arithloc.methods.analyses.cot.heads import (
    KEPT,
    SHARES,
    STATIC,
    Circuits,
    head_scores,
    patch_heads,
    ranking,
    run_circuits,
    same_blocks,
    smallest_share,
)
from arithloc.methods.analyses.cot.overlap import chance_jaccard, chance_overlap, jaccard, rank_biased_overlap
from arithloc.methods.analyses.cot.subtasks import GROUPS, SubTask
from arithloc.methods.analyses.statistics import derived

PATCHING = "patching"


@dataclass(frozen=True, eq=False)
class OfStep:
    """What was measured at one step.

    Attributes:
        scores: share of the logit difference that each head recovers on the discovery pairs.
        rankings: heads by each way of scoring them, best first.
        groups: the largest share that a head of each block recovers when it is patched in one group of positions alone;
            None where that was not asked for.
        circuits: on the test pairs: every ranking at every share, then the first heads of every step, then the controls.
        f: faithfulness of these circuits.
    """

    scores: Spread
    rankings: Mapping[str, Int[ndarray, " head"]]
    groups: Float[ndarray, "layer group"] | None
    circuits: Circuits
    f: Spread

    def of(self, name: str, share: int) -> int:
        """Row of a ranking at a share."""
        return list(self.rankings).index(name) * len(SHARES) + share

    def at(self, name: str, share: int) -> Spread:
        """Faithfulness of a ranking's circuit at a share."""
        row = self.of(name, share)
        return Spread(np.asarray(self.f.value[row]), self.f.replicates[:, row], self.f.n)


@dataclass(frozen=True, eq=False)
class Sharing:
    """All steps.

    Attributes:
        steps: by name.
        layers, heads: of the model.
        k: heads that are compared and transferred.
        controls: random sets of each step.
        setting: positions and ablation, for the text.
    """

    steps: Mapping[str, OfStep]
    layers: int
    heads: int
    k: int
    controls: int
    setting: str

    @property
    def n(self) -> int:
        """Heads of the model."""
        return self.layers * self.heads

    def overlaps(self) -> list[tuple[str, str, float, Spread]]:
        """For two steps each: shared share of the first heads, and rank-biased overlap."""
        found = []
        for (one, a), (two, b) in combinations(self.steps.items(), 2):
            value = rank_biased_overlap(ranking(a.scores.value), ranking(b.scores.value))
            replicates = [
                rank_biased_overlap(ranking(x), ranking(y))
                for x, y in zip(a.scores.replicates, b.scores.replicates, strict=True)
            ]
            shared = jaccard(a.rankings[PATCHING][: self.k], b.rankings[PATCHING][: self.k])
            found.append(
                (one, two, shared, Spread(np.asarray(value), np.array(replicates), min(a.scores.n, b.scores.n)))
            )
        return found

    def claims(self) -> Iterator[Claim]:
        """C1 and C2."""
        if len(self.steps) < 2:
            yield from untested(("C1.1", "C1.2"), "The model solves one step alone.")
        else:
            both = mean([overlap for *_, overlap in self.overlaps()])
            chance = chance_overlap(self.n)
            statistic = "rank-biased overlap of the rankings by patching, mean over pairs of steps"
            yield above("C1.1", statistic, round(chance, 4), both, "The threshold is the mean of random rankings.")
            gains = [gain for step in self.steps for gain in self._gains(step)]
            statistic = (
                f"f of the first {self.k} heads of one step on another, minus that of random heads of the same blocks"
            )
            yield above("C1.2", statistic, 0.0, mean(gains))
        shares = [self._smallest(one, PATCHING) for one in self.steps.values()]
        yield below(
            "C2", f"share of the heads kept at f >= {KEPT:g}, ranked by patching, mean over steps", 0.6, mean(shares)
        )

    def _gains(self, step: str) -> Iterator[Spread]:
        one = self.steps[step]
        first = len(one.rankings) * len(SHARES)
        names = list(self.steps)
        random = slice(first + len(names), first + len(names) + self.controls)
        for place, other in enumerate(names):
            if other != step:
                value = one.f.value[first + place] - one.f.value[random].mean()
                replicates = one.f.replicates[:, first + place] - one.f.replicates[:, random].mean(1)
                yield Spread(np.asarray(value), replicates, one.f.n)

    def _smallest(self, one: OfStep, name: str) -> Spread:
        row = one.of(name, 0)
        return derived(one.f, lambda f: smallest_share(f[row : row + len(SHARES)]))

    def sections(self) -> Iterator[Section]:
        """Maps of the heads, overlaps, transfer, circuits."""
        labels = tuple(map(str, range(self.layers))), tuple(map(str, range(self.heads)))
        maps = tuple(
            Heatmap(f"heads_{step}", f"{step}: logit difference recovered", *labels, one.scores.value.reshape(self.layers, -1), column_title="Head")
            for step, one in self.steps.items()
        )  # fmt: skip
        maps += tuple(
            Heatmap(f"groups_{step}", f"{step}: most that a head recovers in one group", labels[0], GROUPS, one.groups)
            for step, one in self.steps.items()
            if one.groups is not None
        )
        rows: list[tuple[Cell, ...]] = []
        for one, two, shared, overlap in self.overlaps():
            o = overlap.measured
            rows.append(
                (one, two, shared, chance_jaccard(self.k, self.n), o.value, o.low, o.high, chance_overlap(self.n))
            )
        columns = ("step", "other", "jaccard", "jaccard_chance", "rbo", "low", "high", "rbo_chance")
        overlaps = Table(
            "overlaps", f"Overlap of rankings (first {self.k} of {self.n} heads; all of them)", columns, tuple(rows)
        )
        yield Section("Shared heads", f"Heads are scored on the discovery pairs: {self.setting}.", maps, (overlaps,))
        yield Section("Circuits of heads", self._text(), (self._transfer(), self._curves()), (self._circuits(),))

    def _text(self) -> str:
        return (
            "Heads are removed, MLPs stay; f is 0 without any head and 1 with all of them. Circuits are the first heads of each "
            f"ranking, evaluated on the test pairs of each step. {self.setting.capitalize()}. Agreement is with the whole model's "
            "prediction, accuracy with the right word."
        )

    def _transfer(self) -> Heatmap:
        names = tuple(self.steps)
        grid = np.full((len(names) + 1, len(names)), np.nan)
        for column, one in enumerate(self.steps.values()):
            f = one.f.value
            first = len(one.rankings) * len(SHARES)
            grid[: len(names), column] = f[first : first + len(names)]
            grid[-1, column] = f[first + len(names) : first + len(names) + self.controls].mean()
        title = f"f of the first {self.k} heads of one step (row) on another (column)"
        return Heatmap(
            "transfer", title, (*names, "random"), names, grid, row_title="Found on", column_title="Evaluated on"
        )

    def _curves(self) -> Curves:
        series = []
        for name in next(iter(self.steps.values())).rankings:
            at = [mean([one.at(name, share) for one in self.steps.values()]).measured for share in range(len(SHARES))]
            series.append(Series.of(name, list(SHARES), at))
        return Curves(
            "faithfulness",
            "f of the first heads of each ranking, mean over steps",
            "Share of the heads",
            "f",
            tuple(series),
        )

    def _circuits(self) -> Table:
        rows: list[tuple[Cell, ...]] = []
        for step, one in self.steps.items():
            for name in one.rankings:
                for place, share in enumerate(SHARES):
                    row, f = one.of(name, place), one.at(name, place).measured
                    agreement, accuracy = one.circuits.agreement[row].mean(), one.circuits.accuracy[row].mean()
                    rows.append((step, name, share, f.value, f.low, f.high, float(agreement), float(accuracy)))
        columns = ("step", "ranking", "share", "f", "low", "high", "agreement", "accuracy")
        return Table("circuits", "Circuits of heads", columns, tuple(rows))


def measure_sharing(
    study: Study,
    solved: Sequence[SubTask],
    *,
    positions: str,
    groups: bool,
    ablation: Ablation,
    share: float,
    controls: int,
) -> Sharing:
    """Ranks the heads at every solved step and runs their circuits on every other one."""
    model = study.model
    n = model.shape.n_layers * model.shape.n_heads
    k = max(1, round(share * n))
    rng = np.random.default_rng(study.seed)
    scores, rankings, by_group = {}, {}, {}
    for one in solved:
        pairs = one.discovery.pairs
        found = patch_heads(model, pairs, positions, study.phase(f"heads of {one.name}"))
        scores[one.name] = found.scores(draws_of(pairs))
        by_group[one.name] = _groups(study, one) if groups else None
        static = {name: ranking(head_scores(model, pairs, method(), study.seed)) for name, method in STATIC.items()}
        rankings[one.name] = {PATCHING: ranking(scores[one.name].value), **static}
    steps = {}
    for one in solved:
        own = rankings[one.name]
        sets = [order[: max(1, round(s * n))] for order in own.values() for s in SHARES]
        sets += [rankings[other.name][PATCHING][:k] for other in solved]
        sets += [same_blocks(model, own[PATCHING][:k], rng) for _ in range(controls)]
        progress = study.phase(f"circuits of {one.name}")
        circuits = run_circuits(model, one.test.pairs, one.discovery.pairs, sets, ablation, study.seed, progress)
        steps[one.name] = OfStep(
            scores[one.name], own, by_group[one.name], circuits, circuits.faithfulness(draws_of(one.test.pairs))
        )
    where = "at the last position" if positions == "last" else "at all positions of the query"
    setting = f"patched {where}; other heads take their {ablation.value} value"
    return Sharing(steps, model.shape.n_layers, model.shape.n_heads, k, controls, setting)


def _groups(study: Study, one: SubTask) -> Float[ndarray, "layer group"]:
    """The largest score of a head in each block and group of positions, on the discovery pairs."""
    pairs, layers = one.discovery.pairs, study.model.shape.n_layers
    columns = []
    for group in GROUPS:
        found = patch_heads(study.model, pairs, group, study.phase(f"heads of {one.name}: {group}"))
        columns.append(found.scores(draws_of(pairs)).value.reshape(layers, -1).max(-1))
    return np.stack(columns, 1)
