"""Packed rows of many edge circuits.

A receiver reads the donor's residual stream plus, for each kept edge, the sender's write in the circuit minus its write
in the donor. Writes are kept in the narrow form in which a block makes them (z of the heads, the MLP's output); they are
expanded to one vector per sender for one block at a time, and added to all receivers of the block that reads them.
So at any time there is one block's senders and one block's receivers at full width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from arithloc.benchmark.api import ComponentSpace
from arithloc.benchmark.api.edges import layer_edges, n_edges, n_senders
from arithloc.benchmark.api.errors import UnsupportedArchitecture
from arithloc.benchmark.engine.blocks import Blocks, has_attention_norm
from arithloc.benchmark.engine.devices import device_of
from arithloc.benchmark.engine.entries import Values
from arithloc.benchmark.engine.qkv import slot_projection, slots
from arithloc.benchmark.engine.sites import Site, SiteKind, embedding
from arithloc.benchmark.models import SubjectModel

Writes = Float[Tensor, "circuit sender token d_model"]
"""Writes of one block's senders, circuit minus donor."""


def refuse_mixed_heads(model: SubjectModel) -> None:
    """Raises UnsupportedArchitecture where a norm between attention and residual stream mixes what heads write."""
    if has_attention_norm(model, 0):
        raise UnsupportedArchitecture(
            f"Expected each head to write into the residual stream on its own, but {model.anatomy.model_type} "
            "normalises their sum. Edges from single heads do not exist there: use layer, node or neuron."
        )


@dataclass(frozen=True, eq=False)
class KeptEdges:
    """Circuits of an edge space: what is kept, or the share of each edge that is.

    Attributes:
        inner: edges to attention and MLPs by position class, the last column for tokens without a class: all kept.
        logits: edges to the logits.
    """

    inner: Bool[Tensor, "circuit edge cls"] | Float[Tensor, "circuit edge cls"]
    logits: Bool[Tensor, "circuit sender"] | Float[Tensor, "circuit sender"]

    @classmethod
    def of(cls, space: ComponentSpace, kept: Shaped[Tensor, "circuit comp"]) -> "KeptEdges":
        """Reads circuits of an edge space, in the order of `arithloc.benchmark.api.edges`."""
        inner = n_edges(space.shape) - n_senders(space.shape)
        split = kept.shape[1] - n_senders(space.shape)
        table = kept[:, :split].reshape(len(kept), inner, -1)
        return cls(torch.nn.functional.pad(table, (0, 1), value=True), kept[:, split:])

    def __getitem__(self, rows: Sequence[int]) -> "KeptEdges":
        """Some of the circuits."""
        return KeptEdges(self.inner[list(rows)], self.logits[list(rows)])


def edge_rows(
    blocks: Blocks, donor: Values, kept: KeptEdges, index: Int[Tensor, "pair pos"]
) -> Float[Tensor, "circuit pair d_model"]:
    """Residual stream that the logits read at the last token of each circuit.

    Args:
        blocks: the clean run's continuation; the run holds the embedding.
        donor: values at the embedding, all heads and all MLPs.
        kept: the circuits.
        index: class column of each token.
    """
    return _Edges(blocks, donor, kept, index).run()


