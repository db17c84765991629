"""Float64 all through: Hugging Face code computes norms and attention weights in float32, whatever the weights are.

That is right for half types, but it makes a float64 model agree with itself only to 1e-7. `keep_double` runs these
modules' own code with every conversion of a float64 tensor to float32 left out; nothing is re-implemented.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_SOFTMAX = (torch.softmax, nn.functional.softmax, Tensor.softmax)


class _KeepDouble(TorchFunctionMode):
    """Leaves out conversions of float64 tensors to float32."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if func is Tensor.float:
                return args[0]
            if func is Tensor.to or func in _SOFTMAX:
                args = tuple(torch.float64 if arg is torch.float32 else arg for arg in args)
                kwargs = {key: torch.float64 if value is torch.float32 else value for key, value in kwargs.items()}
        return func(*args, **kwargs)


def _in_double(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with _KeepDouble():
        return forward(*args, **kwargs)


def keep_double(modules: Iterable[nn.Module]) -> None:
    """Makes float64 `modules` (norms, attention) compute in float64 inside, too."""
    for module in modules:
        if not isinstance(module.forward, partial):
            module.forward = partial(_in_double, module.forward)
