"""Weight norm: how large a component's output weights are, a baseline that sees no prompt at all."""

import torch
from jaxtyping import Float
from torch import Tensor

from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores


class WeightNorm:
    """Frobenius norm of the weights with which a component writes to the residual stream.

    For a head its rows of W_O, for an attention block all of W_O, for an MLP W_down, for a hidden unit its row of
    W_down. Weights do not know positions: every position class of a component has the same score.
    """

    info = MethodInfo(
        name="weight-norm",
        summary="Norm of each component's output weights.",
        granularities={Granularity.LAYER, Granularity.NODE, Granularity.NEURON},
        access="weights",
        cost="none",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores every component; no forward."""
        model, space = problem.model, problem.space
        rows = []
        for layer in range(space.shape.n_layers):
            attention, down = _norms(model.output_weight(layer), 2), _norms(model.down_weight(layer), 1)
            match space.granularity:
                case Granularity.NEURON:
                    rows.append(down)
                case Granularity.NODE:
                    rows.append(torch.cat([attention, down.norm().view(1)]))
                case _:
                    rows.append(torch.stack([attention.norm(), down.norm()]))
        grid = torch.stack(rows)
        if space.classes:
            grid = grid.unsqueeze(-1).expand(*grid.shape, len(space.classes))
        return Scores.of(space, grid.numpy())


def _norms(weight: Tensor, dims: int) -> Float[Tensor, " part"]:
    """Norm over the last dimensions, in float64."""
    norms: Tensor = weight.double().flatten(-dims).norm(dim=-1)
    return norms.cpu()