@dataclass(eq=False)
class _Edges:
    blocks: Blocks
    donor: Values
    kept: KeptEdges
    index: Int[Tensor, "pair pos"]
    z: list[Tensor] = field(default_factory=list)
    """Heads of each block, circuit minus donor, (circuit, token, head, d_head)."""
    mlps: list[Tensor] = field(default_factory=list)
    """MLP of each block, circuit minus donor, (circuit, token, d_model)."""

    def run(self) -> Float[Tensor, "circuit pair d_model"]:
        """All blocks, then what the logits read."""
        model = self.blocks.model
        shape, circuits = model.shape, len(self.kept.logits)
        pairs, n = self.index.shape
        flat = self.index.flatten()
        tokens = [(int(cls), (flat == cls).nonzero().squeeze(1)) for cls in sorted(set(flat.tolist()))]
        residual = self.donor[embedding()].flatten(0, 1)
        embedded = (self.blocks.base.values[embedding()] - self.donor[embedding()]).flatten(0, 1)
        for layer, edges in enumerate(layer_edges(shape)):
            device = device_of(model, layer)
            residual, embedded, tokens = residual.to(device), embedded.to(device), _on(device, tokens)
            n_slots, below = slots(model), edges.attention_senders
            attention = self.kept.inner[:, edges.attention].reshape(circuits, n_slots, below, -1)
            mlp = self.kept.inner[:, edges.mlp].unsqueeze(1)
            mixed = residual.expand(circuits, n_slots + 1, -1, -1).clone()
            self._mix(mixed, torch.cat([attention, mlp[:, :, :below]], 1), embedded, layer, tokens)
            projected = self._projected(layer, mixed[:, :-1])
            z = self.blocks.heads(layer, projected.view(circuits, pairs, n, n_slots, -1)).flatten(1, 2)
            self.z.append(z - self.donor[Site(SiteKind.HEAD, layer)].flatten(0, 1))
            attended = model.attention_output(layer)(self.donor[Site(SiteKind.HEAD, layer)].flatten(2)).flatten(0, 1)
            read = mixed[:, -1:].clone()  # its own, so that what is added does not change what the slots read
            if not shape.parallel:
                read += attended
                self._add(read, mlp[:, :, below:], self._head_writes(layer), tokens)
            written = self.blocks.mlp(layer, read.squeeze(1))
            ablated = self.donor[Site(SiteKind.MLP, layer)].flatten(0, 1)
            self.mlps.append(written - ablated)
            residual = residual + attended + ablated
        return self._logits(residual, embedded, pairs, n)

    def _logits(self, residual: Tensor, embedded: Tensor, pairs: int, n: int) -> Float[Tensor, "circuit pair d_model"]:
        device = device_of(self.blocks.model, self.blocks.model.shape.n_layers)
        residual, embedded = residual.to(device), embedded.to(device)
        last = torch.arange(pairs, device=device) * n + n - 1
        self.z = [value[:, last.to(value.device)] for value in self.z]
        self.mlps = [value[:, last.to(value.device)] for value in self.mlps]
        mixed = residual[last].expand(len(self.kept.logits), 1, -1, -1).clone()
        mask = self.kept.logits[:, None, :, None]
        everywhere = [(0, torch.arange(pairs, device=device))]
        self._mix(mixed, mask, embedded[last], self.blocks.model.shape.n_layers, everywhere)
        return mixed.squeeze(1)

    def _mix(
        self,
        mixed: Float[Tensor, "circuit slot token d_model"],
        mask: Shaped[Tensor, "circuit slot sender cls"],
        embedded: Float[Tensor, "token d_model"],
        layers: int,
        tokens: list[tuple[int, Tensor]],
    ) -> None:
        """Adds the kept edges from the input and from all senders of the first `layers` blocks."""
        circuits, per_layer = len(mixed), self.blocks.model.shape.n_heads + 1
        self._add(mixed, mask[:, :, :1], embedded.expand(circuits, 1, -1, -1), tokens)
        for layer in range(layers):
            part = mask[:, :, 1 + layer * per_layer : 1 + (layer + 1) * per_layer]
            if bool(part.any()):
                writes = torch.cat([self._head_writes(layer), self.mlps[layer].unsqueeze(1)], 1)
                self._add(mixed, part, writes, tokens)

    def _head_writes(self, layer: int) -> Writes:
        """What each head of a block adds to the residual stream."""
        return torch.einsum("cthd,hdm->chtm", self.z[layer], self.blocks.model.output_weight(layer))

    @staticmethod
    def _add(
        mixed: Float[Tensor, "circuit slot token d_model"],
        mask: Shaped[Tensor, "circuit slot sender cls"],
        writes: Writes,
        tokens: list[tuple[int, Tensor]],
    ) -> None:
        """Adds to each slot the writes of the senders that it keeps, tokens of one class at a time."""
        writes = writes.to(mixed.device)
        for cls, members in tokens:
            kept = mask[..., cls].to(writes)
            whole = len(members) == mixed.shape[2]
            here = writes if whole else writes[:, :, members]
            added = torch.bmm(kept, here.flatten(2)).view(*kept.shape[:2], *here.shape[2:])
            if whole:
                mixed += added
            else:
                mixed[:, :, members] += added

    def _projected(
        self, layer: int, mixed: Float[Tensor, "circuit slot token d_model"]
    ) -> Float[Tensor, "circuit token slot d_head"]:
        """Each slot's query, key or value of what it reads."""
        model = self.blocks.model
        norm = model.input_norm(layer)
        weight, bias = slot_projection(model, layer)
        projected = torch.einsum("cstm,sdm->ctsd", mixed if norm is None else norm(mixed), weight)
        return projected if bias is None else projected + bias


def _on(device: torch.device, tokens: list[tuple[int, Tensor]]) -> list[tuple[int, Tensor]]:
    return [(cls, members.to(device)) for cls, members in tokens]
