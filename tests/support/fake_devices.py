"""Several devices on a machine that has one: tensors carry a label, and operations refuse to mix labels.

    with FakeDevices():
        place(model, ["cpu:1", "cpu:2"])
        ...

Everything is computed on the CPU. What is checked is what a real machine would refuse: an operation on tensors of
different devices. Not checked: copies that are made inside compiled code.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from arithloc.benchmark.models import SubjectModel

_HOST = torch.device("cpu")
_SKIPPED = "past_key_values"
"""Argument that accelerate leaves where it is, as Hugging Face models ask it to."""
_MOVES = {Tensor.copy_}
"""Operations that may read from another device."""


def label(tensor: Tensor) -> torch.device:
    """Where a tensor is said to be."""
    return getattr(tensor, "_fake_device", _HOST)


def mark(value: Any, device: torch.device) -> Any:
    """Says that all tensors in a result are on a device."""
    for tensor in _tensors([value]):
        tensor._fake_device = device
    return value


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from _tensors(value)


class FakeDevices(TorchFunctionMode):
    """Labels results with the device of their arguments, and raises RuntimeError where these differ."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:  # made anew at each access
            return label(args[0])
        if getattr(func, "__name__", "") == "__get__":  # sizes and types, asked for all the time by annotations' checks
            found = func(*args, **kwargs)
            return mark(found, label(args[0])) if isinstance(found, Tensor) else found
        if func is torch.autograd.grad:
            return tuple(mark(gradient, label(of)) for gradient, of in zip(func(*args, **kwargs), args[1], strict=True))
        found = list(_tensors([*args, *kwargs.values()]))
        if func is Tensor.to:
            named = [value for value in (*args[1:], *kwargs.values()) if isinstance(value, Tensor | torch.device | str)]
            device = next(
                (label(value) if isinstance(value, Tensor) else torch.device(value) for value in named), label(args[0])
            )
            result = func(*args, **kwargs)
            return mark(result.clone() if result is args[0] and device != label(result) else result, device)
        if func is Tensor.cpu:
            return mark(args[0].clone(), _HOST)
        devices = {label(tensor) for tensor in found if tensor.ndim}
        if func in _MOVES:
            devices = {label(args[0])}
        if len(devices) > 1:
            raise RuntimeError(f"Expected all tensors of {func} on one device, found {devices}.")
        device = torch.device(kwargs["device"]) if kwargs.get("device") is not None else next(iter(devices), _HOST)
        return mark(func(*args, **kwargs), device)


class _Hook(AlignDevicesHook):
    """Accelerate's hook, which moves what goes into a module, for weights that are labelled and not moved."""

    def init_hook(self, module: nn.Module) -> nn.Module:
        return module


def place(model: SubjectModel, first: str, second: str) -> None:
    """Spreads a model as `device_map="auto"` does: embeddings and block 0 on one device, the rest on another."""
    a, module = model.anatomy, model.module
    late = [f"{a.blocks}.{layer}" for layer in range(1, model.shape.n_layers)] + [a.final_norm, a.unembedding]
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        mark(tensor, torch.device(second if any(name.startswith(f"{part}.") for part in late) else first))
    add_hook_to_module(module, _Hook(first, io_same_device=True, skip_keys=_SKIPPED))
    rotary = f"{a.blocks.rpartition('.')[0]}.rotary_emb"
    for name in (a.embedding, a.position_embedding, rotary, f"{a.blocks}.0", *late):
        if name is not None and name in dict(module.named_modules()):
            for part in module.get_submodule(name).modules():
                if part.state_dict() or name == rotary:
                    add_hook_to_module(part, _Hook(second if name in late else first, skip_keys=_SKIPPED))
