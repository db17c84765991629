"""Interventions: what to replace where, made into edits of a batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from arithloc.benchmark.api import PromptPair
from arithloc.benchmark.engine.activations import Capture
from arithloc.benchmark.engine.batching import Batcher
from arithloc.benchmark.engine.donors import Donor, Source, source_of
from arithloc.benchmark.engine.forward import Edit
from arithloc.benchmark.engine.given_values import captured, check_capture, check_tensor
from arithloc.benchmark.engine.positions import ALL, Positions, mask, selected
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


def prepared(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    interventions: Sequence[Intervention],
    *,
    reference: Sequence[PromptPair] | None,
    seed: int,
    batcher: Batcher,
) -> Callable[[Sequence[int]], list[Edit]]:
    """Makes the donors ready; the result gives the edits of a batch, named by indices of pairs of equal length.

    Raises:
        BadOption: a site, donor or tensor shape that does not fit.
    """
    for intervention in interventions:
        site, value = intervention.site, intervention.value
        check(site, model.shape)
        if isinstance(value, Capture):
            wanted = [selected(pair, intervention.positions) for pair in pairs]
            check_capture(value, site, wanted, [pair.n_tokens for pair in pairs], model.shape)
        elif isinstance(value, Tensor):
            check_tensor(value, site, len(pairs), model.shape)
    by_donor: dict[Donor, list[Site]] = {}
    for intervention in interventions:
        if not isinstance(intervention.value, Capture | Tensor):
            by_donor.setdefault(intervention.value, []).append(intervention.site.whole)
    sources = {
        donor: source_of(model, donor, sites, pairs=pairs, reference=reference, seed=seed, batcher=batcher)
        for donor, sites in by_donor.items()
    }
    return lambda chosen: [_edit(model, pairs, chosen, i, sources) for i in interventions]


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
        donor = captured(value, site, chosen, batch[0].n_tokens)
    elif isinstance(value, Tensor):
        donor = value[list(chosen)].to(model.dtype).unsqueeze(1)
    else:
        donor = sources[value](batch, [site.whole], 0)[site.whole]
        donor = donor if site.index is None else donor[:, :, site.index]
    touched = mask(batch, intervention.positions, model.device)

    def replace(activation: Tensor) -> Tensor:
        result = activation.clone()
        part = result if site.index is None else result[:, :, site.index]
        part.copy_(_where(touched.to(part.device), donor.to(part.device), part))
        return result

    return site.whole, replace


def _where(touched: Bool[Tensor, "pair pos"], donor: Tensor, activation: Tensor) -> Tensor:
    return torch.where(touched.view(*touched.shape, *[1] * (activation.ndim - 2)), donor, activation)
