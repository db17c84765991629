"""Sites: the places of a model where activations are read and replaced."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from arithloc.benchmark.api import ComponentSpace, Granularity, ModelShape, UnsupportedGranularity
from arithloc.benchmark.api.errors import BadOption, quoted
from arithloc.benchmark.models import SubjectModel


class SiteKind(StrEnum):
    """What is found at a site."""

    RESIDUAL = "residual"
    """Input of a block, (..., d_model); of the final norm for layer `n_layers`; the embedding for layer 0."""
    ATTENTION = "attention"
    """What attention adds to the residual stream, post-norm included, (..., d_model)."""
    MLP = "mlp"
    """What the MLP adds to the residual stream, post-norm included, (..., d_model)."""
    HEAD = "head"
    """Per-head output z, input of the output projection, (..., n_heads, d_head)."""
    HIDDEN = "hidden"
    """MLP hidden activation, input of the down projection, (..., d_mlp)."""


@dataclass(frozen=True, slots=True)
class Site:
    """One place in the model.

    Attributes:
        kind: what is there.
        layer: block, from 0.
        index: one head, hidden unit or output coordinate; None for all of them.
    """

    kind: SiteKind
    layer: int
    index: int | None = None

    @property
    def whole(self) -> "Site":
        """The same site without its index."""
        return Site(self.kind, self.layer)


def embedding() -> Site:
    """The residual stream before block 0, positions included where they are learned."""
    return Site(SiteKind.RESIDUAL, 0)


def width(site: Site, shape: ModelShape) -> tuple[int, ...]:
    """Shape of the activation at a site, without batch and position."""
    full: tuple[int, ...] = {
        SiteKind.HEAD: (shape.n_heads, shape.d_head),
        SiteKind.HIDDEN: (shape.d_mlp,),
    }.get(site.kind, (shape.d_model,))
    return full if site.index is None else full[1:]


def check(site: Site, shape: ModelShape) -> None:
    """Raises BadOption if the model has no such site."""
    layers = shape.n_layers + (site.kind is SiteKind.RESIDUAL)
    size = width(site.whole, shape)[0]
    if not 0 <= site.layer < layers or not (site.index is None or 0 <= site.index < size):
        raise BadOption(
            f"Expected a site within {layers} layers and an index below {size}, found {quoted(site)}. "
            "Count both from 0."
        )


def sites_of(space: ComponentSpace) -> tuple[Site, ...]:
    """The site of each component of a space without position classes, in the space's order.

    Raises:
        UnsupportedGranularity: an edge space; edges are not sites.
    """
    s = space.shape
    match space.granularity:
        case Granularity.LAYER:
            return tuple(
                Site(kind, layer) for layer in range(s.n_layers) for kind in (SiteKind.ATTENTION, SiteKind.MLP)
            )
        case Granularity.NODE:
            return tuple(
                site
                for layer in range(s.n_layers)
                for site in (*(Site(SiteKind.HEAD, layer, h) for h in range(s.n_heads)), Site(SiteKind.MLP, layer))
            )
        case Granularity.NEURON:
            return tuple(Site(SiteKind.HIDDEN, layer, unit) for layer in range(s.n_layers) for unit in range(s.d_mlp))
        case _:
            raise UnsupportedGranularity(
                "Expected components that are places of the model, found edges. Use layer, node or neuron here."
            )


def hook(model: SubjectModel, site: Site, function: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Calls `function` on the activation at a whole site, (batch, pos, *width), in each forward.

    What it returns replaces the activation; None leaves it alone. Heads come as (batch, pos, n_heads, d_head).
    """
    match site.kind:
        case SiteKind.RESIDUAL:
            last = site.layer == model.shape.n_layers
            return _on_input(model.final_norm if last else model.blocks[site.layer], function)
        case SiteKind.ATTENTION:
            return _on_output(model.attention_write(site.layer), function)
        case SiteKind.MLP:
            return _on_output(model.mlp_write(site.layer), function)
        case SiteKind.HIDDEN:
            return _on_input(model.mlp_down(site.layer), function)
        case SiteKind.HEAD:
            heads, d_head = model.shape.n_heads, model.shape.d_head

            def split(z: Tensor) -> Tensor | None:
                changed = function(z.view(*z.shape[:-1], heads, d_head))
                return None if changed is None else changed.flatten(-2)

            return _on_input(model.attention_output(site.layer), split)


def _on_input(module: nn.Module, function: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    def pre(
        _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if args:
            changed = function(args[0])
            return None if changed is None else ((changed, *args[1:]), kwargs)
        changed = function(kwargs["hidden_states"])
        return None if changed is None else (args, {**kwargs, "hidden_states": changed})

    return module.register_forward_pre_hook(pre, with_kwargs=True)


def _on_output(module: nn.Module, function: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    def post(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor | None:
        return function(output)

    return module.register_forward_hook(post)
