"""Circuits that keep shares of components, with the gradient with respect to the shares: what mask learning needs."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, PromptPair
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.engine import meter
from arithloc.benchmark.engine.arguments import check_call
from arithloc.benchmark.engine.batching import Batcher, grouped, kept_tokens
from arithloc.benchmark.engine.blocks import Blocks
from arithloc.benchmark.engine.descent import PASSES, Descent, check_metric
from arithloc.benchmark.engine.donors import source_of
from arithloc.benchmark.engine.packed_circuits import ablated_sites, class_index
from arithloc.benchmark.engine.packed_edges import KeptEdges, edge_rows, refuse_mixed_heads
from arithloc.benchmark.engine.positions import groups_of
from arithloc.benchmark.engine.qkv import slots
from arithloc.benchmark.engine.readings import as_logits
from arithloc.benchmark.engine.runs import BaseRun, PairRuns
from arithloc.benchmark.engine.sites import Site, SiteKind, embedding, hook
from arithloc.benchmark.models import SubjectModel


@dataclass(frozen=True, eq=False)
class MaskGradient:
    """What a mask gives.

    Attributes:
        values: the metric of each pair.
        gradient: derivative of the mean of the values with respect to the mask.
    """

    values: Float[ndarray, " pair"]
    gradient: Float[ndarray, " comp"]


class MaskGradients:
    """Runs clean prompts with each component between its ablated value (0) and what the circuit gives it (1).

    With zeros and ones alone the values are those of `circuit_forward`; the input stays clean, in the empty circuit too.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        space: the components.
        metric: one of `descent.DIFFERENTIABLE`.
        ablation: what components are mixed with.
        reference: prompts of the mean ablation, and of `resample`.
        seed: of `resample`.
        batcher: batch size; estimated where None.

    Raises:
        UnknownName: a metric without gradient.
        UnsupportedArchitecture: an edge space of a model whose heads do not write on their own (post-norms).
    """

    def __init__(
        self,
        model: SubjectModel,
        pairs: Sequence[PromptPair],
        space: ComponentSpace,
        metric: str = "kl",
        *,
        ablation: Ablation = Ablation.COUNTERFACTUAL,
        reference: Sequence[PromptPair] | None = None,
        seed: int = 0,
        batcher: Batcher | None = None,
    ) -> None:
        check_call(model, pairs, reference, space=space)
        check_metric(metric)
        if space.granularity is Granularity.EDGE:
            refuse_mixed_heads(model)
        self.model, self.pairs, self.space, self.metric = model, pairs, space, metric
        self._batcher = batcher or Batcher(model)
        self._sites = ablated_sites(space)
        self._source = source_of(
            model, ablation, self._sites, pairs=pairs, reference=reference, seed=seed, batcher=self._batcher
        )

    def __call__(self, mask: Float[ndarray, " comp"], chosen: Sequence[int] | None = None) -> MaskGradient:
        """Values and gradient of one mask; one forward for the ablated values, one forward and backward.

        Args:
            mask: share of each component that is kept.
            chosen: indices of the pairs to run; all where None.

        Raises:
            BadOption: a mask of another length.
        """
        if mask.shape != (len(self.space),):
            raise BadOption(
                f"Expected a mask of {len(self.space)} shares, found shape {mask.shape}. Build it from the same space."
            )
        chosen = range(len(self.pairs)) if chosen is None else chosen
        values, total = np.zeros(len(chosen)), np.zeros(len(self.space))
        edges = self.space.granularity is Granularity.EDGE
        wide = [self.model.shape.d_model] * (3 * slots(self.model) + self.model.shape.n_heads + 1) if edges else []
        for length, members in grouped([self.pairs[i].n_tokens for i in chosen]).items():

            def work(part: slice, members: list[int] = members, length: int = length) -> None:
                nonlocal total
                batch = [self.pairs[chosen[i]] for i in members[part]]
                descent = Descent(self.model, batch, "clean", self.metric)
                shares = torch.tensor(mask, dtype=self.model.dtype, device=self.model.device, requires_grad=True)
                donor = {site: value.clone() for site, value in self._source(batch, self._sites, 0).items()}
                with torch.enable_grad():
                    found = descent.values((self._edges if edges else self._sites_mixed)(batch, descent, shares, donor))
                    (gradient,) = torch.autograd.grad(found.sum(), shares)
                values[members[part]] = found.detach().double().cpu().numpy()
                total = total + gradient.double().cpu().numpy()

            layers = self.model.shape.n_layers
            self._batcher.run(len(members), length * layers * (4 + kept_tokens(self.model, wide)), work)
        return MaskGradient(values, total / len(chosen))

    def _sites_mixed(
        self, batch: list[PromptPair], descent: Descent, mask: Tensor, donor: dict[Site, Tensor]
    ) -> Float[Tensor, "pair vocab"]:
        """Logits with the activations at sites mixed."""
        model, layers = self.model, self.model.shape.n_layers
        index = class_index(self.space, batch, 0).to(mask.device)
        with ExitStack() as stack:
            for site in self._sites:
                if site != embedding():
                    stack.callback(hook(model, site, self._mixing(site, mask, donor[site], index)).remove)
            output: Any = model.module(input_ids=descent.ids, use_cache=False, logits_to_keep=1)
        rows, length = descent.ids.shape
        meter.count(rows=rows, half_blocks=2 * PASSES * layers, positions=length, n_layers=layers, length=length)
        return as_logits(output.logits[:, -1])

    def _mixing(
        self, site: Site, mask: Tensor, donor: Tensor, index: Int[Tensor, "pair pos"]
    ) -> Callable[[Tensor], Tensor]:
        """Mixes one site with its ablated values; tokens without a class keep theirs."""
        grid = mask.view(self.model.shape.n_layers, -1, len(groups_of(self.space)))[site.layer]
        match site.kind:
            case SiteKind.HEAD:  # an attention block has one share for all its heads
                rows = grid[:-1].expand(self.model.shape.n_heads, -1)
            case SiteKind.MLP:
                rows = grid[-1:]
            case _:
                rows = grid
        shares = torch.nn.functional.pad(rows, (0, 1), value=1.0)
        by_token = shares[:, index].permute(1, 2, 0)  # (pair, pos, head, unit, or 1 for an MLP as a whole)

        def mix(value: Tensor) -> Tensor:
            share = by_token.unsqueeze(-1) if site.kind is SiteKind.HEAD else by_token
            return donor + share.to(value.device) * (value - donor)

        return mix

    def _edges(
        self, batch: list[PromptPair], descent: Descent, mask: Tensor, donor: dict[Site, Tensor]
    ) -> Float[Tensor, "pair vocab"]:
        """Logits with what each receiver reads mixed."""
        with torch.no_grad():
            base = in_graph(PairRuns(self.model, batch, 0, clean=[embedding()]).clean)
        index = class_index(self.space, batch, 0).to(mask.device)
        kept = KeptEdges.of(self.space, mask.unsqueeze(0))
        residual = edge_rows(Blocks(self.model, base, batch[0].n_tokens), donor, kept, index)
        return as_logits(self.model.logits(residual[0]).to(mask.device))


def in_graph(base: BaseRun) -> BaseRun:
    """The same base run with tensors that may be part of a graph, which those made in inference mode may not."""

    def copied(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(copied(part) for part in value)
        return value.clone() if isinstance(value, Tensor) else value

    calls = tuple(
        dataclasses.replace(
            call,
            constants={name: copied(value) for name, value in call.constants.items()},
            positions={name: copied(value) for name, value in call.positions.items()},
            allowed=call.allowed.clone(),
        )
        for call in base.calls
    )
    return dataclasses.replace(
        base,
        values={site: value.clone() for site, value in base.values.items()},
        logits=base.logits.clone(),
        keys=copied(base.keys),
        key_values=copied(base.key_values),
        calls=calls,
    )
