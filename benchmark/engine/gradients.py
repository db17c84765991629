"""Gradients of a metric with respect to activations, along a path between two runs."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from arithloc.benchmark.api import Progress, PromptPair
from arithloc.benchmark.api.errors import UnknownName
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine import meter
from arithloc.benchmark.engine.activations import Capture
from arithloc.benchmark.engine.batching import Batcher, grouped, ids_of
from arithloc.benchmark.engine.donors import Donor, Run, RunSource, source_of
from arithloc.benchmark.engine.forward import last_logits
from arithloc.benchmark.engine.positions import ALL, Positions, selected
from arithloc.benchmark.engine.readings import as_logits
from arithloc.benchmark.engine.sites import Site, check, embedding, hook
from arithloc.benchmark.models import SubjectModel

Path = Literal["inputs", "activations"]
"""What is interpolated: the residual stream before block 0, or the site itself."""
DIFFERENTIABLE = ("logit_diff", "logprob", "prob", "kl")
"""Metrics that have a gradient."""
_PASSES = 3
"""Forward-equivalents of one forward with its backward."""


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
    positions: Positions = ALL,
    reference: Sequence[PromptPair] | None = None,
    seed: int = 0,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Capture:
    """Mean gradient of a per-pair metric with respect to the activation at each site.

    The mean is over points baseline + (k / steps) (run - baseline), k = 1 .. steps, as in EAP-IG (Hanna et al. 2024,
    arXiv:2403.17806); one step is the gradient in the run itself (attribution patching). With `inputs` the residual
    stream before block 0 moves and all sites are read in one pass per step; with `activations` each site moves on its
    own in the run, one pass per site and step. Exemplar positions do not move. Times (run - baseline) and summed over
    positions, the result is the first-order effect of the site.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        sites: where; whole sites are cheapest, an indexed site is a slice of its whole one.
        metric: one of `DIFFERENTIABLE`.
        run: end of the path.
        baseline: start of the path.
        steps: points on the path.
        path: what moves.
        positions: tokens whose gradients are returned.
        reference: prompts of the mean ablation, and of `resample`.
        seed: of `resample`.
        batcher: batch size; estimated where None.
        progress: called with (done, total) pairs.

    Returns:
        Gradients in the form of captured activations, (pos, *width) per pair.

    Raises:
        BadOption: a site or position that does not fit.
        UnknownName: a metric without gradient.
    """
    if metric not in DIFFERENTIABLE:
        raise UnknownName.among("differentiable metric", metric, DIFFERENTIABLE)
    for site in sites:
        check(site, model.shape)
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
            one_path = _Path(model, batch, run, metric)
            # a copy made outside inference mode can be part of a graph
            ends = {site: value.clone() for site, value in end(batch, moved, 0).items()}
            starts = {site: value.clone() for site, value in start(batch, moved, 0).items()}
            groups = [(embedding(), whole)] if path == "inputs" else [(site, [site]) for site in whole]
            for moving, read in groups:
                mean = one_path.mean_gradient(moving, starts[moving], ends[moving], read, steps)
                for site in sites:
                    if site.whole in mean:
                        value = mean[site.whole]
                        value = value if site.index is None else value[:, :, site.index]
                        for row, i in enumerate(members[part]):
                            found[site][i] = value[row, list(chosen[i])].clone()
            done += len(batch)
            progress(done, len(pairs))

        # a graph holds about four times the activations of a forward, in every block
        batcher.run(len(members), 4 * length * model.shape.n_layers, work)
    return Capture(chosen, {site: tuple(values[i] for i in range(len(pairs))) for site, values in found.items()})


class _Path:
    """Gradients of one batch at points of a path."""

    def __init__(self, model: SubjectModel, pairs: list[PromptPair], run: Run, metric: str) -> None:
        self.model, self.pairs = model, pairs
        self.ids: Int[Tensor, "pair pos"] = ids_of(pairs, run, model.device)
        self.tokens = torch.tensor([[p.answer_token, p.foil_token] for p in pairs], device=model.device)
        self.moves = torch.tensor([[c != "shot" for c in p.classes] for p in pairs], device=model.device)
        self.metric = metric
        clean = None if metric != "kl" else last_logits(model, ids_of(pairs, "clean", model.device)).clone()
        self.clean = None if clean is None else as_logits(clean).log_softmax(-1)

    def mean_gradient(
        self, moving: Site, start: Tensor, end: Tensor, read: Sequence[Site], steps: int
    ) -> dict[Site, Tensor]:
        """Mean over the points, at whole sites, (pair, pos, *width)."""
        where = self.moves.view(*self.moves.shape, *[1] * (end.ndim - 2))
        total: dict[Site, Tensor] = {}
        for k in range(1, steps + 1):
            point = torch.where(where, start + (k / steps) * (end - start), end).requires_grad_()
            for site, gradient in self._gradient(moving, point, read).items():
                total[site] = total[site] + gradient if site in total else gradient
        return {site: value / steps for site, value in total.items()}

    def _gradient(self, moving: Site, point: Tensor, read: Sequence[Site]) -> dict[Site, Tensor]:
        model, tensors = self.model, {}

        def keep(site: Site) -> Callable[[Tensor], Tensor]:
            def store(value: Tensor) -> Tensor:
                tensors[site] = value
                return value  # given back, so that a reshaped activation is the one the model goes on with

            return store

        with torch.enable_grad(), ExitStack() as stack:
            stack.callback(hook(model, moving, lambda _: point).remove)
            for site in read:
                stack.callback(hook(model, site, keep(site)).remove)
            output: Any = model.module(input_ids=self.ids, use_cache=False, logits_to_keep=1)
            value = self._values(as_logits(output.logits[:, -1])).sum()
            gradients = torch.autograd.grad(value, [tensors[site] for site in read])
        rows, length = self.ids.shape
        layers = model.shape.n_layers
        meter.count(rows=rows, half_blocks=2 * _PASSES * layers, positions=length, n_layers=layers, length=length)
        return dict(zip(read, gradients, strict=True))

    def _values(self, logits: Float[Tensor, "pair vocab"]) -> Float[Tensor, " pair"]:
        read = logits.gather(-1, self.tokens)
        log_probs = logits.log_softmax(-1)
        match self.metric:
            case "logit_diff":
                return read[:, 0] - read[:, 1]
            case "logprob":
                return log_probs.gather(-1, self.tokens)[:, 0]
            case "prob":
                return log_probs.gather(-1, self.tokens)[:, 0].exp()
        if self.clean is None:
            raise UnknownName.among("differentiable metric", self.metric, DIFFERENTIABLE)
        return (self.clean.exp() * (self.clean - log_probs)).sum(-1)
