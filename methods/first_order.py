"""What the gradient methods share: first-order effects of a problem's components, whatever its granularity."""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, Granularity, Problem
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.engine.descent import Rule


def slope(problem: Problem) -> tuple[str, float]:
    """Name of the metric for the engine's gradients, and -1 where less of it is better."""
    metric = "logit_diff" if problem.metric == "logprob_diff" else problem.metric  # the log-normalisers cancel
    return metric, -1.0 if metric == "kl" else 1.0


def first_order(
    problem: Problem, *, baseline: Ablation | None = None, steps: int = 1, rule: Rule = "right", **options: Any
) -> Float[ndarray, "comp pair"]:
    """(Activation in the clean run - in the baseline) times a mean gradient, per component and pair.

    Positive where the component works for the metric; `kl` counts with the opposite sign, because less of it is better.

    Args:
        problem: what is localized.
        baseline: what components would be replaced with; the problem's ablation where None.
        steps: points between baseline and clean run.
        rule: where in its part of the path each point lies.
        options: further arguments of `engine.site_effects` and `engine.edge_effects`.

    Raises:
        BadOption: fewer than one step, or `kl` with its only point in the clean run, where it has no slope.
        UnknownName: a metric without gradient.
    """
    if steps < 1:
        raise BadOption(f"Expected at least one step, found {steps}. Set steps to a positive number.")
    metric, sign = slope(problem)
    if metric == "kl" and steps == 1 and rule == "right":
        raise BadOption(
            "Expected a metric with a slope in the clean run, found 'kl', which is smallest there. Use a method with "
            "steps, such as eap-ig, or another metric."
        )
    operation = engine.edge_effects if problem.space.granularity is Granularity.EDGE else engine.site_effects
    effects = operation(
        problem.model,
        problem.pairs,
        problem.space,
        metric,
        baseline=problem.ablation if baseline is None else baseline,
        steps=steps,
        rule=rule,
        reference=problem.pairs,
        seed=problem.seed,
        progress=problem.progress,
        **options,
    )
    return np.asarray(sign * effects)
