"""The two halves of a block on packed rows, by calling the model's own modules.

Packed rows are variants of the same prompts that differ from a base run from one token on. They travel as
(row, pair, pos, d_model), where pos counts from that token. In attention the rows of a pair stand side by side in one
sequence: each sees the base run's keys and values of the tokens before, and its own, but not those of other rows.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from arithloc.benchmark.engine import meter
from arithloc.benchmark.engine.qkv import given
from arithloc.benchmark.engine.runs import AttentionCall, BaseRun
from arithloc.benchmark.engine.sites import Site, SiteKind, hook
from arithloc.benchmark.models import SubjectModel

ATTENTION_TOKENS = 512
"""Tokens of all rows of one pair that attend side by side, at most: masked-out scores cost their square."""

Rows = Float[Tensor, "row pair pos d_model"]
"""Packed rows."""
ZEdit = Callable[[Tensor], Tensor]
"""Changes z of packed rows, (pair, row * pos, n_heads, d_head)."""


class Blocks:
    """Runs halves of blocks on packed rows that continue a base run.

    Args:
        model: the subject model.
        base: the run that the rows are variants of.
        length: tokens of the whole prompt.
    """

    def __init__(self, model: SubjectModel, base: BaseRun, length: int) -> None:
        self.model, self.base, self.length = model, base, length
        self._rows = 0
        self._masks: dict[int, Tensor] = {}

    def attention(self, layer: int, x: Rows, edit: ZEdit | None = None) -> Rows:
        """What attention adds to the residual stream, its norms included.

        Args:
            layer: block.
            x: residual stream at the block's input.
            edit: changes z before the output projection.
        """
        model = self.model
        rows, pairs, n, width = x.shape
        norm = model.input_norm(layer)
        side_by_side = x.transpose(0, 1).reshape(pairs, rows * n, width)
        written = self._attend(layer, side_by_side if norm is None else norm(side_by_side), rows, edit)
        return after_attention(model, layer, written).view(pairs, rows, n, width).transpose(0, 1)

    def heads(
        self, layer: int, projected: Float[Tensor, "row pair pos slot d_head"]
    ) -> Float[Tensor, "row pair pos head d_head"]:
        """Z of every head, from queries, keys and values as they leave the projections (slots as in `qkv`).

        Args:
            layer: block.
            projected: what every slot of every packed row projects.
        """
        rows, pairs, n, slots, width = projected.shape
        side_by_side = projected.transpose(0, 1).reshape(pairs, rows * n, slots, width)
        found: list[Tensor] = []
        unread = projected.new_zeros(pairs, rows * n, self.model.shape.d_model)
        with given(self.model, layer, side_by_side):
            self._attend(layer, unread, rows, found.append)
        return found[0].view(pairs, rows, n, self.model.shape.n_heads, width).transpose(0, 1)

    def _attend(
        self,
        layer: int,
        normed: Float[Tensor, "pair pos d_model"],
        rows: int,
        edit: Callable[[Tensor], Tensor | None] | None,
    ) -> Float[Tensor, "pair pos d_model"]:
        """Output of the attention module for rows that stand side by side."""
        call = self.base.calls[layer]
        arguments = {
            **call.constants,
            **{name: _side_by_side(value, rows) for name, value in call.positions.items()},
            "attention_mask": self._mask(call, rows, normed.dtype),
            call.cache_name: self._cache(layer),
        }
        handle = None if edit is None else hook(self.model, Site(SiteKind.HEAD, layer), edit)
        try:
            written: Tensor = self.model.attention(layer)(normed, **arguments)[0]
        finally:
            if handle is not None:
                handle.remove()
        self._count(*normed.shape[:2])
        return written

    def mlp(self, layer: int, x: Float[Tensor, "*batch d_model"], edit: ZEdit | None = None) -> Tensor:
        """What the MLP adds to the residual stream, its norms included.

        Args:
            layer: block.
            x: residual stream that the MLP reads, any leading axes.
            edit: changes the hidden activation, (1, tokens, d_mlp).
        """
        model = self.model
        tokens = x.reshape(1, -1, x.shape[-1])
        norm = model.mlp_norm(layer)
        if norm is None and model.shape.parallel:
            norm = model.input_norm(layer)
        handle = None if edit is None else hook(model, Site(SiteKind.HIDDEN, layer), edit)
        try:
            written = model.mlp(layer)(tokens if norm is None else norm(tokens))
        finally:
            if handle is not None:
                handle.remove()
        self._count(tokens.shape[1], 1)
        return after_mlp(model, layer, written).view(x.shape)

    def _count(self, rows: int, positions: int) -> None:
        layers = self.model.shape.n_layers
        meter.count(rows=rows, half_blocks=1, positions=positions, n_layers=layers, length=self.length)

    def _cache(self, layer: int) -> "Continued":
        """The key/value cache that a block's attention is called with."""
        return Continued(self.base, layer)

    def _mask(self, call: AttentionCall, rows: int, dtype: torch.dtype) -> Tensor:
        """Additive mask (1, 1, row * pos, prefix + row * pos); kept while the number of rows stays the same."""
        if rows != self._rows:
            self._rows, self._masks = rows, {}
        key = id(call.allowed)
        if key not in self._masks:
            self._masks[key] = packed_mask(call.allowed, self.base.start, rows, dtype)
        return self._masks[key]


