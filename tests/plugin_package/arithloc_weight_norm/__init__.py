"""A complete third-party method: scores heads and MLPs by the norm of their output weights, without running the model."""

from dataclasses import dataclass

import numpy as np

from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores

__all__ = ["WeightNorm"]


@dataclass(frozen=True)
class WeightNorm:
    """Frobenius norm of each component's output weights, to a power.

    Attributes:
        power: exponent of the norm.
    """

    power: float = 1.0

    info = MethodInfo(
        name="weight-norm",
        summary="Norm of the output weights of each head and MLP.",
        granularities={Granularity.NODE},
        access="none",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores every node of the model."""
        model = problem.model
        rows = []
        for layer in range(model.shape.n_layers):
            heads = model.output_weight(layer).flatten(1).norm(dim=1).tolist()
            rows.append([*heads, float(model.down_weight(layer).norm())])
        return Scores.of(problem.space, np.asarray(rows) ** self.power)
