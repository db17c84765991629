"""First-order effects of all edges at once: edge attribution patching, with or without integrated gradients."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from arithloc.benchmark.api import ComponentSpace, Granularity, Progress, PromptPair, UnsupportedGranularity
from arithloc.benchmark.api.edges import head_sender, layer_edges, mlp_sender, n_edges, n_senders
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.arguments import check_call, check_choice, check_descent
from arithloc.benchmark.engine.batching import Batcher, grouped, kept_tokens
from arithloc.benchmark.engine.descent import Descent, Rule, check_metric
from arithloc.benchmark.engine.donors import Donor, Run, RunSource, source_of
from arithloc.benchmark.engine.gradients import Path
from arithloc.benchmark.engine.packed_circuits import ablated_sites, class_index
from arithloc.benchmark.engine.packed_edges import refuse_mixed_heads
from arithloc.benchmark.engine.positions import groups_of
from arithloc.benchmark.engine.qkv import by_slot, modules, slot_projection, slots
from arithloc.benchmark.engine.sites import Site, SiteKind, embedding
from arithloc.benchmark.models import SubjectModel


def edge_effects(
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
) -> Float[ndarray, "edge pair"]:
    """First-order contribution of every edge to a per-pair metric, without running any edge.

    For an edge from s to r it is the sum over the space's positions of (write of s in the run - in the baseline) times
    the gradient with respect to what r reads of the residual stream, before its norm (edge attribution patching, Syed
    et al. 2023, arXiv:2310.10348; the mean gradient over points k / steps of the way from baseline to run, k = 1 ..
    steps, is EAP-IG with inputs, Hanna et al. 2024, arXiv:2403.17806). With the path `activations` the gradient for
    edges from s is taken where s itself is between baseline and run, heads of a block together, and everything else
    follows: one forward and backward per step, block and kind of sender. Positive: the edge works for the metric.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        space: an edge space; with position classes each edge is summed within a class.
        metric: one of `descent.DIFFERENTIABLE`.
        run: end of the path.
        baseline: start of the path.
        steps: points on the path.
        path: what moves.
        rule: where in its part of the path each point lies.
        stopped: blocks through which no gradient goes back.
        reference: prompts of the mean ablation, and of `resample`.
        seed: of `resample`.
        batcher: batch size; estimated where None.
        progress: called with (done, total) pairs.

    Raises:
        BadOption: an option, block, pair or space that does not fit.
        UnknownName: a metric without gradient.
        UnsupportedArchitecture: heads that do not write on their own (post-norms).
        UnsupportedGranularity: not an edge space.
    """
    check_call(model, pairs, reference, space=space)
    check_metric(metric)
    check_choice("run", run, Run)
    check_choice("path", path, Path)
    check_choice("rule", rule, Rule)
    check_descent(model, steps, stopped)
    if space.granularity is not Granularity.EDGE:
        raise UnsupportedGranularity(
            f"Expected an edge space, found {space.granularity}. Use gradients() for activations at sites."
        )
    refuse_mixed_heads(model)
    batcher = batcher or Batcher(model)
    sites = ablated_sites(space)
    end = RunSource(model, run)
    start = source_of(model, baseline, sites, pairs=pairs, reference=reference, seed=seed, batcher=batcher)
    found = np.zeros((len(space), len(pairs)))
    done = 0
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members) -> None:
            nonlocal done
            batch = [pairs[i] for i in members[part]]
            ends, starts = end(batch, sites, 0), start(batch, sites, 0)
            changes = {site: ends[site].clone() - starts[site].clone() for site in sites}
            index = class_index(space, batch, 0).to(model.device)
            effects = _Effects(model, changes, index, len(groups_of(space)))
            descent = Descent(model, batch, run, metric, stopped)
            for moving in [embedding()] if path == "inputs" else sites:
                readers = _Readers.of(model, moving)
                for point in descent.points(starts[moving].clone(), ends[moving].clone(), steps, rule):
                    read: dict[_Read, Tensor] = {}
                    gradients = descent.gradient(moving, point, _watch(model, readers, read))
                    effects.add(gradients, read, readers, None if path == "inputs" else moving)
            found[:, members[part]] = effects.flat().cpu().numpy() / steps
            done += len(batch)
            progress(done, len(pairs))

        # the graph of all blocks, and one block's receivers and senders at full width
        wide = [model.shape.d_model] * (3 * slots(model) + model.shape.n_heads + 1)
        batcher.run(len(members), length * (4 * model.shape.n_layers + kept_tokens(model, wide)), work)
    return found


_Read = tuple[str, int, int]
"""What is noted in a forward: `attention`, `mlp` or `final` residual streams, `slot` outputs and `mlp_input`."""


@dataclass(frozen=True)
class _Readers:
    """The first blocks whose attention and whose MLP read what a site writes."""

    attention: int
    mlp: int

    @classmethod
    def of(cls, model: SubjectModel, site: Site) -> "_Readers":
        if site.kind is SiteKind.RESIDUAL:
            return cls(site.layer, site.layer)
        own = site.kind is SiteKind.HEAD and not model.shape.parallel
        return cls(site.layer + 1, site.layer + (not own))


def _watch(model: SubjectModel, readers: _Readers, read: dict[_Read, Tensor]) -> Any:
    """Notes what the receivers read in `read`, and tensors whose gradients tell what they do with it."""

    def register(stack: ExitStack, tensors: dict[_Read, Tensor]) -> None:
        def note(key: _Read, module: nn.Module) -> None:
            def pre(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                read[key] = (args[0] if args else kwargs["hidden_states"]).detach()

            stack.callback(module.register_forward_pre_hook(pre, with_kwargs=True).remove)

        def output(key: _Read, module: nn.Module) -> None:
            def post(_: nn.Module, __: tuple[Any, ...], value: Tensor) -> Tensor:
                tensors[key] = value
                return value.clone()  # some models clamp in place what goes on from here (OLMo's clip_qkv)

            # before any hook that changes what goes on from here, and with it the gradient
            stack.callback(module.register_forward_hook(post, prepend=True).remove)

        def own_copy(key: _Read, module: nn.Module) -> None:
            def pre(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
                # a copy of its own, because the same tensor may be read by attention as well
                tensors[key] = args[0].clone()
                return (tensors[key], *args[1:])

            stack.callback(module.register_forward_pre_hook(pre).remove)

        for layer in range(model.shape.n_layers):
            if layer >= readers.attention:
                note(("attention", layer, 0), model.blocks[layer])
                for i, module in enumerate(modules(model, layer)):
                    output(("slot", layer, i), module)
            if layer >= readers.mlp:
                own_copy(("mlp_input", layer, 0), model.mlp(layer))
                norm = model.mlp_norm(layer)
                note(("mlp", layer, 0), model.blocks[layer] if norm is None else norm)
        own_copy(("final", 0, 0), model.final_norm)

    return register


def _before(
    norm: nn.Module | None,
    residual: Float[Tensor, "pair pos d_model"],
    gradient: Float[Tensor, "pair pos slot d_model"],
) -> Float[Tensor, "pair pos slot d_model"]:
    """Gradients before a norm, from gradients after it, for several readers of the same residual stream."""
    if norm is None:
        return gradient
    with torch.enable_grad():
        copies = residual.to(gradient.device).unsqueeze(2).expand(gradient.shape).clone().requires_grad_()
        return torch.autograd.grad(norm(copies), copies, gradient)[0]


@dataclass(eq=False)
class _Effects:
    """Sums of effects of one batch.

    Attributes:
        changes: run minus baseline at the embedding, heads and MLPs.
        index: class column of each token; the column after the last class is left out.
        n_classes: classes of the space, 1 in a space without.
    """

    model: SubjectModel
    changes: dict[Site, Tensor]
    index: Int[Tensor, "pair pos"]
    n_classes: int
    inner: Tensor = field(init=False)
    """(pair, edge, cls)"""
    logits: Tensor = field(init=False)
    """(pair, sender)"""

    def __post_init__(self) -> None:
        shape, first = self.model.shape, self.changes[embedding()]
        n_logits = n_senders(shape)
        self.inner = first.new_zeros(len(first), n_edges(shape) - n_logits, self.n_classes, dtype=torch.float64)
        self.logits = first.new_zeros(len(first), n_logits, dtype=torch.float64)

    def flat(self) -> Float[Tensor, "edge pair"]:
        """In the order of the space."""
        return torch.cat([self.inner.flatten(1), self.logits], 1).T

    def add(
        self, gradients: dict[_Read, Tensor], read: dict[_Read, Tensor], readers: _Readers, only: Site | None
    ) -> None:
        """Adds the effects at one point of a path: of all senders, or of those at one site."""
        model, shape = self.model, self.model.shape
        for layer, edges in enumerate(layer_edges(shape)):
            found: list[Tensor] = []
            tables: list[Tensor] = []
            if layer >= readers.attention:
                outputs = [gradients["slot", layer, i] for i in range(len(modules(model, layer)))]
                after = torch.einsum("ptsd,sdm->ptsm", by_slot(model, outputs), slot_projection(model, layer)[0])
                found.append(_before(model.input_norm(layer), read["attention", layer, 0], after))
                table = self.inner[:, edges.attention]
                tables.append(table.view(len(table), slots(model), edges.attention_senders, -1))
            if layer >= readers.mlp:
                norm = model.mlp_norm(layer)
                norm = model.input_norm(layer) if norm is None and shape.parallel else norm
                found.append(_before(norm, read["mlp", layer, 0], gradients["mlp_input", layer, 0].unsqueeze(2)))
                tables.append(self.inner[:, edges.mlp].unsqueeze(1))
                if not shape.parallel and only in (None, Site(SiteKind.HEAD, layer)):
                    own = self._by_class(found[-1], self._heads(layer))
                    tables[-1][:, :, edges.attention_senders :] += own.to(self.inner.device)
            if not found:
                continue
            for first, writes in self._written(layer, only):
                products = self._by_class(torch.cat(found, 2), writes).to(self.inner.device)
                parts = torch.split(products, [table.shape[1] for table in tables], 1)
                for table, part in zip(tables, parts, strict=True):
                    table[:, :, first : first + part.shape[2]] += part
        self._add_last(gradients["final", 0, 0][:, -1], only)

    def _written(self, layers: int, only: Site | None, *, last: bool = False) -> Iterator[tuple[int, Tensor]]:
        """Index of the first sender and changes (pair, pos, sender, d_model), of the input and the first blocks."""
        here = slice(-1, None) if last else slice(None)
        if only in (None, embedding()):
            yield 0, self.changes[embedding()][:, here].unsqueeze(2)
        for layer in range(layers):
            if only in (None, Site(SiteKind.HEAD, layer)):
                yield head_sender(self.model.shape, layer, 0), self._heads(layer, last=last)
            if only in (None, mlp := Site(SiteKind.MLP, layer)):
                yield mlp_sender(self.model.shape, layer), self.changes[mlp][:, here].unsqueeze(2)

    def _by_class(
        self, gradient: Float[Tensor, "pair pos slot d_model"], writes: Float[Tensor, "pair pos sender d_model"]
    ) -> Float[Tensor, "pair slot sender cls"]:
        """Products summed over the positions of each class."""
        products = torch.einsum("ptkm,ptsm->ptks", gradient, writes.to(gradient.device)).double()
        members = torch.nn.functional.one_hot(self.index, self.n_classes + 1)[..., : self.n_classes]
        return torch.einsum("ptks,ptg->pksg", products, members.to(products))

    def _add_last(self, gradient: Float[Tensor, "pair d_model"], only: Site | None) -> None:
        """Adds the effects on the logits."""
        for first, writes in self._written(self.model.shape.n_layers, only, last=True):
            products = torch.einsum("psm,pm->ps", writes[:, 0], gradient.to(writes.device)).double()
            self.logits[:, first : first + products.shape[1]] += products.to(self.logits.device)

    def _heads(self, layer: int, *, last: bool = False) -> Float[Tensor, "pair pos head d_model"]:
        z = self.changes[Site(SiteKind.HEAD, layer)]
        return torch.einsum("pthd,hdm->pthm", z[:, -1:] if last else z, self.model.output_weight(layer))
