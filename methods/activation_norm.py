"""Activation norm: how much a component writes, a baseline that knows nothing of the task."""

import torch
from jaxtyping import Float
from torch import Tensor

from arithloc.benchmark import engine
from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.benchmark.engine import Capture, Site, SiteKind
from arithloc.benchmark.models import SubjectModel


class ActivationNorm:
    """Mean L2 norm of what each component adds to the residual stream, over clean prompts and their query positions.

    A head adds z W_O, a hidden unit m times its row of W_down; the projections' biases belong to no component. In
    families with a post-norm, heads and units are measured before it.
    """

    info = MethodInfo(
        name="activation-norm",
        summary="Mean norm of what a component adds to the residual stream.",
        granularities={Granularity.LAYER, Granularity.NODE, Granularity.NEURON},
        cost="constant",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores every component; one forward per pair."""
        model, layers = problem.model, range(problem.space.shape.n_layers)
        kinds = {
            Granularity.LAYER: (SiteKind.ATTENTION, SiteKind.MLP),
            Granularity.NODE: (SiteKind.HEAD, SiteKind.MLP),
            Granularity.NEURON: (SiteKind.HIDDEN,),
        }[problem.space.granularity]
        sites = [Site(kind, layer) for layer in layers for kind in kinds]
        groups = problem.space.classes or ("all",)
        columns = []
        for group in groups:
            found = engine.capture(model, problem.pairs, sites, positions=group, progress=problem.progress)
            rows = [torch.cat([_norms(model, found, Site(kind, layer)) for kind in kinds]) for layer in layers]
            columns.append(torch.stack(rows))
        grid = torch.stack(columns, -1) if problem.space.classes else columns[0]
        return Scores.of(problem.space, grid.double().cpu().numpy())


def _norms(model: SubjectModel, found: Capture, site: Site) -> Float[Tensor, " part"]:
    """Mean over all captured tokens of the norm of each part of a site's write."""
    values = torch.cat(found.ragged(site)).float()
    match site.kind:
        case SiteKind.HEAD:
            norms: Tensor = torch.einsum("thd,hdm->thm", values, model.output_weight(site.layer).float()).norm(dim=-1)
        case SiteKind.HIDDEN:
            norms = values.abs() * model.down_weight(site.layer).float().norm(dim=-1)
        case _:
            norms = values.norm(dim=-1, keepdim=True)
    if not len(norms):  # a position class that no prompt has
        return norms.new_zeros(norms.shape[1])
    return norms.mean(0)
