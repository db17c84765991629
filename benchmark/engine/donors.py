"""Donors: where the values come from that replace activations.

A donor is a run of the same pair (`"clean"`, `"counterfactual"`) or an `Ablation`: the mean over reference prompts,
zero, or the counterfactual run of another pair.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from arithloc.benchmark.api import Ablation, PromptPair, TooFewPairs
from arithloc.benchmark.api.errors import BadOption, quoted
from arithloc.benchmark.engine.batching import Batcher, grouped, ids_of
from arithloc.benchmark.engine.devices import device_of
from arithloc.benchmark.engine.forward import observe
from arithloc.benchmark.engine.sites import Site, width
from arithloc.benchmark.models import SubjectModel

Run = Literal["clean", "counterfactual"]
"""The two runs of a pair."""
Donor = Run | Ablation
"""A run of the pair itself, or an ablation."""


Source = Callable[[Sequence[PromptPair], Sequence[Site], int], dict[Site, Tensor]]
"""Gives replacement values to a batch of pairs of equal length.

From pairs, whole sites and a start: the values at each site from position `start` on, (pair, pos, *width).
"""


class RunSource:
    """Values of the pair's own clean or counterfactual run."""

    def __init__(self, model: SubjectModel, run: Run) -> None:
        self.model, self.run = model, run

    def __call__(self, pairs: Sequence[PromptPair], sites: Sequence[Site], start: int) -> dict[Site, Tensor]:
        """Runs the pairs."""
        return observe(self.model, ids_of(pairs, self.run, self.model.device), sites, start)[0]


class ZeroSource:
    """Zeros."""

    def __init__(self, model: SubjectModel) -> None:
        self.model = model

    def __call__(self, pairs: Sequence[PromptPair], sites: Sequence[Site], start: int) -> dict[Site, Tensor]:
        """Makes the zeros."""
        rows = (len(pairs), pairs[0].n_tokens - start)
        model = self.model
        return {
            site: torch.zeros(
                (*rows, *width(site, model.shape)), device=device_of(model, site.layer), dtype=model.dtype
            )
            for site in sites
        }


class ResampleSource:
    """Values of the counterfactual run of another pair of the same length and position classes.

    The partner of a pair depends on the seed, the pair itself and `reference` only, not on the batch.
    """

    def __init__(self, model: SubjectModel, reference: Sequence[PromptPair], seed: int) -> None:
        self.model, self.seed = model, seed
        self._by_classes = {
            classes: [reference[i] for i in members]
            for classes, members in grouped([pair.classes for pair in reference]).items()
        }

    def partner(self, pair: PromptPair) -> PromptPair:
        """The pair whose counterfactual run stands in for `pair`.

        Raises:
            TooFewPairs: no other pair has these position classes.
        """
        own = {pair.clean_ids, pair.counterfactual_ids}
        others = [p for p in self._by_classes.get(pair.classes, ()) if p.counterfactual_ids not in own]
        if not others:
            raise TooFewPairs(
                f"Expected another pair with the position classes of {quoted(pair.clean)} to resample from, found none. "
                "Give more reference pairs."
            )
        text = repr((self.seed, pair.clean_ids, pair.counterfactual_ids)).encode()
        return others[int.from_bytes(hashlib.sha256(text).digest()[:8], "big") % len(others)]

    def __call__(self, pairs: Sequence[PromptPair], sites: Sequence[Site], start: int) -> dict[Site, Tensor]:
        """Runs the partners."""
        partners = [self.partner(pair) for pair in pairs]
        return observe(self.model, ids_of(partners, "counterfactual", self.model.device), sites, start)[0]


