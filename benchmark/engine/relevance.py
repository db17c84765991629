"""Propagation rules in place of gradients: the backward pass of relevance propagation, the forward pass untouched.

Within the context, gradients of the engine are propagation coefficients (Jafari et al. 2025, arXiv:2508.21258, table of
rules): the scale of a norm is a constant (LN-rule), an activation function f(x) is the product of x and the constant
f(x) / x (identity rule), each factor of a gated product receives half (half rule), linear maps are as they are (0-rule),
and attention weights may be constants (AH-rule).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from arithloc.benchmark.api.errors import UnsupportedArchitecture
from arithloc.benchmark.engine.descent import without_gradient
from arithloc.benchmark.engine.devices import device_of
from arithloc.benchmark.engine.norms import NormParts
from arithloc.benchmark.engine.sites import Site, SiteKind, hook
from arithloc.benchmark.models import SubjectModel

_HEAD_NORMS = ("q_norm", "k_norm")


@contextmanager
def relevance_rules(model: SubjectModel, *, frozen_attention: bool = False) -> Iterator[None]:
    """Makes gradients of the model follow the rules of relevance propagation.

    Args:
        model: the subject model.
        frozen_attention: attention weights pass nothing back to queries and keys.

    Raises:
        UnsupportedArchitecture: an MLP whose activation function is not a module of its own.
    """
    with ExitStack() as stack:
        for norm, like in _norms(model):
            stack.callback(norm.register_forward_hook(_ln_rule(NormParts.of(norm, like))).remove)
        for layer in range(model.shape.n_layers):
            stack.callback(_activation(model, layer).register_forward_hook(_identity_rule).remove)
            if _is_gated(model.mlp(layer)):
                stack.callback(hook(model, Site(SiteKind.HIDDEN, layer), _half_rule).remove)
            if frozen_attention:
                for module, value_columns in _projections(model, layer):
                    stack.callback(module.register_forward_hook(_ah_rule(value_columns)).remove)
        yield


def _norms(model: SubjectModel) -> Iterator[tuple[nn.Module, Tensor]]:
    """Every norm of the model, with a vector of the width that it works on."""
    layers = model.shape.n_layers
    dtype = torch.promote_types(model.dtype, torch.float32)
    for layer in range(layers):
        residual = torch.zeros(model.shape.d_model, device=device_of(model, layer), dtype=dtype)
        writers = (model.attention_write(layer), model.mlp_write(layer))
        post = [w for w in writers if w not in (model.attention_output(layer), model.mlp(layer))]
        for norm in (model.input_norm(layer), model.mlp_norm(layer), *post):
            if norm is not None:
                yield norm, residual
        for name in _HEAD_NORMS:
            norm = getattr(model.attention(layer), name, None)
            if isinstance(norm, nn.Module):
                width = next(norm.parameters()).shape[0]
                yield norm, residual.new_zeros(width)
    yield model.final_norm, torch.zeros(model.shape.d_model, device=device_of(model, layers), dtype=dtype)


def _ln_rule(parts: NormParts) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
    def rule(_: nn.Module, args: tuple[Any, ...], y: Tensor) -> Tensor:
        x = args[0].to(parts.gain.dtype)
        exact = y.detach()
        linear = parts.inverse_scale(x, exact.to(x.dtype)).detach() * parts.scaled(x)
        return exact + (linear - linear.detach()).to(y.dtype)

    return rule


def _identity_rule(_: nn.Module, args: tuple[Any, ...], y: Tensor) -> Tensor:
    x: Tensor = args[0]
    ratio = torch.where(x == 0, 0.0, y / torch.where(x == 0, 1.0, x)).detach()
    return y.detach() + ratio * (x - x.detach())


def _half_rule(hidden: Tensor) -> Tensor:
    return hidden.detach() + 0.5 * (hidden - hidden.detach())


def _ah_rule(value_columns: Tensor) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
    def rule(_: nn.Module, __: tuple[Any, ...], y: Tensor) -> Tensor:
        return torch.where(value_columns, y, without_gradient(y))

    return rule


def _activation(model: SubjectModel, layer: int) -> nn.Module:
    """The activation function of an MLP: its only child without parameters that is not dropout."""
    children = [
        child
        for child in model.mlp(layer).children()
        if next(child.parameters(), None) is None and not isinstance(child, nn.Dropout)
    ]
    if len(children) != 1:
        raise UnsupportedArchitecture(
            f"Expected one activation function as a module of the MLP, found {len(children)} in "
            f"{model.anatomy.model_type}. Relevance rules are not defined for this family."
        )
    return children[0]


def _is_gated(mlp: nn.Module) -> bool:
    """Whether the hidden activation is a product of two projections."""
    return any(name.startswith("gate") for name, _ in mlp.named_children())


def _projections(model: SubjectModel, layer: int) -> Iterator[tuple[nn.Module, Tensor]]:
    """Query, key and value projections, with the output columns that are values."""
    shape = model.shape
    values = [model.head_rows(layer, "v", head) for head in range(shape.n_kv_heads)]
    widths = {"q": shape.n_heads, "k": shape.n_kv_heads, "v": shape.n_kv_heads}
    modules = model.qkv(layer)
    for i, module in enumerate(modules):
        heads = widths["qkv"[i]] if len(modules) == 3 else shape.n_heads + 2 * shape.n_kv_heads
        columns = torch.zeros(heads * shape.d_head, dtype=torch.bool, device=device_of(model, layer))
        for value in values:
            if value.module is module:
                columns[value.rows] = True
        yield module, columns