def _side_by_side(value: Any, rows: int) -> Any:
    """A position argument, a tensor or a tuple of tensors, repeated for rows that stand side by side."""
    if isinstance(value, tuple):
        return tuple(_side_by_side(part, rows) for part in value)
    return value.repeat(1, rows, *[1] * (value.ndim - 2))


class Continued:
    """The key/value cache of one attention call: the base run's tokens before the packed rows, then their own."""

    def __init__(self, base: BaseRun, layer: int) -> None:
        self._key = base.keys[layer][:, :, : base.start]
        self._value = base.key_values[layer][:, :, : base.start]

    def update(self, key: Tensor, value: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """The stock cache's method: keys and values of all tokens."""
        return torch.cat([self._key, key], 2), torch.cat([self._value, value], 2)


def packed_mask(allowed: Tensor, start: int, rows: int, dtype: torch.dtype) -> Float[Tensor, "1 1 query key"]:
    """0 where a packed token may look and -inf elsewhere.

    Args:
        allowed: (pos, whole prompt), True where a token from `start` on may look at a token.
        start: tokens before the packed ones.
        rows: packed rows side by side.
        dtype: of the result.
    """
    n = allowed.shape[0]
    before = allowed[:, :start].expand(rows, n, start)
    own = torch.eye(rows, dtype=torch.bool, device=allowed.device)[:, None, :, None] & allowed[:, None, start:]
    open_ = torch.cat([before.reshape(rows * n, start), own.reshape(rows * n, rows * n)], 1)
    mask = torch.zeros(open_.shape, dtype=dtype, device=allowed.device)
    return mask.masked_fill_(~open_, -torch.inf)[None, None]


def has_attention_norm(model: SubjectModel, layer: int) -> bool:
    """Whether a norm stands between the output projection and the residual stream."""
    return model.attention_write(layer) is not model.attention_output(layer)


def has_mlp_norm(model: SubjectModel, layer: int) -> bool:
    """Whether a norm stands between the MLP and the residual stream."""
    return model.mlp_write(layer) is not model.mlp(layer)


def after_attention(model: SubjectModel, layer: int, projected: Tensor) -> Tensor:
    """What is added to the residual stream, from the output projection's output: through the post-norm, if any."""
    return model.attention_write(layer)(projected) if has_attention_norm(model, layer) else projected


def after_mlp(model: SubjectModel, layer: int, projected: Tensor) -> Tensor:
    """What is added to the residual stream, from the down projection's output: through the post-norm, if any."""
    return model.mlp_write(layer)(projected) if has_mlp_norm(model, layer) else projected
