"""Captured activations."""

from dataclasses import dataclass

import torch
from torch import Tensor

from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.engine.sites import Site


@dataclass(frozen=True, eq=False)
class Capture:
    """Captured activations, per pair, on the device of the token embedding and in the model's dtype.

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
