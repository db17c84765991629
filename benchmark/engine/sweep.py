"""The effect of patching each component alone."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from arithloc.benchmark.api import ComponentSpace, Progress, PromptPair
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.batching import Batcher, grouped, ids_of
from arithloc.benchmark.engine.donors import Donor, Run, source_of
from arithloc.benchmark.engine.forward import last_logits
from arithloc.benchmark.engine.positions import ALL, Positions, mask
from arithloc.benchmark.engine.readings import Readings, ReadingsBuilder, Reducer
from arithloc.benchmark.engine.sites import Site, check, sites_of
from arithloc.benchmark.models import SubjectModel


def sweep(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    space: ComponentSpace | Sequence[Site],
    *,
    run: Run = "counterfactual",
    donor: Donor = "clean",
    positions: Positions = ALL,
    reference: Sequence[PromptPair] | None = None,
    seed: int = 0,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Readings:
    """Readings with each component alone replaced by its donor value, shape (comp, pair).

    A component of a space with position classes is replaced at the positions of its class, any other one at
    `positions`. Everything computed after it is recomputed.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        space: the components, or any sites (residual, writes, heads, hidden units, coordinates).
        run: the prompt that is run.
        donor: where the replacement comes from.
        positions: `all` (all but the exemplars'), `last`, a position class, or token indices.
        reference: prompts of the mean ablation, and of `resample`.
        seed: of `resample`.
        batcher: batch size; estimated where None.
        progress: called with (done, total) component-pair combinations.

    Raises:
        BadOption: a site, position or donor that does not fit.
        UnsupportedGranularity: an edge space.
    """
    sites = sites_of(space) if isinstance(space, ComponentSpace) else tuple(space)
    classes: tuple[Positions, ...] = (space.classes if isinstance(space, ComponentSpace) else ()) or (positions,)
    for site in sites:
        check(site, model.shape)
    batcher = batcher or Batcher(model)
    whole = list(dict.fromkeys(site.whole for site in sites))
    source = source_of(model, donor, whole, pairs=pairs, reference=reference, seed=seed, batcher=batcher)
    builder = ReadingsBuilder((len(sites) * len(classes),), pairs)
    total, done = len(sites) * len(classes) * len(pairs), 0
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members) -> None:
            nonlocal done
            chosen = members[part]
            batch = [pairs[i] for i in chosen]
            reducer = Reducer(batch, last_logits(model, ids_of(batch, "clean", model.device)))
            builder.clean_top(chosen, reducer.clean_top)
            values = source(batch, whole, 0)
            ids = ids_of(batch, run, model.device)
            for row, site in enumerate(sites):
                for column, cls in enumerate(classes):
                    touched = mask(batch, cls, model.device)
                    edit = (site.whole, lambda x, s=site, t=touched: replaced(x, values[s.whole], s, t))
                    logits = last_logits(model, ids, [edit])
                    builder.put(reducer(logits.unsqueeze(1)), chosen, [row * len(classes) + column])
                done += len(batch) * len(classes)
                progress(done, total)

        batcher.run(len(members), length, work)
    return builder.build()


def replaced(activation: Tensor, donor: Tensor, site: Site, touched: Bool[Tensor, "pair pos"]) -> Tensor:
    """The activation with the site's part taken from the donor where `touched`."""
    result = activation.clone()
    part, value = (result, donor) if site.index is None else (result[:, :, site.index], donor[:, :, site.index])
    part.copy_(torch.where(touched.view(*touched.shape, *[1] * (part.ndim - 2)), value, part))
    return result
