"""Effects of edges into queries and keys with attention recomputed, and linear from the heads' outputs on.

A saturated softmax has no slope, so a gradient can miss what a query or key does. Here the head's output is run with
the query (or key) that it would have without the edge, and only its change is multiplied by a gradient: the query/key
correction of AtP* (Kramár et al. 2024, arXiv:2403.00745, section 3.1.1). For one head the change of the output times the
gradient there is the change of the attention weights times the gradient with respect to them.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from arithloc.benchmark.api import ComponentSpace, Granularity, Progress, PromptPair, UnsupportedGranularity
from arithloc.benchmark.api.edges import edge_arrays, layer_edges, n_edges, n_senders, slots_per_layer
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.arguments import check_call, check_descent
from arithloc.benchmark.engine.batching import Batcher, grouped, kept_tokens
from arithloc.benchmark.engine.blocks import ATTENTION_TOKENS, Blocks
from arithloc.benchmark.engine.descent import Descent, check_metric
from arithloc.benchmark.engine.donors import Donor, RunSource, source_of
from arithloc.benchmark.engine.gradients import watch_sites
from arithloc.benchmark.engine.packed_circuits import ablated_sites, class_index
from arithloc.benchmark.engine.packed_edges import refuse_mixed_heads
from arithloc.benchmark.engine.positions import groups_of
from arithloc.benchmark.engine.qkv import slot_projection, slots
from arithloc.benchmark.engine.runs import PairRuns
from arithloc.benchmark.engine.sites import Site, SiteKind, embedding
from arithloc.benchmark.models import SubjectModel


def attention_effects(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    space: ComponentSpace,
    metric: str = "logit_diff",
    *,
    baseline: Donor = "counterfactual",
    stopped: Sequence[Collection[int]] = ((),),
    reference: Sequence[PromptPair] | None = None,
    seed: int = 0,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Float[ndarray, "variant edge pair"]:
    """Contribution of every edge into a query or key to a per-pair metric of the clean run; 0 for all other edges.

    Positive: the edge works for the metric, as in `edge_effects`, which gives the other edges.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        space: an edge space.
        metric: one of `descent.DIFFERENTIABLE`.
        baseline: what a cut edge carries.
        stopped: one variant of the gradients each: blocks through which no gradient goes back.
        reference: prompts of the mean ablation, and of `resample`.
        seed: of `resample`.
        batcher: batch size; estimated where None.
        progress: called with (done, total) pairs.

    Raises:
        BadOption: a block, pair or space that does not fit.
        UnknownName: a metric without gradient.
        UnsupportedArchitecture: heads that do not write on their own (post-norms).
        UnsupportedGranularity: not an edge space.
    """
    check_call(model, pairs, reference, space=space)
    check_metric(metric)
    for blocks in stopped:
        check_descent(model, 1, blocks)
    if space.granularity is not Granularity.EDGE:
        raise UnsupportedGranularity(
            f"Expected an edge space, found {space.granularity}. Edges into queries and keys are no components of it."
        )
    refuse_mixed_heads(model)
    batcher = batcher or Batcher(model)
    sites, layers = ablated_sites(space), range(model.shape.n_layers)
    heads = [Site(SiteKind.HEAD, layer) for layer in layers]
    kept = [*(Site(SiteKind.RESIDUAL, layer) for layer in layers), *sites[1:]]
    start = source_of(model, baseline, sites, pairs=pairs, reference=reference, seed=seed, batcher=batcher)
    classes, inner = len(groups_of(space)), n_edges(model.shape) - n_senders(model.shape)
    table = np.zeros((len(stopped), inner, classes, len(pairs)))
    done = 0
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members, length: int = length) -> None:
            nonlocal done
            batch = [pairs[i] for i in members[part]]
            point = RunSource(model, "clean")(batch, [embedding()], 0)[embedding()].clone()
            gradients = [
                Descent(model, batch, "clean", metric, blocks).gradient(embedding(), point, watch_sites(model, heads))
                for blocks in stopped
            ]
            with torch.inference_mode():
                base, donor = PairRuns(model, batch, 0, clean=kept).clean, start(batch, sites, 0)
                changes = {site: base.values[site] - donor[site] for site in sites}
                index = class_index(space, batch, 0).to(model.device)
                attention = _Attention(Blocks(model, base, length), changes, index, classes, batcher)
                for layer, edges in enumerate(layer_edges(model.shape)):
                    effects = attention.effects(layer, torch.stack([g[heads[layer]] for g in gradients]))
                    first = edges.attention.start
                    here = slice(first, first + effects.shape[1] * effects.shape[2])
                    table[:, here, :, members[part]] = effects.flatten(1, 2).cpu().numpy()
            done += len(batch)
            progress(done, len(pairs))

        wide = [model.shape.d_model] * (3 * slots(model) + model.shape.n_heads + 1)
        batcher.run(len(members), length * (4 * model.shape.n_layers + kept_tokens(model, wide)), work)
    flat = table.reshape(len(stopped), inner * classes, len(pairs))
    return np.pad(flat, ((0, 0), (0, n_senders(model.shape)), (0, 0)))


def query_key_edges(space: ComponentSpace) -> Bool[ndarray, " edge"]:
    """Which edges of a space lead into a query or a key."""
    shape, receiver = space.shape, edge_arrays(space.shape).receiver
    block, slot = np.divmod(receiver, slots_per_layer(shape))
    chosen = (block < shape.n_layers) & (slot < shape.n_heads + shape.n_kv_heads)
    inner = len(chosen) - n_senders(shape)
    return np.concatenate([np.repeat(chosen[:inner], len(groups_of(space))), chosen[inner:]])


@dataclass(frozen=True, eq=False)
class _Attention:
    """Runs the attention of one block with the queries or keys of cut edges.

    Attributes:
        blocks: the clean run's continuation from the first token on; the run holds all residual streams and heads.
        changes: clean run minus baseline at the embedding, heads and MLPs.
        index: class column of each token; the column after the last class is left out.
        classes: classes of the space, 1 in a space without.
        batcher: batch size.
    """

    blocks: Blocks
    changes: dict[Site, Tensor]
    index: Int[Tensor, "pair pos"]
    classes: int
    batcher: Batcher

    def effects(
        self, layer: int, gradients: Float[Tensor, "variant pair pos head d_head"]
    ) -> Float[Tensor, "variant slot sender cls pair"]:
        """Effects of all senders below a block on its queries and keys."""
        parts = []
        for writes in self._writes(layer):
            found: list[Tensor] = []

            def work(part: slice, writes: Tensor = writes, found: list[Tensor] = found) -> None:
                queries = self._products(layer, writes[part], "q", gradients)
                by_class = torch.nn.functional.one_hot(self.index, self.classes + 1)[..., : self.classes].double()
                of_queries = torch.einsum("vrpth,ptg->vhrgp", queries, by_class)
                of_keys = []
                for cls in range(self.classes):
                    here = (self.index == cls).unsqueeze(-1).to(writes)
                    keys = self._products(layer, writes[part] * here, "k", gradients).sum(3)
                    of_keys.append(keys.reshape(*keys.shape[:-1], self.blocks.model.shape.n_kv_heads, -1).sum(-1))
                found.append(torch.cat([of_queries, torch.stack(of_keys, 3).permute(0, 4, 1, 3, 2)], 1))

            pairs, length = self.index.shape
            most = max(1, ATTENTION_TOKENS // length)
            self.batcher.run(len(writes), pairs * length * 3 * slots(self.blocks.model), work, most=most)
            parts.append(torch.cat(found, 2))
        return torch.cat(parts, 2)

    def _writes(self, layer: int) -> Iterator[Float[Tensor, "sender pair pos d_model"]]:
        """Changes of what the input and the heads and MLPs below a block write, 0 where nothing is ablated."""
        model = self.blocks.model
        own = (self.index < self.classes).unsqueeze(-1)
        yield (self.changes[embedding()] * own).unsqueeze(0)
        for below in range(layer):
            z = self.changes[Site(SiteKind.HEAD, below)]
            yield torch.einsum("pthd,hdm->hptm", z, model.output_weight(below)) * own
            yield (self.changes[Site(SiteKind.MLP, below)] * own).unsqueeze(0)

    def _products(
        self,
        layer: int,
        writes: Float[Tensor, "row pair pos d_model"],
        slot: str,
        gradients: Float[Tensor, "variant pair pos head d_head"],
    ) -> Float[Tensor, "variant row pair pos head"]:
        """Change of z, clean minus with the queries or keys of rows that lack a write, times the gradients."""
        model, values = self.blocks.model, self.blocks.base.values
        heads, groups = model.shape.n_heads, model.shape.n_kv_heads
        residual = values[Site(SiteKind.RESIDUAL, layer)]
        chosen = slice(0, heads) if slot == "q" else slice(heads, heads + groups)
        projected = self._projected(layer, residual).repeat(len(writes), 1, 1, 1, 1)
        projected[..., chosen, :] = self._projected(layer, residual - writes.to(residual))[..., chosen, :]
        z = self.blocks.heads(layer, projected)
        change = values[Site(SiteKind.HEAD, layer)] - z
        return torch.einsum("rpthd,vpthd->vrpth", change, gradients.to(change)).double()

    def _projected(
        self, layer: int, residual: Float[Tensor, "*row pair pos d_model"]
    ) -> Float[Tensor, "*row pair pos slot d_head"]:
        model = self.blocks.model
        norm, (weight, bias) = model.input_norm(layer), slot_projection(model, layer)
        projected = torch.einsum("...m,sdm->...sd", residual if norm is None else norm(residual), weight)
        return projected if bias is None else projected + bias
