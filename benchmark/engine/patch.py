"""General interventions: any sites and positions, one forward."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from arithloc.benchmark.api import Progress, PromptPair
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.batching import Batcher, grouped, ids_of
from arithloc.benchmark.engine.capture import Capture
from arithloc.benchmark.engine.donors import Donor, Run, Source, source_of
from arithloc.benchmark.engine.forward import Edit, last_logits
from arithloc.benchmark.engine.positions import ALL, Positions, mask, selected
from arithloc.benchmark.engine.readings import Readings, ReadingsBuilder, Reducer
from arithloc.benchmark.engine.sites import Site, check
from arithloc.benchmark.models import SubjectModel


@dataclass(frozen=True, eq=False)
class Intervention:
    """Replaces the activation at one site.

    Attributes:
        site: where.
        value: a donor run or ablation; or a `Capture` of the same pairs that holds the site at these positions; or a
            tensor (pair, *width) that is put at every one of the positions.
        positions: `all` (all but the exemplars'), `last`, a position class, or token indices.
    """

    site: Site
    value: Donor | Capture | Tensor
    positions: Positions = ALL


def patch(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    interventions: Sequence[Intervention],
    run: Run = "clean",
    *,
    reference: Sequence[PromptPair] | None = None,
    seed: int = 0,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Readings:
    """Readings of one forward per pair with all interventions at once, shape (pair,).

    Interventions at the same site apply in the order given.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        interventions: what to replace.
        run: the prompt that is run.
        reference: prompts of the mean ablation, and of `resample`.
        seed: of `resample`.
        batcher: batch size; estimated where None.
        progress: called with (done, total) pairs.

    Raises:
        BadOption: a site, position, donor or tensor shape that does not fit.
    """
    for intervention in interventions:
        check(intervention.site, model.shape)
        if isinstance(intervention.value, Tensor) and intervention.value.shape[0] != len(pairs):
            raise BadOption(
                f"Expected a donor tensor for {len(pairs)} pairs, found shape {tuple(intervention.value.shape)}. "
                "Give (pair, *width of the site)."
            )
    batcher = batcher or Batcher(model)
    by_donor: dict[Donor, list[Site]] = {}
    for intervention in interventions:
        if not isinstance(intervention.value, Capture | Tensor):
            by_donor.setdefault(intervention.value, []).append(intervention.site.whole)
    sources = {
        donor: source_of(model, donor, sites, pairs=pairs, reference=reference, seed=seed, batcher=batcher)
        for donor, sites in by_donor.items()
    }
    builder = ReadingsBuilder((), pairs)
    done = 0
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members) -> None:
            nonlocal done
            chosen = members[part]
            batch = [pairs[i] for i in chosen]
            edits = [_edit(model, pairs, chosen, i, sources) for i in interventions]
            reducer = Reducer(batch, last_logits(model, ids_of(batch, "clean", model.device)))
            logits = last_logits(model, ids_of(batch, run, model.device), edits)
            builder.clean_top(chosen, reducer.clean_top)
            builder.put(reducer(logits.unsqueeze(1)), chosen)
            done += len(batch)
            progress(done, len(pairs))

        batcher.run(len(members), length, work)
    return builder.build()


def _edit(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    chosen: Sequence[int],
    intervention: Intervention,
    sources: dict[Donor, Source],
) -> Edit:
    site, value = intervention.site, intervention.value
    batch = [pairs[i] for i in chosen]
    if isinstance(value, Capture):
        donor = _placed(model, pairs, chosen, intervention, value)
    elif isinstance(value, Tensor):
        donor = value[list(chosen)].to(model.device, model.dtype).unsqueeze(1)
    else:
        donor = sources[value](batch, [site.whole], 0)[site.whole]
        donor = donor if site.index is None else donor[:, :, site.index]
    touched = mask(batch, intervention.positions, model.device)

    def replace(activation: Tensor) -> Tensor:
        result = activation.clone()
        part = result if site.index is None else result[:, :, site.index]
        part.copy_(_where(touched, donor, part))
        return result

    return site.whole, replace


def _where(touched: Bool[Tensor, "pair pos"], donor: Tensor, activation: Tensor) -> Tensor:
    return torch.where(touched.view(*touched.shape, *[1] * (activation.ndim - 2)), donor, activation)


def _placed(
    model: SubjectModel, pairs: Sequence[PromptPair], chosen: Sequence[int], intervention: Intervention, donor: Capture
) -> Tensor:
    """The captured values at their own positions, (pair, pos, *width); zeros where nothing is replaced."""
    rows = []
    for i in chosen:
        wanted = selected(pairs[i], intervention.positions)
        if intervention.site not in donor.values or not set(wanted) <= set(donor.positions[i]):
            raise BadOption(
                f"Expected a capture of {intervention.site} that holds the positions {wanted} of pair {i}. "
                "Capture the same site and positions from the same pairs."
            )
        value = donor.values[intervention.site][i]
        row = value.new_zeros(pairs[i].n_tokens, *value.shape[1:])
        row[list(donor.positions[i])] = value
        rows.append(row)
    return torch.stack(rows).to(model.device)
