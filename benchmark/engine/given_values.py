"""Donors given as tensors: captured activations, or one vector per pair and site."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from arithloc.benchmark.api import ModelShape, PromptPair
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.engine.activations import Capture
from arithloc.benchmark.engine.devices import device_of
from arithloc.benchmark.engine.donors import Source
from arithloc.benchmark.engine.sites import Site, width
from arithloc.benchmark.models import SubjectModel

Given = Capture | Mapping[Site, Tensor]
"""A capture of the same pairs, or for each site a tensor (pair, *width) that is put at every replaced position."""


class GivenSource:
    """Replacement values that the caller holds.

    Pairs are named by their indices, because the same prompts may come twice with different values.

    Args:
        model: the subject model.
        donor: the values; those of an indexed site may be a part of its whole site's.
        sites: what will be replaced.
        pairs: all pairs of the operation.
        wanted: token indices at which something is replaced, for each pair.

    Raises:
        BadOption: a site or position without a value, or a tensor of another shape.
    """

    def __init__(
        self,
        model: SubjectModel,
        donor: Given,
        sites: Sequence[Site],
        *,
        pairs: Sequence[PromptPair],
        wanted: Sequence[Sequence[int]],
    ) -> None:
        self.model, self.donor = model, donor
        self._lengths = [pair.n_tokens for pair in pairs]
        known = donor.values if isinstance(donor, Capture) else donor
        self._used: dict[Site, list[Site]] = {}
        """Sites of the donor by whole site, the whole one first."""
        for site in sites:
            use = site if site in known else site.whole
            if use not in self._used.setdefault(site.whole, []):
                self._used[site.whole].append(use)
                self._check(use, wanted)
        for whole, used in self._used.items():
            if whole in sites and len(used) > 1:
                raise BadOption(
                    f"Expected one value for each part of {whole}, which is replaced as a whole and in parts, found "
                    "values for both. Give the whole site alone, or sweep twice."
                )
            used.sort(key=lambda site: site.index is not None)

    def _check(self, site: Site, wanted: Sequence[Sequence[int]]) -> None:
        if isinstance(self.donor, Capture):
            check_capture(self.donor, site, wanted, self._lengths, self.model.shape)
        else:
            check_tensor(self.donor.get(site), site, len(wanted), self.model.shape)

    def of(self, chosen: Sequence[int]) -> Source:
        """The source of a batch.

        Args:
            chosen: indices of its pairs, which have the same length.
        """

        def values(pairs: Sequence[PromptPair], sites: Sequence[Site], start: int) -> dict[Site, Tensor]:
            return {site: self._whole(site, chosen)[:, start:] for site in sites}

        return values

    def _whole(self, whole: Site, chosen: Sequence[int]) -> Float[Tensor, "pair pos *width"]:
        """Values at a whole site; zeros in parts that are not replaced."""
        rows = (len(chosen), self._lengths[chosen[0]])
        found = torch.zeros(
            *rows, *width(whole, self.model.shape), dtype=self.model.dtype, device=device_of(self.model, whole.layer)
        )
        for site in self._used[whole]:
            if isinstance(self.donor, Capture):
                value = captured(self.donor, site, chosen, rows[1])
            else:
                value = self.donor[site][list(chosen)].unsqueeze(1)
            part = found if site.index is None else found[:, :, site.index]
            part.copy_(value)
        return found


def check_tensor(donor: Tensor | None, site: Site, n_pairs: int, shape: ModelShape) -> None:
    """Raises BadOption unless a donor tensor is there and has the shape (pair, *width of the site)."""
    expected = (n_pairs, *width(site, shape))
    found = "no tensor" if donor is None else tuple(donor.shape)
    if found != expected:
        raise BadOption(
            f"Expected a donor tensor of shape {expected} for {site}, found {found}. Give (pair, *width of the site)."
        )


def check_capture(
    donor: Capture, site: Site, wanted: Sequence[Sequence[int]], lengths: Sequence[int], shape: ModelShape
) -> None:
    """Raises BadOption unless a capture holds values at a site that fit the pairs.

    Args:
        donor: the capture.
        site: where something is replaced.
        wanted: token indices at which something is replaced, for each pair.
        lengths: tokens of each pair.
        shape: sizes of the model.
    """
    if len(donor.positions) != len(wanted):
        raise BadOption(
            f"Expected a capture of the {len(wanted)} pairs of this call, found one of {len(donor.positions)}. "
            "Capture the same site and positions from the same pairs."
        )
    for i, (positions, length) in enumerate(zip(wanted, lengths, strict=True)):
        held = donor.positions[i]
        if site not in donor.values or not set(positions) <= set(held):
            raise BadOption(
                f"Expected a capture of {site} that holds the positions {tuple(positions)} of pair {i}. "
                "Capture the same site and positions from the same pairs."
            )
        expected, found = (len(held), *width(site, shape)), tuple(donor.values[site][i].shape)
        if found != expected or max(held, default=0) >= length:
            raise BadOption(
                f"Expected captured values of shape {expected} at tokens below {length} for {site} of pair {i}, found "
                f"{found} at tokens up to {max(held, default=0)}. Capture them from the same pairs."
            )


def captured(donor: Capture, site: Site, chosen: Sequence[int], length: int) -> Float[Tensor, "pair pos *width"]:
    """Captured values at their own positions; zeros elsewhere."""
    rows = []
    for i in chosen:
        value = donor.values[site][i]
        row = value.new_zeros(length, *value.shape[1:])
        row[list(donor.positions[i])] = value
        rows.append(row)
    return torch.stack(rows)