class MeanSource:
    """Mean over the counterfactual prompts of `reference`, by frame, position class and offset within the class.

    The offset counts from the first token of the class in its prompt. A token whose (frame, class, offset) occurs in
    no reference prompt takes the mean of its class over all reference prompts. Sums are kept in float64.
    """

    def __init__(
        self, model: SubjectModel, reference: Sequence[PromptPair], sites: Sequence[Site], batcher: Batcher
    ) -> None:
        self.model = model
        self._rows: dict[tuple[str, ...], int] = {}
        for pair in reference:
            for key in token_keys(pair):
                for known in (key, key[1:2]):
                    self._rows.setdefault(known, len(self._rows))
        n = len(self._rows)
        counts = torch.zeros(n, dtype=torch.float64)
        sums = {
            site: counts.new_zeros(n, *width(site, model.shape), device=device_of(model, site.layer)) for site in sites
        }
        for members in grouped([pair.n_tokens for pair in reference]).values():

            def add(part: slice, members: list[int] = members) -> None:
                batch = [reference[i] for i in members[part]]
                values = observe(model, ids_of(batch, "counterfactual", model.device), sites)[0]
                tokens = {site: values.pop(site).flatten(0, 1).double() for site in sites}
                keys = [key for pair in batch for key in token_keys(pair)]
                rows = torch.tensor([self._rows[known] for key in keys for known in (key, key[1:2])])
                more = torch.zeros_like(counts).index_add_(0, rows, counts.new_ones(len(rows)))
                added = {
                    site: torch.zeros_like(sums[site]).index_add_(
                        0, rows.to(sums[site].device), value.repeat_interleave(2, 0)
                    )
                    for site, value in tokens.items()
                }
                counts.add_(more)  # nothing is allocated from here on, so that a batch counts as a whole or not at all
                for site in added:
                    sums[site].add_(added[site])

            batcher.run(len(members), reference[members[0]].n_tokens, add)
        self._means = {
            site: (total / counts.to(total.device).view(-1, *[1] * (total.ndim - 1))).to(model.dtype)
            for site, total in sums.items()
        }

    def __call__(self, pairs: Sequence[PromptPair], sites: Sequence[Site], start: int) -> dict[Site, Tensor]:
        """Looks the means up."""
        rows = torch.tensor([[self._row(key) for key in token_keys(pair)[start:]] for pair in pairs])
        return {site: self._means[site][rows.to(self._means[site].device)] for site in sites}

    def _row(self, key: tuple[str, ...]) -> int:
        for known in (key, key[1:2]):
            if known in self._rows:
                return self._rows[known]
        raise TooFewPairs(
            f"Expected a reference prompt with a token of class {quoted(key[1])}, found none. "
            "Give reference pairs of the same task."
        )


def token_keys(pair: PromptPair) -> list[tuple[str, ...]]:
    """(frame, class, offset within the class) of each token."""
    return [(pair.frame, cls, str(t - pair.classes.index(cls))) for t, cls in enumerate(pair.classes)]


def source_of(
    model: SubjectModel,
    donor: Donor,
    sites: Sequence[Site],
    *,
    pairs: Sequence[PromptPair],
    reference: Sequence[PromptPair] | None,
    seed: int,
    batcher: Batcher,
) -> Source:
    """Makes a donor ready to give values at whole `sites`.

    Args:
        model: the subject model.
        donor: what to take.
        sites: whole sites that will be asked for.
        pairs: the pairs of the operation, among which `resample` draws if there is no `reference`.
        reference: prompts that the mean is taken over.
        seed: of the draw of `resample`.
        batcher: batch size.

    Raises:
        BadOption: a mean without reference, or an unknown donor.
        TooFewPairs: nothing to resample from.
    """
    match donor:
        case "clean":
            return RunSource(model, "clean")
        case "counterfactual":  # the value of Ablation.COUNTERFACTUAL
            return RunSource(model, "counterfactual")
        case Ablation.ZERO:
            return ZeroSource(model)
        case Ablation.RESAMPLE:
            return ResampleSource(model, reference or pairs, seed)
        case Ablation.MEAN:
            if not reference:
                raise BadOption(
                    "Expected reference pairs for a mean, found none. Pass reference= with the discovery pairs."
                )
            return MeanSource(model, reference, sites, batcher)
    raise BadOption(f"Expected 'clean', 'counterfactual' or an ablation, found {quoted(donor)}. Use one of these.")
