"""Queries, keys and values of single heads, whatever the arrangement of their projections."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from arithloc.benchmark.models import QKVLayout, SubjectModel


def slots(model: SubjectModel) -> int:
    """Receivers of one attention block: a query per head, a key and a value per key/value head."""
    return model.shape.n_heads + 2 * model.shape.n_kv_heads


def slot_projection(
    model: SubjectModel, layer: int
) -> tuple[Float[Tensor, "slot d_head d_model"], Float[Tensor, "slot d_head"] | None]:
    """Weight and bias of each slot: queries, then keys, then values."""
    modules = _modules(model, layer)
    weights = [_rows(module.weight, model) for module in modules]
    biases = [module.bias for module in modules if getattr(module, "bias", None) is not None]
    weight = _slots_first(model, torch.cat(weights))
    return weight, _slots_first(model, torch.cat(biases)) if biases else None


@contextmanager
def given(model: SubjectModel, layer: int, projected: Float[Tensor, "pair pos slot d_head"]) -> Iterator[None]:
    """Makes the block's attention use these queries, keys and values, as they leave the projections."""
    modules = _modules(model, layer)
    arranged = _as_rows(model, projected)
    if len(modules) == 1:
        outputs = [arranged]
    else:
        heads, kv, width = model.shape.n_heads, model.shape.n_kv_heads, model.shape.d_head
        outputs = list(torch.split(arranged, [heads * width, kv * width, kv * width], -1))
    handles = [
        module.register_forward_hook(lambda *_, value=value: value)
        for module, value in zip(modules, outputs, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _modules(model: SubjectModel, layer: int) -> list[Any]:
    return [model.blocks[layer].get_submodule(path) for path in model.anatomy.qkv]


def _rows(weight: Tensor, model: SubjectModel) -> Float[Tensor, "out d_model"]:
    return weight.T if model.anatomy.conv1d else weight


def _slots_first(model: SubjectModel, rows: Tensor) -> Tensor:
    """Output rows of the projections, (row, ...), as (slot, d_head, ...)."""
    width = model.shape.d_head
    if model.anatomy.layout is QKVLayout.INTERLEAVED:
        by_head = rows.view(model.shape.n_heads, 3, width, *rows.shape[1:])
        return by_head.transpose(0, 1).reshape(-1, width, *rows.shape[1:])
    return rows.view(-1, width, *rows.shape[1:])


def _as_rows(model: SubjectModel, projected: Float[Tensor, "pair pos slot d_head"]) -> Float[Tensor, "pair pos out"]:
    """Slots in the order in which the projections put them out."""
    if model.anatomy.layout is QKVLayout.INTERLEAVED:
        by_head = projected.view(*projected.shape[:2], 3, model.shape.n_heads, -1).transpose(2, 3)
        return by_head.flatten(2)
    return projected.flatten(2)


def modules(model: SubjectModel, layer: int) -> list[nn.Module]:
    """The projections of one block: query, key and value, or the fused one."""
    return list(_modules(model, layer))


def by_slot(model: SubjectModel, outputs: Sequence[Tensor]) -> Float[Tensor, "pair pos slot d_head"]:
    """Outputs of `modules` (or gradients there) by slot: queries, then keys, then values."""
    rows = torch.cat(list(outputs), -1)
    shape, width = rows.shape[:-1], model.shape.d_head
    if model.anatomy.layout is QKVLayout.INTERLEAVED:
        return rows.view(*shape, model.shape.n_heads, 3, width).transpose(-3, -2).reshape(*shape, -1, width)
    return rows.view(*shape, -1, width)
