"""First-order effects of all components that are places of the model at once: attribution patching and its kin."""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from arithloc.benchmark.api import ComponentSpace, Granularity, Progress, PromptPair
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.arguments import check_call, check_choice, check_descent
from arithloc.benchmark.engine.batching import Batcher, grouped
from arithloc.benchmark.engine.descent import Descent, Rule, check_metric
from arithloc.benchmark.engine.donors import Donor, Run, RunSource, source_of
from arithloc.benchmark.engine.gradients import Path, watch_sites
from arithloc.benchmark.engine.packed_circuits import class_index
from arithloc.benchmark.engine.positions import groups_of
from arithloc.benchmark.engine.sites import Site, SiteKind, embedding, sites_of
from arithloc.benchmark.models import SubjectModel


def site_effects(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    space: ComponentSpace,
    metric: str = "logit_diff",
    *,
    run: Run = "clean",
    baseline: Donor = "counterfactual",
    steps: int = 1,
    path: Path = "inputs",
    rule: Rule = "right",
    stopped: Collection[int] = (),
    reference: Sequence[PromptPair] | None = None,
    seed: int = 0,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Float[ndarray, "comp pair"]:
    """First-order contribution of every component to a per-pair metric, without patching any.

    The sum over the component's positions of (activation in the run - in the baseline) times the mean gradient along the
    path, as `gradients` defines it. Positive: the component works for the metric. Activations are taken where circuits
    are ablated: z of heads (an attention block is all its heads), the write of an MLP, hidden units.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        space: a layer, node or neuron space; with position classes each component is summed within a class.
        metric: one of `descent.DIFFERENTIABLE`.
        run: end of the path.
        baseline: start of the path.
        steps: points on the path.
        path: what moves; with `activations` all heads, or all hidden units, of a block move together.
        rule: where in its part of the path each point lies.
        stopped: blocks through which no gradient goes back.
        reference: prompts of the mean ablation, and of `resample`.
        seed: of `resample`.
        batcher: batch size; estimated where None.
        progress: called with (done, total) pairs.

    Raises:
        BadOption: an option, block, pair or space that does not fit.
        UnknownName: a metric without gradient.
        UnsupportedGranularity: an edge space; see `edge_effects`.
    """
    check_call(model, pairs, reference, space=space)
    check_metric(metric)
    check_choice("run", run, Run)
    check_choice("path", path, Path)
    check_choice("rule", rule, Rule)
    check_descent(model, steps, stopped)
    batcher = batcher or Batcher(model)
    sites = _ablated(space)
    needed = [embedding(), *sites] if path == "inputs" else sites
    end = RunSource(model, run)
    start = source_of(model, baseline, needed, pairs=pairs, reference=reference, seed=seed, batcher=batcher)
    found = np.zeros((len(space), len(pairs)))
    done = 0
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members) -> None:
            nonlocal done
            batch = [pairs[i] for i in members[part]]
            descent = Descent(model, batch, run, metric, stopped)
            # copies made outside inference mode can be part of a graph
            ends = {site: value.clone() for site, value in end(batch, needed, 0).items()}
            starts = {site: value.clone() for site, value in start(batch, needed, 0).items()}
            moving = {embedding(): sites} if path == "inputs" else {site: [site] for site in sites}
            mean: dict[Site, Tensor] = {}
            for site, read in moving.items():
                watch = watch_sites(model, read)
                mean |= descent.mean_gradient(site, starts[site], ends[site], watch, steps=steps, rule=rule)
            index = class_index(space, batch, 0)
            effects = [
                _by_class(space, site, (ends[site] - starts[site]) * mean[site].to(ends[site].device), index)
                for site in sites
            ]
            found[:, members[part]] = torch.cat(effects, 1).flatten(1).T.numpy()
            done += len(batch)
            progress(done, len(pairs))

        # a graph holds about four times the activations of a forward, in every block
        batcher.run(len(members), 4 * length * model.shape.n_layers, work)
    return found


def _ablated(space: ComponentSpace) -> list[Site]:
    """Whole sites of the components, in the order of the space."""
    layers = range(space.shape.n_layers)
    if space.granularity is Granularity.NEURON:
        return [Site(SiteKind.HIDDEN, layer) for layer in layers]
    sites_of(space)  # refuses edges
    return [Site(kind, layer) for layer in layers for kind in (SiteKind.HEAD, SiteKind.MLP)]


def _by_class(
    space: ComponentSpace, site: Site, products: Float[Tensor, "pair pos ..."], index: Int[Tensor, "pair pos"]
) -> Float[Tensor, "pair part cls"]:
    """Products summed over what belongs to each component of a site and over the positions of each class."""
    products = products.double().cpu()
    match site.kind:
        case SiteKind.HIDDEN:
            parts = products
        case SiteKind.HEAD if space.granularity is Granularity.NODE:
            parts = products.sum(-1)
        case _:
            parts = products.flatten(2).sum(-1, keepdim=True)
    n_classes = len(groups_of(space))
    members = torch.nn.functional.one_hot(index, n_classes + 1)[..., :n_classes]
    return torch.einsum("ptk,ptg->pkg", parts, members.double())
