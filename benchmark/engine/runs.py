"""Base runs: plain forwards of a batch that leave behind what packed operations start from.

A base run goes through the stock model. It keeps the activations asked for, the keys and values of all positions, and
how each attention module was called (positions, mask), so that packed rows can call the same modules in the same way.
What two runs of a batch share is computed once: a beginning that all prompts have in common runs as a single row, and
the counterfactual run starts at the first token that differs from the clean prompt.
"""

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import DynamicCache

from arithloc.benchmark.api import PromptPair
from arithloc.benchmark.api.errors import UnsupportedArchitecture, quoted
from arithloc.benchmark.engine import meter
from arithloc.benchmark.engine.batching import ids_of
from arithloc.benchmark.engine.devices import device_of
from arithloc.benchmark.engine.donors import Run
from arithloc.benchmark.engine.positions import first_difference
from arithloc.benchmark.engine.rotation import rotation_follows_length
from arithloc.benchmark.engine.sites import Site, hook
from arithloc.benchmark.models import SubjectModel

_CACHE_NAMES = ("past_key_values", "layer_past")
_POSITION_NAMES = ("position_embeddings", "position_ids")
_MASKED = ("eager", "sdpa")
"""Implementations of attention that take a mask tensor."""


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """How a base run called one attention module.

    Attributes:
        cache_name: argument that takes the key/value cache.
        constants: arguments that do not depend on tokens.
        positions: arguments with a position axis 1, tensors or tuples of tensors, from token `start` on.
        allowed: which tokens (columns, the whole prompt) each token from `start` on may look at; layers with equal
            masks share the tensor.
    """

    cache_name: str
    constants: dict[str, Any]
    positions: dict[str, Any]
    allowed: Bool[Tensor, "pos key"]


@dataclass(frozen=True, eq=False)
class BaseRun:
    """What a base run left behind.

    Attributes:
        values: activations at whole sites from token `start` on, (pair, pos, *width).
        logits: at the last token.
        keys, key_values: per layer, (pair, kv_head, whole prompt, d_head), rotated where the model rotates.
        calls: per layer.
        start: first token that packed rows may change.
    """

    values: dict[Site, Tensor]
    logits: Float[Tensor, "pair vocab"]
    keys: tuple[Tensor, ...]
    key_values: tuple[Tensor, ...]
    calls: tuple[AttentionCall, ...]
    start: int

    def later(self, start: int) -> "BaseRun":
        """The same run for packed rows that change nothing before a later token."""
        skip = start - self.start
        if not skip:
            return self
        masks = {id(call.allowed): call.allowed[skip:] for call in self.calls}  # layers go on sharing them
        calls = tuple(
            replace(
                call,
                positions={name: _map(value, lambda t: t[:, skip:]) for name, value in call.positions.items()},
                allowed=masks[id(call.allowed)],
            )
            for call in self.calls
        )
        values = {site: value[:, skip:].contiguous() for site, value in self.values.items()}
        return replace(self, values=values, calls=calls, start=start)


def base_run(
    model: SubjectModel,
    ids: Int[Tensor, "pair pos"],
    sites: Sequence[Site],
    start: int,
    *,
    shared: tuple[BaseRun, int] | None = None,
) -> BaseRun:
    """Runs prompts of equal length.

    Args:
        model: the subject model.
        ids: token ids.
        sites: whole sites to keep from token `start` on.
        start: first token that packed rows may change; below the length.
        shared: an earlier base run and how many first tokens it shares with this one, row by row.

    Raises:
        UnsupportedArchitecture: attention is computed, or called with tensors, in a way that the engine does not know.
    """
    refuse_unknown_attention(model)
    n_pairs, length = ids.shape
    layers = range(model.shape.n_layers)
    found: dict[Site, Tensor] = {}
    calls: list[AttentionCall | None] = [None for _ in layers]
    cache = DynamicCache()
    with torch.inference_mode():
        begin = _fill(model, cache, ids, start, shared)
        with ExitStack() as stack:
            for site in dict.fromkeys(sites):
                stack.callback(
                    hook(model, site, _keep(found, site, start - begin, device_of(model, site.layer))).remove
                )
            for layer in layers:
                record = _record(calls, layer, model.attention(layer), start - begin, length)
                stack.callback(model.attention(layer).register_forward_pre_hook(record, with_kwargs=True).remove)
            output: Any = model.module(
                input_ids=ids[:, begin:], past_key_values=cache, use_cache=True, logits_to_keep=1
            )
    _count(model, n_pairs, length - begin, length)
    return BaseRun(
        found,
        output.logits[:, -1],
        tuple(_stored(cache, layer)[0] for layer in layers),
        tuple(_stored(cache, layer)[1] for layer in layers),
        tuple(call for call in calls if call is not None),
        start,
    )


def refuse_unknown_attention(model: SubjectModel) -> None:
    """Raises UnsupportedArchitecture for attention that does not take its mask as a tensor."""
    found = getattr(model.config, "_attn_implementation", None)
    if found not in _MASKED:
        raise UnsupportedArchitecture(
            f"Expected attention that takes a mask tensor ({' or '.join(_MASKED)}), found {quoted(found)}. "
            "Load the model with attn_implementation='sdpa'."
        )


