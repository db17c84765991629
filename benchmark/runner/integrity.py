"""Whether a model is still as it was loaded: a method may read it, not change it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass(frozen=True)
class Fingerprint:
    """A cheap summary of weights, hooks, code and mode.

    Attributes:
        sums: per parameter and buffer, the sum of its bits and a position-weighted one, both modulo 2^64.
        hooks: forward and backward hooks on all modules.
        code: of each module its class, its class's `forward` and every function put on the instance itself.
        config: the configuration.
        training: some module is in training mode.
        trainable: parameters that require gradients.
    """

    sums: tuple[tuple[str, int, int], ...]
    hooks: int
    code: tuple[tuple[str, int, int, tuple[tuple[str, int], ...]], ...]
    config: str
    training: bool
    trainable: int

    @classmethod
    def of(cls, module: nn.Module) -> "Fingerprint":
        """Summarises a model."""
        tensors = [*module.named_parameters(), *module.named_buffers()]
        return cls(
            sums=tuple((name, *_sums(tensor.detach())) for name, tensor in tensors),
            hooks=sum(_n_hooks(part) for part in module.modules()),
            code=tuple((name, *_code(part)) for name, part in module.named_modules()),
            config=repr(getattr(module, "config", None)),
            training=any(part.training for part in module.modules()),
            trainable=sum(parameter.requires_grad for parameter in module.parameters()),
        )


def _sums(tensor: Tensor) -> tuple[int, int]:
    """Bit sums of a tensor: over all numbers, and over the rows weighted by their index, so that a swap shows."""
    if tensor.numel() == 0:
        return 0, 0
    flat = tensor.contiguous().view(-1)
    bits = flat.view(_BITS[flat.element_size()])
    rows = bits.view(tensor.shape[0] if tensor.dim() > 1 else len(bits), -1).sum(-1, dtype=torch.int64)
    weights = torch.arange(1, len(rows) + 1, device=rows.device)
    return int(rows.sum()), int((rows * weights).sum())


def _n_hooks(module: nn.Module) -> int:
    before = len(module._forward_pre_hooks) + len(module._backward_pre_hooks)
    return before + len(module._forward_hooks) + len(module._backward_hooks)


def _code(module: nn.Module) -> tuple[int, int, tuple[tuple[str, int], ...]]:
    """What a call of the module runs: replacing `forward` on the instance or on the class shows."""
    own = ((k, id(v)) for k, v in sorted(vars(module).items()) if callable(v) and not isinstance(v, nn.Module))
    return id(type(module)), id(type(module).forward), tuple(own)
