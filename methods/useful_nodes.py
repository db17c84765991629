"""Useful nodes: which head or MLP, at which position, changes a prediction when its own mean replaces it.

Reference: Quirke and Barez, arXiv:2310.13121; Quirke, Neo and Barez, arXiv:2402.02619. Their released code puts the mean
of layer 0 into every layer; here each layer, head and position gets its own.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from arithloc.benchmark import engine
from arithloc.benchmark.api import SHOT, Ablation, Granularity, MethodInfo, Problem, Scores, TooFewPairs


@dataclass(frozen=True)
class UsefulNodes:
    """How much each node matters at each position class, replaced there alone.

    A space without position classes gets the largest value over the classes of the pairs.

    Attributes:
        replacement: `mean` (of the same layer, head and position over the pairs), `zero`, `counterfactual` or `resample`.
        effect: `flips`, the share of the rightly answered pairs whose predicted token changes; `metric`, the mean
            absolute change of the metric over all pairs.
    """

    replacement: Literal["mean", "zero", "counterfactual", "resample"] = "mean"
    effect: Literal["flips", "metric"] = "flips"

    info = MethodInfo(
        name="useful-nodes",
        summary="Share of predictions that change when a node is replaced by its mean at one position.",
        granularities={Granularity.NODE},
        reference="arXiv:2402.02619",
        cost="components",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each node; one sweep over nodes and position classes.

        Raises:
            TooFewPairs: no pair is answered right, so no prediction can be lost.
        """
        classes = problem.space.classes or tuple(
            dict.fromkeys(c for p in problem.pairs for c in p.classes if c != SHOT)
        )
        space = replace(problem.space, classes=classes)
        found = engine.sweep(
            problem.model,
            problem.pairs,
            space,
            run="clean",
            donor=Ablation(self.replacement),
            reference=problem.pairs,
            seed=problem.seed,
            progress=problem.progress,
        )
        if self.effect == "metric":
            clean = engine.read(problem.model, problem.pairs).metric(problem.metric)
            values = np.abs(found.metric(problem.metric) - clean).mean(-1)
        else:
            right = found.clean_top == found.answer_token
            if not right.any():
                raise TooFewPairs(
                    f"Expected pairs that the model answers right, found none among {len(right)}. "
                    "Use another task or model, or effect=metric."
                )
            values = (found.top != found.clean_top)[:, right].mean(-1)
        grid = values.reshape(space.grid_shape)
        return Scores.of(problem.space, grid if problem.space.classes else grid.max(-1))
