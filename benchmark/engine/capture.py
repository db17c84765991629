"""Activations of plain runs, at chosen sites and positions only."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from arithloc.benchmark.api import Progress, PromptPair
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.batching import Batcher, grouped, ids_of
from arithloc.benchmark.engine.donors import Run
from arithloc.benchmark.engine.forward import Edit, last_logits
from arithloc.benchmark.engine.positions import LAST, Positions, selected
from arithloc.benchmark.engine.sites import Site, check
from arithloc.benchmark.models import SubjectModel


@dataclass(frozen=True, eq=False)
class Capture:
    """Captured activations, per pair, on the model's device and in its dtype.

    Attributes:
        positions: token indices captured in each pair.
        values: for each site one tensor per pair, (pos, *width): `d_model` for residual and writes,
            (`n_heads`, `d_head`) for heads, `d_mlp` for hidden units, without the first of these for an indexed site.
    """

    positions: tuple[tuple[int, ...], ...]
    values: dict[Site, tuple[Tensor, ...]]

    def ragged(self, site: Site) -> tuple[Tensor, ...]:
        """One tensor (pos, *width) per pair."""
        return self.values[site]

    def __getitem__(self, site: Site) -> Tensor:
        """All pairs together, (pair, pos, *width).

        Raises:
            BadOption: pairs differ in the number of captured positions.
        """
        if len({len(p) for p in self.positions}) > 1:
            raise BadOption(
                "Expected the same number of captured positions in every pair, found several. Use ragged() instead."
            )
        return torch.stack(self.values[site])

    def last(self, site: Site) -> Tensor:
        """The last captured position of every pair, (pair, *width)."""
        return torch.stack([value[-1] for value in self.values[site]])


def capture(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    sites: Sequence[Site],
    run: Run = "clean",
    positions: Positions = LAST,
    *,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Capture:
    """Activations at `sites` in one run of each pair.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        sites: where; heads and units are addressed by their index, or all together without one.
        run: which prompt.
        positions: `last`, `all` (all but the exemplars'), a position class, or token indices.
        batcher: batch size; estimated where None.
        progress: called with (done, total) pairs.

    Raises:
        BadOption: a site that the model does not have, or positions that cannot be selected.
    """
    for site in sites:
        check(site, model.shape)
    batcher = batcher or Batcher(model)
    chosen = tuple(selected(pair, positions) for pair in pairs)
    found: dict[Site, dict[int, Tensor]] = {site: {} for site in sites}
    done = 0
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members) -> None:
            nonlocal done

            def keep(site: Site) -> Edit:
                def store(value: Tensor) -> None:
                    kept = value if site.index is None else value[:, :, site.index]
                    for row, i in enumerate(members[part]):
                        found[site][i] = kept[row, list(chosen[i])].clone()

                return site.whole, store

            last_logits(model, ids_of([pairs[i] for i in members[part]], run, model.device), map(keep, found))
            done += len(members[part])
            progress(done, len(pairs))

        batcher.run(len(members), length, work)
    return Capture(chosen, {site: tuple(values[i] for i in range(len(pairs))) for site, values in found.items()})
