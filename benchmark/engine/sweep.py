"""The effect of patching each component alone."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from arithloc.benchmark.api import ComponentSpace, Progress, PromptPair
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.activations import Capture
from arithloc.benchmark.engine.arguments import check_call, check_choice
from arithloc.benchmark.engine.batching import Batcher
from arithloc.benchmark.engine.donors import Donor, Run, Source, source_of
from arithloc.benchmark.engine.entries import base_sites
from arithloc.benchmark.engine.given_values import Given, GivenSource
from arithloc.benchmark.engine.packed import Batch, PackedReadings, first_change
from arithloc.benchmark.engine.packed_sweep import in_order, swept
from arithloc.benchmark.engine.positions import ALL, Positions, mask, selected
from arithloc.benchmark.engine.readings import Readings
from arithloc.benchmark.engine.sites import Site, check, sites_of
from arithloc.benchmark.models import SubjectModel


def sweep(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    space: ComponentSpace | Sequence[Site],
    *,
    run: Run = "counterfactual",
    donor: Donor | Given = "clean",
    positions: Positions = ALL,
    reference: Sequence[PromptPair] | None = None,
    seed: int = 0,
    pair_logits: bool = False,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Readings:
    """Readings with each component alone replaced by its donor value, shape (comp, pair).

    A component of a space with position classes is replaced at the positions of its class, any other one at
    `positions`. Everything computed after it is recomputed, and nothing else: rows of all components travel together,
    join at their own layer, read the keys and values of earlier tokens from the unpatched run, and start at the first
    replaced token at which the two runs differ.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        space: the components, or any sites (residual, writes, heads, hidden units, coordinates).
        run: the prompt that is run.
        donor: where the replacement comes from: a run, an ablation, a `Capture` of the same pairs that holds the sites
            (or their whole sites) at all replaced positions, or for each site a tensor (pair, *width).
        positions: `all` (all but the exemplars'), `last`, a position class, or token indices.
        reference: prompts of the mean ablation, and of `resample`.
        seed: of `resample`.
        pair_logits: read answer and foil alone, which is all that `logit_diff` needs: without the unembedding of the
            whole vocabulary, which is a large part of the work in small models.
        batcher: batch size; estimated where None.
        progress: called with (done, total) component-pair combinations.

    Raises:
        BadOption: a run, pair, space, site, position or donor that does not fit.
        UnsupportedGranularity: an edge space.
        UnsupportedArchitecture: parts of the model cannot be run on their own.
    """
    check_call(model, pairs, reference, space=space if isinstance(space, ComponentSpace) else None)
    check_choice("run", run, Run)
    sites = sites_of(space) if isinstance(space, ComponentSpace) else tuple(space)
    classes: tuple[Positions, ...] = (space.classes if isinstance(space, ComponentSpace) else ()) or (positions,)
    for site in sites:
        check(site, model.shape)
    batcher = batcher or Batcher(model)
    whole = list(dict.fromkeys(site.whole for site in sites))
    source: Source | GivenSource
    if isinstance(donor, Capture | Mapping):
        wanted = [sorted({t for cls in classes for t in selected(pair, cls)}) for pair in pairs]
        source = GivenSource(model, donor, sites, pairs=pairs, wanted=wanted)
    else:
        source = source_of(model, donor, whole, pairs=pairs, reference=reference, seed=seed, batcher=batcher)
    readings = PackedReadings(
        model,
        pairs,
        len(sites) * len(classes),
        run=run,
        source=source,
        base_sites=base_sites(sites),
        donor_sites=whole,
        batcher=batcher,
        progress=progress,
        pair_logits=pair_logits,
    )
    order = in_order(model, sites)
    for column, cls in enumerate(classes):

        def compute(batch: Batch, part: slice, positions: Positions = cls) -> Tensor:
            touched = mask(batch.pairs, positions, model.device)[:, batch.start :]
            return swept(batch.blocks, batch.donor, [sites[i] for i in order[part]], touched)

        starts = [first_change(pair, selected(pair, cls), run, source) for pair in pairs]
        readings.fill([i * len(classes) + column for i in order], starts, compute)
    return readings.build()
