"""The part of a run that an edit can change, and runs of questions that begin alike: the same numbers for less work.

Blocks below the edit are not run again, nor positions in front of it (attention is causal), nor heads beside it in its
block; of the last block only the positions that predict an answer are computed. `Network.run` is the reference.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from arithloc.tasks.toy.forward import (
    NO_EDITS,
    OFFSETS,
    Edits,
    HeadOutput,
    Network,
    Residual,
    Trace,
    attention,
)

Later = Float[ndarray, "batch later d_model"]


def scored_logits(
    network: Network, ids: Int[ndarray, "batch pos"], scored: int
) -> Float[ndarray, "batch scored vocab"]:
    """Logits at the last `scored` positions; the tokens that all rows begin with are run once."""
    alike = (ids == ids[:1]).all(axis=0)
    shared = min(int(np.argmin(np.append(alike, False))), ids.shape[1] - scored)
    x = network.embed(ids)[:, shared:]
    nothing = np.zeros((1, 0, 3 * network.d_model), dtype=x.dtype)
    past = network.run(ids[:1, :shared]).qkv if shared else [nothing] * network.n_layers
    for layer in range(network.n_layers):
        skip = x.shape[1] - scored if layer == network.n_layers - 1 else 0
        before = np.broadcast_to(past[layer], (len(ids), *past[layer].shape[1:]))
        z = _all_heads(network, layer, x, before, skip, NO_EDITS)
        x = x[:, skip:] + network.attention_write(z, layer)
        x = x + network.mlp_write(network.hidden(x, layer), layer)
    return network.unembed(x)


def changed_logits(network: Network, base: Trace, edits: Edits, scored: int) -> Float[ndarray, "batch changed vocab"]:
    """Logits of an edited run at those of the last `scored` positions that the edit can reach.

    Args:
        network: the model.
        base: the unedited run.
        edits: what to change.
        scored: positions whose logits count.

    Returns: logits of the last positions; at scored positions in front of these they are those of `base`.
    """
    length = base.residual[0].shape[1]
    run = _Partial(network, base, edits, _first_position(edits, length), length - scored)
    if edits.first_layer >= network.n_layers:
        x = base.residual[-1][:, run.cut :]
    else:
        x = run.first_block(edits.first_layer)
        for layer in range(edits.first_layer + 1, network.n_layers):
            x = run.later_block(layer, x)
    extra = edits.reads.get(("logits", 0, 0))
    return network.unembed(x if extra is None else x + extra[:, -x.shape[1] :])


@dataclass(frozen=True, eq=False)
class _Partial:
    """An edited run.

    Attributes:
        network, base, edits: as in `changed_logits`.
        first: first position that the edit reaches.
        cut: first scored position.
    """

    network: Network
    base: Trace
    edits: Edits
    first: int
    cut: int

    def begin(self, layer: int) -> int:
        """First position at which the block's output is needed and may differ."""
        return max(self.first, self.cut) if layer == self.network.n_layers - 1 else self.first

    def first_block(self, layer: int) -> Residual:
        """The lowest block that an edit touches; what it reads is that of the base run."""
        begin, base = self.begin(layer), self.base
        read = {head for kind, at, head in self.edits.reads if at == layer and kind in OFFSETS}
        if not read and not any(at == layer for at, _ in self.edits.heads):
            return self._with_mlp(layer, base.middle[layer][:, begin:], begin, unchanged=True)
        z = [
            self._read_head(layer, head, begin) if head in read else base.heads[layer, head][:, begin:]
            for head in range(self.network.n_heads)
        ]
        return self._behind_attention(layer, base.residual[layer][:, begin:], z, begin)

    def later_block(self, layer: int, x: Residual) -> Later:
        """A block that reads a changed stream.

        Args:
            layer: its number.
            x: the stream in front of it, from position `first` on.
        """
        begin = self.begin(layer)
        skip = begin - self.first
        z = _all_heads(self.network, layer, x, self.base.qkv[layer][:, : self.first], skip, self.edits)
        return self._behind_attention(layer, x[:, skip:], z, begin)

    def _behind_attention(self, layer: int, x: Residual, computed: list[HeadOutput], begin: int) -> Residual:
        z = [
            self._put((layer, head), self.edits.heads.get((layer, head)), own, begin)
            for head, own in enumerate(computed)
        ]
        return self._with_mlp(layer, x + self.network.attention_write(z, layer), begin, unchanged=False)

    def _with_mlp(self, layer: int, middle: Residual, begin: int, unchanged: bool) -> Residual:
        value, extra = self.edits.mlps.get(layer), self.edits.reads.get(("mlp", layer, 0))
        if value is not None and (layer, None) not in self.edits.at:
            return np.asarray(middle + value[:, begin:])
        if unchanged and extra is None:
            own = self.base.mlps[layer][:, begin:]
        else:
            read = Edits(reads={} if extra is None else {("mlp", layer, 0): extra[:, begin:]})
            own = self.network.mlp_write(self.network.hidden(middle, layer, read), layer)
        return np.asarray(middle + self._put((layer, None), value, own, begin))

    def _put(
        self,
        key: tuple[int, int | None],
        value: Float[ndarray, "batch whole width"] | None,
        own: Float[ndarray, "batch later width"],
        begin: int,
    ) -> Float[ndarray, "batch later width"]:
        """The replacement of a part's output, where there is one."""
        if value is None:
            return own
        at = self.edits.at.get(key)
        return value[:, begin:] if at is None else np.where(at[begin:, None], value[:, begin:], own)

    def _read_head(self, layer: int, head: int, begin: int) -> HeadOutput:
        """Output of a head of the first block one of whose slots reads something else."""
        parts = {}
        for slot in OFFSETS:
            columns = self.network.columns(slot, head)
            extra = self.edits.reads.get((slot, layer, head))
            if extra is None:
                parts[slot] = self.base.qkv[layer][..., columns]
            else:
                normed = self.network.norm(self.base.residual[layer] + extra, f"h.{layer}.ln_1")
                parts[slot] = self.network.affine(normed, f"h.{layer}.attn.c_attn", columns)
        q, k, v = (parts[slot][:, None] for slot in "qkv")
        return attention(q[:, :, begin:], k, v)[:, 0]


