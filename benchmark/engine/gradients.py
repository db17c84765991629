"""Gradients of a metric with respect to activations, along a path between two runs."""

from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from typing import Literal

from torch import Tensor

from arithloc.benchmark.api import Progress, PromptPair
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.activations import Capture
from arithloc.benchmark.engine.arguments import check_call, check_choice, check_descent
from arithloc.benchmark.engine.batching import Batcher, grouped
from arithloc.benchmark.engine.descent import Descent, Rule, Watch, check_metric
from arithloc.benchmark.engine.donors import Donor, Run, RunSource, source_of
from arithloc.benchmark.engine.positions import ALL, Positions, selected
from arithloc.benchmark.engine.sites import Site, check, embedding, hook
from arithloc.benchmark.models import SubjectModel

Path = Literal["inputs", "activations"]
"""What is interpolated: the residual stream before block 0, or the site itself."""


def gradients(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    sites: Sequence[Site],
    metric: str = "logit_diff",
    *,
    run: Run = "clean",
    baseline: Donor = "counterfactual",
    steps: int = 1,
    path: Path = "inputs",
    rule: Rule = "right",
    stopped: Collection[int] = (),
    positions: Positions = ALL,
    reference: Sequence[PromptPair] | None = None,
    seed: int = 0,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Capture:
    """Mean gradient of a per-pair metric with respect to the activation at each site.

    The mean is over points baseline + (k / steps) (run - baseline), k = 1 .. steps, as in EAP-IG (Hanna et al. 2024,
    arXiv:2403.17806); one step is the gradient in the run itself (attribution patching). With the rule `midpoint` it
    is k - 1/2 and with `left` k - 1, so that one step is the gradient in the baseline. With `inputs` the residual
    stream before block 0 moves and all sites are read in one pass per step; with `activations` each site moves on its
    own in the run, one pass per site and step. Exemplar positions do not move. Times (run - baseline) and summed over
    positions, the result is the first-order effect of the site.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        sites: where; whole sites are cheapest, an indexed site is a slice of its whole one.
        metric: one of `descent.DIFFERENTIABLE`.
        run: end of the path.
        baseline: start of the path.
        steps: points on the path.
        path: what moves.
        rule: where in its part of the path each point lies.
        stopped: blocks through which no gradient goes back (GradDrop, Kramár et al. 2024, arXiv:2403.00745).
        positions: tokens whose gradients are returned.
        reference: prompts of the mean ablation, and of `resample`.
        seed: of `resample`.
        batcher: batch size; estimated where None.
        progress: called with (done, total) pairs.

    Returns:
        Gradients in the form of captured activations, (pos, *width) per pair.

    Raises:
        BadOption: an option, block, pair, site or position that does not fit, or no site at all.
        UnknownName: a metric without gradient.
    """
    check_call(model, pairs, reference)
    check_metric(metric)
    check_choice("run", run, Run)
    check_choice("path", path, Path)
    check_choice("rule", rule, Rule)
    check_descent(model, steps, stopped)
    for site in sites:
        check(site, model.shape)
    if not sites:
        raise BadOption("Expected at least one site, found none. Name the activations whose gradients are wanted.")
    batcher = batcher or Batcher(model)
    whole = list(dict.fromkeys(site.whole for site in sites))
    moved = [embedding()] if path == "inputs" else whole
    end = RunSource(model, run)
    start = source_of(model, baseline, moved, pairs=pairs, reference=reference, seed=seed, batcher=batcher)
    chosen = tuple(selected(pair, positions) for pair in pairs)
    found: dict[Site, dict[int, Tensor]] = {site: {} for site in sites}
    done = 0
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members) -> None:
            nonlocal done
            batch = [pairs[i] for i in members[part]]
            descent = Descent(model, batch, run, metric, stopped)
            # a copy made outside inference mode can be part of a graph
            ends = {site: value.clone() for site, value in end(batch, moved, 0).items()}
            starts = {site: value.clone() for site, value in start(batch, moved, 0).items()}
            groups = [(embedding(), whole)] if path == "inputs" else [(site, [site]) for site in whole]
            for moving, read in groups:
                watch = watch_sites(model, read)
                mean = descent.mean_gradient(moving, starts[moving], ends[moving], watch, steps=steps, rule=rule)
                for site in sites:
                    if site.whole in mean:
                        value = mean[site.whole]
                        value = value if site.index is None else value[:, :, site.index]
                        for row, i in enumerate(members[part]):
                            found[site][i] = value[row, list(chosen[i])].to(model.device)
            done += len(batch)
            progress(done, len(pairs))

        # a graph holds about four times the activations of a forward, in every block
        batcher.run(len(members), 4 * length * model.shape.n_layers, work)
    return Capture(chosen, {site: tuple(values[i] for i in range(len(pairs))) for site, values in found.items()})


def watch_sites(model: SubjectModel, sites: Sequence[Site]) -> Watch[Site]:
    """Notes the activations at whole sites."""

    def register(stack: ExitStack, tensors: dict[Site, Tensor]) -> None:
        def keep(site: Site) -> Callable[[Tensor], Tensor]:
            def store(value: Tensor) -> Tensor:
                tensors[site] = value
                return value  # given back, so that a reshaped activation is the one the model goes on with

            return store

        for site in sites:
            stack.callback(hook(model, site, keep(site)).remove)

    return register
