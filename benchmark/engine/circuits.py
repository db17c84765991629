"""Many circuits at once: everything outside a circuit is ablated."""

from collections.abc import Sequence

from jaxtyping import Bool
from numpy import ndarray
from torch import Tensor

from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, Progress, PromptPair
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.arguments import check_call, circuits_of
from arithloc.benchmark.engine.batching import Batcher, kept_tokens
from arithloc.benchmark.engine.donors import Source, source_of
from arithloc.benchmark.engine.packed import Batch, PackedReadings, first_change
from arithloc.benchmark.engine.packed_circuits import Outside, ablated_sites, circuit_rows, class_index
from arithloc.benchmark.engine.packed_edges import KeptEdges, edge_rows, refuse_mixed_heads
from arithloc.benchmark.engine.positions import groups_of, selected
from arithloc.benchmark.engine.qkv import slots
from arithloc.benchmark.engine.readings import Readings
from arithloc.benchmark.engine.sites import Site, SiteKind
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

    An edge circuit keeps single reads: each query, key, value, MLP and the logits read the donor's residual stream plus
    what the kept edges' senders write more or less than in the donor. The edge from the input to the logits is an edge
    like any other, so a circuit without edges equals the counterfactual run. With position classes, edges into the
    logits are those at the scored position, in every pair, whichever classes the space names.

    Circuits are run as given: prune them first if components without a path to the logits are not to be run.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        space: the components.
        kept: one circuit per row, True for what stays.
        ablation: what everything else is replaced with.
        reference: prompts that `mean` is taken over and `resample` draws from; needed for `mean`.
        seed: of `resample`.
        batcher: batch size; estimated where None.
        progress: called with (done, total) circuit-pair combinations.

    Raises:
        BadOption: a pair or space that does not fit the model, `kept` that does not fit the space, or a mean without
            reference.
        TooFewPairs: the reference lacks a position class, or there is nothing to resample from.
        UnsupportedArchitecture: an edge space of a model whose heads do not write on their own (post-norms), or
            parts of the model cannot be run on their own.
    """
    check_call(model, pairs, reference, space=space)
    circuits = circuits_of(kept, space, model.device)
    batcher = batcher or Batcher(model)
    sites = ablated_sites(space)
    source = source_of(model, ablation, sites, pairs=pairs, reference=reference, seed=seed, batcher=batcher)
    edges = space.granularity is Granularity.EDGE
    if edges:
        refuse_mixed_heads(model)
    layers = range(1 if edges else model.shape.n_layers + 1)
    readings = PackedReadings(
        model,
        pairs,
        len(kept),
        run="clean",
        source=source,
        base_sites=[Site(SiteKind.RESIDUAL, layer) for layer in layers],
        donor_sites=sites,
        batcher=batcher,
        progress=progress,
    )
    if not len(kept):
        return readings.build()
    starts = [_start(pair, space, source) for pair in pairs]
    if edges:
        kept_edges = KeptEdges.of(space, circuits)

        def compute_edges(batch: Batch, part: slice) -> Tensor:
            index = class_index(space, batch.pairs, batch.start).to(model.device)
            return edge_rows(batch.blocks, batch.donor, kept_edges[range(len(kept))[part]], index)

        # every slot of a block and every sender of another at full width
        wide = [model.shape.d_model] * (2 * slots(model) + model.shape.n_heads + 1)
        readings.fill(range(len(kept)), starts, compute_edges, weight=1 + kept_tokens(model, wide))
        return readings.build()
    outside = Outside.of(space, circuits)
    first = outside.first_layer
    order = sorted(range(len(kept)), key=lambda row: first[row])

    def compute(batch: Batch, part: slice) -> Tensor:
        index = class_index(space, batch.pairs, batch.start).to(model.device)
        return circuit_rows(batch.blocks, batch.donor, outside[order[part]], index)

    readings.fill(order, starts, compute)
    return readings.build()


def _start(pair: PromptPair, space: ComponentSpace, source: Source) -> int:
    """First token at which something can be ablated to another value; the length if there is none."""
    touched = {t for positions in groups_of(space) for t in selected(pair, positions)}
    if space.granularity is Granularity.EDGE:
        touched.add(pair.n_tokens - 1)  # where the logits read
    return first_change(pair, sorted(touched), "clean", source)
