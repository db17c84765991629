"""Packed rows of many circuits: each row is the clean prompt with everything outside one circuit ablated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from arithloc.benchmark.api import ComponentSpace, Granularity, PromptPair
from arithloc.benchmark.engine.blocks import Blocks, Rows, after_attention, after_mlp
from arithloc.benchmark.engine.devices import device_of
from arithloc.benchmark.engine.entries import Values
from arithloc.benchmark.engine.positions import groups_of, selected
from arithloc.benchmark.engine.sites import Site, SiteKind, embedding


def ablated_sites(space: ComponentSpace) -> list[Site]:
    """The whole sites at which components of a space are ablated, the input first."""
    layers = range(space.shape.n_layers)
    if space.granularity is Granularity.NEURON:
        return [Site(SiteKind.HIDDEN, layer) for layer in layers]
    return [embedding(), *(Site(kind, layer) for layer in layers for kind in (SiteKind.HEAD, SiteKind.MLP))]


@dataclass(frozen=True, eq=False)
class Outside:
    """What is ablated in each circuit, by layer and position class; the last class column is "nowhere".

    Attributes:
        inputs: the input, in circuits without any component, (circuit, cls).
        heads: (circuit, layer, head, cls).
        mlps: MLPs as a whole, (circuit, layer, cls).
        units: hidden units, (circuit, layer, unit, cls), None outside the neuron space.
    """

    inputs: Bool[Tensor, "circuit cls"]
    heads: Bool[Tensor, "circuit layer head cls"]
    mlps: Bool[Tensor, "circuit layer cls"]
    units: Bool[Tensor, "circuit layer unit cls"] | None

    @classmethod
    def of(cls, space: ComponentSpace, kept: Bool[Tensor, "circuit comp"]) -> "Outside":
        """Reads circuits of a space."""
        shape = space.shape
        grid = ~kept.view(len(kept), shape.n_layers, -1, len(groups_of(space)))
        out = torch.nn.functional.pad(grid, (0, 1))
        if space.granularity is Granularity.NEURON:
            nothing = torch.zeros_like(out[:, :, :1])
            heads = nothing.expand(-1, -1, shape.n_heads, -1)
            return cls(nothing[:, 0, 0], heads, out.all(2), out)
        heads = out[:, :, :-1].expand(-1, -1, shape.n_heads, -1)
        empty = (~kept.any(1)).unsqueeze(1).expand(-1, out.shape[-1] - 1)
        return cls(torch.nn.functional.pad(empty, (0, 1)), heads, out[:, :, -1], None)

    @property
    def first_layer(self) -> list[int]:
        """First layer at which each circuit differs from the full model; the number of layers for the full model."""
        units = self.mlps.any(-1) if self.units is None else self.units.any((2, 3))
        out = self.heads.any((2, 3)) | units
        out[:, 0] |= self.inputs.any(-1)
        found = torch.where(out.any(1), out.int().argmax(1), out.shape[1])
        return [int(layer) for layer in found]

    def __getitem__(self, rows: slice | Sequence[int]) -> "Outside":
        """Some of the circuits."""
        rows = rows if isinstance(rows, slice) else list(rows)
        units = None if self.units is None else self.units[rows]
        return Outside(self.inputs[rows], self.heads[rows], self.mlps[rows], units)

    def to(self, device: torch.device) -> "Outside":
        """The same on a device."""
        units = None if self.units is None else self.units.to(device)
        return Outside(self.inputs.to(device), self.heads.to(device), self.mlps.to(device), units)


def class_index(space: ComponentSpace, pairs: Sequence[PromptPair], start: int) -> Int[Tensor, "pair pos"]:
    """Class column of each token from `start` on; the column after the last class where nothing is ablated."""
    groups = groups_of(space)
    index = torch.full((len(pairs), pairs[0].n_tokens), len(groups))
    for row, pair in enumerate(pairs):
        for column, positions in enumerate(groups):
            index[row, list(selected(pair, positions))] = column
    return index[:, start:]


def circuit_rows(
    blocks: Blocks, donor: Values, outside: Outside, index: Int[Tensor, "pair pos"]
) -> Float[Tensor, "circuit pair d_model"]:
    """Last residual stream at the last token of each circuit.

    A row joins at its first ablated layer. Heads are computed for rows that keep one, MLPs for tokens that keep one.

    Args:
        blocks: the clean run's continuation; the run holds the residual stream before every block and after the last.
        donor: replacement values at `ablated_sites`.
        outside: circuits, ordered by `first_layer`.
        index: class column of each token.
    """
    model, base = blocks.model, blocks.base.values
    layers, first = model.shape.n_layers, outside.first_layer
    residual = base[embedding()]
    rows: Rows = residual.new_empty(0, *residual.shape)
    for layer in range(layers + 1):
        device = device_of(model, layer)
        rows, index, outside = rows.to(device), index.to(device), outside.to(device)
        new = first.count(layer)
        if new:
            start = base[Site(SiteKind.RESIDUAL, layer)][:, -rows.shape[2] :].expand(new, *rows.shape[1:])
            if layer == 0 and embedding() in donor:
                ablated = outside.inputs[:new][:, index]
                start = torch.where(ablated.unsqueeze(-1), donor[embedding()], start)
            rows = torch.cat([rows, start])
        if layer == layers or not len(rows):
            continue
        left = slice(-1, None) if layer == layers - 1 else slice(None)  # the logits read the last token only
        attended = _attention(blocks, layer, rows, donor, outside, index)[:, :, left]
        rows, seen = rows[:, :, left], index[:, left]
        read = rows if model.shape.parallel else rows + attended
        written = _mlp(blocks, layer, read, donor, outside, seen, left)
        rows = rows + attended + written if model.shape.parallel else read + written
    return rows[:, :, -1]


def _attention(
    blocks: Blocks, layer: int, rows: Rows, donor: Values, outside: Outside, index: Int[Tensor, "pair pos"]
) -> Rows:
    """What attention writes, with heads outside the circuit ablated; not run for rows without any head left."""
    site = Site(SiteKind.HEAD, layer)
    if site not in donor:
        return blocks.attention(layer, rows)
    model, z = blocks.model, donor[site]
    out = outside.heads[: len(rows), layer][:, :, index].permute(0, 2, 3, 1)
    kept = (~out).flatten(1).any(1)
    if bool(kept.all()):
        return blocks.attention(layer, rows, _head_edit(z, out))
    project = model.attention_output(layer)
    written = after_attention(model, layer, project(z.flatten(2))).expand(rows.shape).clone()
    if bool(kept.any()):
        written[kept] = blocks.attention(layer, rows[kept], _head_edit(z, out[kept]))
    return written


def _head_edit(
    z: Float[Tensor, "pair pos head d_head"], out: Bool[Tensor, "row pair pos head"]
) -> Callable[[Tensor], Tensor]:
    def edit(value: Tensor) -> Tensor:
        rows, pairs, n, _ = out.shape
        packed = value.view(pairs, rows, n, *value.shape[2:])
        mixed = torch.where(out.transpose(0, 1).unsqueeze(-1), z.unsqueeze(1), packed)
        return mixed.reshape(value.shape)

    return edit


def _mlp(
    blocks: Blocks,
    layer: int,
    rows: Rows,
    donor: Values,
    outside: Outside,
    index: Int[Tensor, "pair pos"],
    left: slice,
) -> Rows:
    """What the MLP writes, run only for tokens at which something of it is kept."""
    out = outside.mlps[: len(rows), layer][:, index]
    if outside.units is None:
        ablated, units = donor[Site(SiteKind.MLP, layer)][:, left], None
    else:
        hidden = donor[Site(SiteKind.HIDDEN, layer)][:, left]
        ablated = after_mlp(blocks.model, layer, blocks.model.mlp_down(layer)(hidden))
        units = outside.units[: len(rows), layer]
    written = ablated.expand(rows.shape).clone()
    row, pair, pos = (~out).nonzero(as_tuple=True)
    if len(row):
        edit = None
        if units is not None:
            unit_out, value = units[row, :, index[pair, pos]], hidden[pair, pos]

            def edit(activation: Tensor) -> Tensor:
                return torch.where(unit_out, value, activation)

        written[row, pair, pos] = blocks.mlp(layer, rows[row, pair, pos], edit)
    return written
