"""Packed rows of path patching to receivers inside the model.

Each row first travels with attention frozen, up to the receivers, and leaves there what they would read. Then the run
goes on from the lowest receiver as if nothing had happened, except that the receivers read what was left for them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from arithloc.benchmark.api import ModelShape
from arithloc.benchmark.api.errors import BadOption, quoted
from arithloc.benchmark.engine.blocks import Blocks, Rows, after_attention
from arithloc.benchmark.engine.devices import device_of
from arithloc.benchmark.engine.entries import Entry, Values
from arithloc.benchmark.engine.packed_sweep import Frozen, swept
from arithloc.benchmark.engine.qkv import slot_projection
from arithloc.benchmark.engine.sites import Site, SiteKind

_NAME = re.compile(r"a(?P<block>\d+)\.h(?P<head>\d+)<(?P<slot>[qkv])>|m(?P<mlp>\d+)")


@dataclass(frozen=True)
class Receivers:
    """Readers of the residual stream, by layer.

    Attributes:
        slots: for each layer with queries, keys or values among the receivers, which slots (as in `qkv`).
        mlps: layers whose MLP is a receiver.
    """

    slots: dict[int, list[int]]
    mlps: frozenset[int]

    @classmethod
    def named(cls, names: Sequence[str], shape: ModelShape) -> "Receivers":
        """Reads names as `a4.h0<q>` (k and v count key/value heads) and `m4`.

        Raises:
            BadOption: a name that is not a receiver of this model.
        """
        slots: dict[int, list[int]] = {}
        mlps = set()
        for name in names:
            match = _NAME.fullmatch(name)
            layer = -1 if match is None else int(match["block"] or match["mlp"])
            head = -1 if match is None or match["head"] is None else int(match["head"])
            slot = None if match is None else match["slot"]
            heads = shape.n_heads if slot == "q" else shape.n_kv_heads
            if match is None or layer >= shape.n_layers or head >= heads:
                raise BadOption(
                    f"Expected a receiver of this model such as 'a1.h0<q>' or 'm1', found {quoted(name)}. "
                    f"It has {shape.n_layers} layers, {shape.n_heads} query and {shape.n_kv_heads} key/value heads."
                )
            if slot is None:
                mlps.add(layer)
            else:
                before = {"q": 0, "k": shape.n_heads, "v": shape.n_heads + shape.n_kv_heads}[slot]
                slots.setdefault(layer, []).append(before + head)
        return cls(slots, frozenset(mlps))

    @property
    def first(self) -> int:
        """Lowest layer with a receiver."""
        return min([*self.slots, *self.mlps])


def received(
    blocks: Blocks,
    donor: Values,
    senders: Sequence[Site],
    touched: Bool[Tensor, "pair pos"],
    frozen: Frozen,
    receivers: Receivers,
) -> Float[Tensor, "row pair d_model"]:
    """Last residual stream at the last token when only `receivers` see each sender's change, along direct paths.

    Args:
        blocks: the base run's continuation; its run holds `entries.base_sites` of all layers.
        donor: replacement values at the senders.
        senders: one per row, in the order of `packed_sweep.in_order`.
        touched: tokens at which senders are replaced.
        frozen: what keeps the base run's values on the way.
        receivers: who sees the change.
    """
    model, base = blocks.model, blocks.base.values
    left_slots: dict[int, Tensor] = {}
    left_mlps: dict[int, Tensor] = {}

    def note(layer: int, point: Entry, rows: Rows) -> None:
        if point is Entry.INPUT and layer in receivers.slots:
            left_slots[layer] = projected(blocks, layer, rows)[..., receivers.slots[layer], :]
        if point is Entry.MIDDLE and layer in receivers.mlps:
            left_mlps[layer] = rows

    swept(blocks, donor, senders, touched, frozen, note)
    layers = range(receivers.first, model.shape.n_layers)
    start = base[Site(SiteKind.RESIDUAL, receivers.first)]
    rows: Rows = start.expand(len(senders), *start.shape)
    for layer in layers:
        rows = rows.to(device_of(model, layer))
        if layer in left_slots:
            slots = projected(blocks, layer, rows).clone()
            left = left_slots[layer]
            slots[: len(left), :, :, receivers.slots[layer]] = left
            z = blocks.heads(layer, slots).flatten(-2).contiguous()  # some projections take a view of their input
            attended = after_attention(model, layer, model.attention_output(layer)(z))
        else:
            attended = blocks.attention(layer, rows)
        last = slice(-1, None) if layer == layers[-1] else slice(None)  # the logits read the last token only
        attended, rows = attended[:, :, last], rows[:, :, last]
        read = rows if model.shape.parallel else rows + attended
        if layer in left_mlps:
            seen = left_mlps[layer][:, :, last]
            read = torch.cat([seen, read[len(seen) :]])
        rows = rows + attended + blocks.mlp(layer, read)
    return rows[:, :, -1]


def projected(blocks: Blocks, layer: int, rows: Rows) -> Float[Tensor, "row pair pos slot d_head"]:
    """Queries, keys and values of packed rows as they leave the projections."""
    norm = blocks.model.input_norm(layer)
    weight, bias = slot_projection(blocks.model, layer)
    out = torch.einsum("rptm,sdm->rptsd", rows if norm is None else norm(rows), weight)
    return out if bias is None else out + bias
