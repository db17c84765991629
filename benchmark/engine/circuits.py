"""Many circuits at once: everything outside a circuit is ablated."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from numpy import ndarray
from torch import Tensor

from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Progress, PromptPair
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.batching import Batcher, grouped, ids_of
from arithloc.benchmark.engine.donors import source_of
from arithloc.benchmark.engine.forward import Edit, last_logits
from arithloc.benchmark.engine.positions import groups_of, mask
from arithloc.benchmark.engine.readings import Readings, ReadingsBuilder, Reducer
from arithloc.benchmark.engine.sites import Site, SiteKind, embedding
from arithloc.benchmark.models import SubjectModel


def circuit_forward(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    space: ComponentSpace,
    kept: Bool[ndarray, "circuit comp"],
    ablation: Ablation,
    *,
    reference: Sequence[PromptPair] | None = None,
    seed: int = 0,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Readings:
    """Readings of the clean prompts with everything outside each circuit ablated, shape (circuit, pair).

    What is ablated, at the positions of its class, or at all positions but the exemplars' in a space without classes:
    heads at z, attention blocks as all their heads, MLPs at what they write, hidden units at the input of the down
    projection. Positions of classes that the space does not name are never ablated.

    The input (the residual stream before block 0) is a member of every circuit that keeps at least one component: it
    stays clean, and with it every edge from the input to a kept component and to the logits. So a node circuit equals
    the edge circuit of all edges between its members. A row of `kept` without any component is the *empty circuit*:
    there the input is ablated too, so that with `counterfactual` ablation it equals the counterfactual run exactly, and
    with `mean` or `zero` nothing of the clean prompt is left at these positions. In the neuron space heads and input
    are not components; they stay clean in the empty circuit as well.

    Circuits are run as given: prune them first if components without a path to the logits are not to be run.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        space: layer, node or neuron components.
        kept: one circuit per row, True for what stays.
        ablation: what everything else is replaced with.
        reference: prompts that `mean` is taken over and `resample` draws from; needed for `mean`.
        seed: of `resample`.
        batcher: batch size; estimated where None.
        progress: called with (done, total) circuit-pair combinations.

    Raises:
        BadOption: `kept` does not fit the space, or a mean without reference.
        TooFewPairs: the reference lacks a position class, or there is nothing to resample from.
        UnsupportedGranularity: an edge space.
    """
    if kept.shape[1] != len(space):
        raise BadOption(
            f"Expected one column per component ({len(space)}), found {kept.shape[1]}. Build `kept` from the same space."
        )
    batcher = batcher or Batcher(model)
    sites = ablated_sites(space)
    source = source_of(model, ablation, sites, pairs=pairs, reference=reference, seed=seed, batcher=batcher)
    builder = ReadingsBuilder((len(kept),), pairs)
    circuits = torch.from_numpy(kept).view(len(kept), *space.grid_shape).to(model.device)
    done = 0
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members) -> None:
            nonlocal done
            chosen = members[part]
            batch = [pairs[i] for i in chosen]
            ids = ids_of(batch, "clean", model.device)
            reducer = Reducer(batch, last_logits(model, ids))
            builder.clean_top(chosen, reducer.clean_top)
            values = source(batch, sites, 0)
            for row, circuit in enumerate(circuits):
                edits = [_edit(site, values[site], _out(site, circuit, space, batch)) for site in sites]
                builder.put(reducer(last_logits(model, ids, edits).unsqueeze(1)), chosen, [row])
                done += len(batch)
                progress(done, len(kept) * len(pairs))

        batcher.run(len(members), length, work)
    return builder.build()


def ablated_sites(space: ComponentSpace) -> list[Site]:
    """The whole sites at which components of a space are ablated, the input first."""
    layers = range(space.shape.n_layers)
    if space.granularity is Granularity.NEURON:
        return [Site(SiteKind.HIDDEN, layer) for layer in layers]
    return [embedding(), *(Site(kind, layer) for layer in layers for kind in (SiteKind.HEAD, SiteKind.MLP))]


def _out(
    site: Site, circuit: Bool[Tensor, "layer comp *cls"], space: ComponentSpace, pairs: Sequence[PromptPair]
) -> Bool[Tensor, "pair pos *comp"]:
    """True where a site is ablated, with one column per head or hidden unit."""
    match site.kind:
        case SiteKind.RESIDUAL:
            part = circuit.any().view(1, 1).expand(1, circuit.shape[2] if space.classes else 1)
        case SiteKind.HEAD:
            part = circuit[site.layer, :-1]
            part = part if space.granularity is Granularity.NODE else part.repeat_interleave(space.shape.n_heads, 0)
        case SiteKind.MLP:
            part = circuit[site.layer, -1:]
        case _:
            part = circuit[site.layer]
    out = ~part.reshape(part.shape[0], -1)
    masks = torch.stack([mask(pairs, cls, circuit.device) for cls in groups_of(space)], -1)
    found = (masks.unsqueeze(-2) & out).any(-1)
    return found if site.kind in (SiteKind.HEAD, SiteKind.HIDDEN) else found.squeeze(-1)


def _edit(site: Site, donor: Tensor, out: Tensor) -> Edit:
    def replace(activation: Tensor) -> Tensor:
        where = out if site.kind is SiteKind.HIDDEN else out.unsqueeze(-1)
        return torch.where(where, donor, activation)

    return site, replace
