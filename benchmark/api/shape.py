"""Sizes of a subject model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a subject model.

    Attributes:
        n_layers: transformer blocks.
        n_heads: query heads of a block.
        n_kv_heads: key/value heads of a block; divides `n_heads`.
        d_model: width of the residual stream.
        d_head: width of one head's output `z`.
        d_mlp: hidden units of one MLP (inputs of its down projection).
        vocab: logits.
        parallel: attention and MLP of a block read the same residual stream.
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    vocab: int
    parallel: bool = False
