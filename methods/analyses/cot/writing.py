"""Where the answer is written (C3), and along which routes it comes (C4)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark.api import Ablation, Split
from arithloc.benchmark.api.report import Cell, Claim, Heatmap, Section, Table
from arithloc.benchmark.api.study import Sample, Study
from arithloc.benchmark.metrics.measured import Spread, draws_of, mean_of
from arithloc.methods.analyses.cot.claims import above, mean, route_claims, untested
from arithloc.methods.analyses.cot.routes import cut_routes, first_writer, preference
from arithloc.methods.analyses.cot.subtasks import SubTask, with_step
from arithloc.methods.analyses.statistics import derived
from arithloc.methods.cot_writers import writer_effects


@dataclass(frozen=True, eq=False)
class OfStep:
    """One step.

    Attributes:
        effects: mean fall of log p(answer) without each head's direct path, on the test pairs.
        centre: relative depth of the centre of mass of the positive ones.
        first: block of the first writer, on the discovery pairs.
        routes: share of the gap lost without each route, cut from that block on.
        everywhere: the same, cut in all blocks.
    """

    effects: Float[ndarray, "layer head"]
    centre: Spread
    first: int
    routes: Mapping[str, Spread]
    everywhere: Mapping[str, Spread]


@dataclass(frozen=True, eq=False)
class Writing:
    """All solved steps.

    Attributes:
        steps: by name.
        preferences: rows of the table of disagreeing pairs.
        samples: the disagreeing pairs.
    """

    steps: Mapping[str, OfStep]
    preferences: tuple[tuple[Cell, ...], ...]
    samples: tuple[Sample, ...]

    def claims(self) -> Iterator[Claim]:
        """C3 and C4."""
        statistic = "relative depth of the centre of mass of positive direct effects of heads, mean over steps"
        yield above("C3", statistic, 0.5, mean([one.centre for one in self.steps.values()]))
        derived = [one for name, one in self.steps.items() if name.startswith("induction")]
        if not derived:
            yield from untested(("C4.1", "C4.2", "C4.3"), "The model solves no step whose word is derived.")
            return
        routes = {name: mean([one.routes[name] for one in derived]) for name in derived[0].routes}
        yield from route_claims(routes, min(one.first for one in derived))

    def sections(self) -> Iterator[Section]:
        """Maps of the writers, and what is lost without each route."""
        maps = []
        writers: list[tuple[Cell, ...]] = []
        for name, one in self.steps.items():
            layers, heads = one.effects.shape
            labels = tuple(map(str, range(layers))), tuple(map(str, range(heads)))
            maps.append(Heatmap(f"writers_{name}", f"{name}: direct effect on log p(answer), nats", *labels, one.effects, column_title="Head"))  # fmt: skip
            centre = one.centre.measured
            best = np.argsort(-one.effects, axis=None, kind="stable")[:5]
            named = " ".join(f"a{i // heads}.h{i % heads}" for i in best)
            writers.append((name, centre.value, centre.low, centre.high, one.first, named))
        table = Table(
            "writers", "Writers", ("step", "depth", "low", "high", "first_block", "strongest"), tuple(writers)
        )
        text = "Only a head's direct path to the logits takes its counterfactual value; the final norm keeps its scale."
        yield Section("Writers", text, tuple(maps), (table,))
        rows: list[tuple[Cell, ...]] = []
        for name, one in self.steps.items():
            for block, cut in ((one.first, one.routes), (0, one.everywhere)):
                for route, found in cut.items():
                    lost = found.measured
                    rows.append((name, route, block, lost.value, lost.low, lost.high))
        columns = ("step", "route", "from_block", "lost", "low", "high")
        routes = Table("routes", "Share of the logit difference lost without a route", columns, tuple(rows))
        columns = ("step", "edited", "pairs", "logit", "low", "high")
        title = "Logit of the chain's word minus that of the question's, where they disagree"
        preferred = Table("preference", title, columns, self.preferences)
        text = (
            "The predicting position does not look at question (Q), chain (G) or exemplars (F) from the block of the first of the five "
            "strongest writers on, and in all blocks; its other weights are scaled up. interaction: Q+G minus Q minus G. 1 is the gap between the two runs."
        )
        yield Section("Routes", text, (), (routes, preferred) if self.preferences else (routes,))


def measure_writing(study: Study, solved: Sequence[SubTask]) -> Writing:
    """Removes direct paths and cuts routes at every solved step."""
    model, steps = study.model, {}
    for one in solved:
        progress = study.phase(f"writers of {one.name}")
        chosen = writer_effects(model, one.discovery.pairs, Ablation.COUNTERFACTUAL).mean(-1)
        effects = writer_effects(model, one.test.pairs, Ablation.COUNTERFACTUAL, progress=progress)
        draws, first = draws_of(one.test.pairs), first_writer(chosen)
        found = Spread(effects.mean(-1), draws.means(effects), draws.n_clusters)
        study.phase(f"routes of {one.name}")
        cut = [cut_routes(model, one.test.pairs, block).effects(draws) for block in (first, 0)]
        steps[one.name] = OfStep(found.value, derived(found, centre_of_mass), first, *cut)
    rows: list[tuple[Cell, ...]] = []
    samples = []
    for one in (step for step in solved if step.is_induction):
        for edited in ("question", "chain"):
            sample = study.sample(with_step(study.task, one.name, edited), Split.TEST, study.limit)
            samples.append(sample)
            if sample.pairs:
                said = mean_of(preference(model, sample.pairs, edited), draws_of(sample.pairs))
                rows.append((one.name, edited, len(sample.pairs), said.value, said.low, said.high))
    return Writing(steps, tuple(rows), tuple(samples))


def centre_of_mass(effects: Float[ndarray, "layer head"]) -> float:
    """Mean relative depth of blocks, weighted by their positive effects; blocks lie at (l + 1/2) / L.

    Example: 3 in the last of two blocks, 1 in the first, negative ones left out
    >>> centre_of_mass(np.array([[1.0, -5.0], [2.0, 1.0]]))
    0.625
    """
    mass = effects.clip(0).sum(-1)
    depth = (np.arange(len(mass)) + 0.5) / len(mass)
    return float((mass * depth).sum() / mass.sum()) if mass.sum() > 0 else float("nan")