def _all_heads(
    network: Network, layer: int, x: Residual, past: Float[ndarray, "batch before qkv"], skip: int, edits: Edits
) -> list[Float[ndarray, "batch query d_head"]]:
    """Outputs of a block's heads.

    Args:
        network: the model.
        layer: the block.
        x: the stream in front of it from some position on.
        past: queries, keys and values of the positions before.
        skip: positions of x without queries.
        edits: what heads read differently.
    """
    first, d = past.shape[1], network.d_model
    own = {slot: extra[:, first:] for slot, extra in edits.reads.items() if slot[1] == layer and slot[0] in OFFSETS}
    name = f"h.{layer}"
    normed = network.norm(x, f"{name}.ln_1")
    if own or not skip:
        now = network.projected(x, layer, Edits(reads=own)) if own else network.affine(normed, f"{name}.attn.c_attn")
        queries, rest = now[:, skip:, :d], now[..., d:]
    else:
        queries = network.affine(normed[:, skip:], f"{name}.attn.c_attn", slice(0, d))
        rest = network.affine(normed, f"{name}.attn.c_attn", slice(d, 3 * d))
    whole = np.concatenate([past[..., d:], rest], axis=1)
    q, k, v = (
        part.reshape(*part.shape[:2], network.n_heads, network.d_head).transpose(0, 2, 1, 3)
        for part in (queries, whole[..., :d], whole[..., d:])
    )
    z = attention(q, k, v)
    return [z[:, head] for head in range(network.n_heads)]


def _first_position(edits: Edits, length: int) -> int:
    """First position that edits reach: 0 unless all of them are restricted to positions."""
    parts = [*edits.heads, *((layer, None) for layer in edits.mlps)]
    if edits.reads or any(part not in edits.at for part in parts):
        return 0
    where = np.logical_or.reduce([edits.at[part] for part in parts])
    return int(np.argmax(where)) if where.any() else length - 1