def _fill(
    model: SubjectModel,
    cache: DynamicCache,
    ids: Int[Tensor, "pair pos"],
    start: int,
    shared: tuple[BaseRun, int] | None,
) -> int:
    """Puts the keys and values of shared first tokens into the cache; returns how many tokens these are."""
    n_pairs, length = ids.shape
    if shared is not None:
        other, common = shared
        begin = min(common, start)
        if begin:
            for layer, (key, value) in enumerate(zip(other.keys, other.key_values, strict=True)):
                cache.update(key[:, :, :begin], value[:, :, :begin], layer)
        return begin
    differs = (ids != ids[:1]).any(0).nonzero()
    begin = min(start, int(differs[0]) if len(differs) else length - 1)
    if n_pairs == 1 or begin == 0 or rotation_follows_length(model.config, length):
        return 0
    single = DynamicCache()
    model.module(input_ids=ids[:1, :begin], past_key_values=single, use_cache=True, logits_to_keep=1)
    _count(model, 1, begin, length)
    for layer in range(model.shape.n_layers):
        key, value = _stored(single, layer)
        cache.update(key.expand(n_pairs, -1, -1, -1), value.expand(n_pairs, -1, -1, -1), layer)
    return begin


def _stored(cache: DynamicCache, layer: int) -> tuple[Tensor, Tensor]:
    """Keys and values of one layer, (pair, kv_head, pos, d_head)."""
    stored: Any = cache.layers[layer]
    return stored.keys, stored.values


def _count(model: SubjectModel, rows: int, positions: int, length: int) -> None:
    layers = model.shape.n_layers
    meter.count(rows=rows, half_blocks=2 * layers, positions=positions, n_layers=layers, length=length)


def _keep(found: dict[Site, Tensor], site: Site, skip: int, device: torch.device) -> Callable[[Tensor], None]:
    def store(value: Tensor) -> None:
        found[site] = value[:, skip:].to(device, copy=True)

    return store


def _record(
    calls: list[AttentionCall | None], layer: int, attention: nn.Module, skip: int, length: int
) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
    """A pre-hook that notes how an attention module is called, leaving out the first `skip` tokens of the call."""
    signature = inspect.signature(type(attention).forward)

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        arguments = dict(signature.bind(module, *args, **kwargs).arguments)
        arguments |= arguments.pop("kwargs", {})
        del arguments["self"]
        hidden = arguments.pop("hidden_states")
        mask = arguments.pop("attention_mask", None)
        positions = {name: arguments.pop(name) for name in _POSITION_NAMES if arguments.get(name) is not None}
        cache_name = next((name for name in _CACHE_NAMES if name in arguments), None)
        unknown = [name for name, value in arguments.items() if isinstance(value, Tensor)]
        if cache_name is None or unknown:
            raise UnsupportedArchitecture(
                f"Expected {type(module).__name__} to take hidden states, positions, a mask and a cache, found "
                f"{', '.join(unknown) or 'no cache'}. The engine cannot run parts of this architecture exactly."
            )
        del arguments[cache_name]
        allowed = _allowed(mask, hidden.shape[1], length, hidden.device)[skip:]
        before = next((call for call in calls[:layer] if call is not None and _equal(call.allowed, allowed)), None)
        calls[layer] = AttentionCall(
            cache_name,
            arguments,
            {name: _map(value, lambda t: t[:, skip:]) for name, value in positions.items()},
            allowed if before is None else before.allowed,
        )

    return note


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.device == other.device and torch.equal(one, other)


def _map(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Applies a function to a tensor or to each tensor of a tuple."""
    return tuple(function(part) for part in value) if isinstance(value, tuple) else function(value)


def _allowed(mask: Tensor | None, queries: int, length: int, device: torch.device) -> Bool[Tensor, "pos key"]:
    """The mask of one row as booleans; a model that passes none attends causally."""
    if mask is None:
        token = torch.arange(length, device=device)
        return token[length - queries :, None] >= token
    row = mask[0, 0, :, :length]
    return row if row.dtype == torch.bool else row == 0


class PairRuns:
    """The base runs of a batch of pairs, each made when it is first asked for.

    Args:
        model: the subject model.
        pairs: pairs of equal length.
        start: first token that packed rows may change.
        clean: whole sites to keep of the clean run.
        counterfactual: whole sites to keep of the counterfactual run.
    """

    def __init__(
        self,
        model: SubjectModel,
        pairs: Sequence[PromptPair],
        start: int,
        *,
        clean: Sequence[Site] = (),
        counterfactual: Sequence[Site] = (),
    ) -> None:
        self.model, self.pairs, self.start = model, pairs, start
        self._clean_sites, self._counterfactual_sites = clean, counterfactual

    def __getitem__(self, run: Run) -> BaseRun:
        return self.clean if run == "clean" else self.counterfactual

    @cached_property
    def clean(self) -> BaseRun:
        """The run of the clean prompts."""
        return base_run(self.model, ids_of(self.pairs, "clean", self.model.device), self._clean_sites, self.start)

    @cached_property
    def counterfactual(self) -> BaseRun:
        """The run of the counterfactual prompts, from the first token on that differs in any pair."""
        ids = ids_of(self.pairs, "counterfactual", self.model.device)
        common = min(first_difference(pair) for pair in self.pairs)
        shared = (self.clean, min(common, self.pairs[0].n_tokens - 1))
        return base_run(self.model, ids, self._counterfactual_sites, self.start, shared=shared)
