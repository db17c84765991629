"""Batches: pairs of equal length together, as many as fit, never padded."""

import gc
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from arithloc.benchmark.api import ModelShape, PromptPair
from arithloc.benchmark.api.errors import OutOfMemory
from arithloc.benchmark.engine.devices import devices
from arithloc.benchmark.models import SubjectModel

Key = TypeVar("Key", bound=Hashable)

_CPU_TOKENS = 2048
"""More tokens at once do not raise the speed of matrix products on a CPU."""
_DEVICE_TOKENS = 65536
"""The same for an accelerator."""
_MEMORY_SHARE = 0.4
"""Part of the free memory that one batch may take."""


class Batcher:
    """How many tokens travel together: estimated from free memory, halved when memory runs out, then kept.

    Args:
        model: the subject model.
        tokens: start with this many instead of an estimate.
    """

    def __init__(self, model: SubjectModel, tokens: int | None = None) -> None:
        self.tokens = tokens or estimated_tokens(model)

    def run(self, n: int, tokens_each: int, work: Callable[[slice], None], *, most: int | None = None) -> None:
        """Calls `work` on consecutive slices of range(n), each of at most `tokens` tokens and at least one item.

        Slices have at most `most` items where that is given.

        `work` must be repeatable: after an out-of-memory error the same items come again in smaller slices.

        Raises:
            OutOfMemory: a slice of one item does not fit.
        """
        start = 0
        while start < n:
            size = min(n - start, most or n, max(1, self.tokens // max(1, tokens_each)))
            try:
                work(slice(start, start + size))
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise OutOfMemory(
                        f"Expected the device to hold {tokens_each} tokens at once, but memory ran out. "
                        "Use a smaller model, a lower precision or a larger device."
                    ) from error
                self.tokens = max(1, size // 2) * tokens_each
            else:
                start += size
                continue
            release_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that a device could not allocate."""
    if isinstance(error, torch.OutOfMemoryError | OutOfMemory | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def release_memory() -> None:
    """Gives freed blocks back, after an out-of-memory error has been dropped."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def estimated_tokens(model: SubjectModel) -> int:
    """Tokens of one batch whose activations fit in the free memory of the model's devices."""
    per_token = _bytes_per_token(model.shape, torch.finfo(model.dtype).bits // 8)
    if model.device.type == "cuda":
        free, cap = min(torch.cuda.mem_get_info(device)[0] for device in devices(model)), _DEVICE_TOKENS
    else:
        free, cap = _free_host_memory(), _CPU_TOKENS
    return max(1, min(cap, int(free * _MEMORY_SHARE) // per_token))


def kept_tokens(model: SubjectModel, widths: Sequence[int]) -> int:
    """How many tokens in flight take as much memory as one token whose activations of these widths are kept."""
    itemsize = torch.finfo(model.dtype).bits // 8
    return -(-itemsize * sum(widths) // _bytes_per_token(model.shape, itemsize))


def _bytes_per_token(shape: ModelShape, itemsize: int) -> int:
    """Activations alive at once inside a block: residual copies, gate, up and hidden units, q, k, v, z, scores."""
    heads = shape.n_heads * shape.d_head
    return itemsize * (10 * shape.d_model + 4 * shape.d_mlp + 8 * heads)


def _free_host_memory() -> int:
    info = Path("/proc/meminfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 4 * 1024**3  # a system that does not say: assume a small machine


def grouped(items: Sequence[Key]) -> dict[Key, list[int]]:
    """Indices of equal keys, keys in order of first appearance."""
    groups: dict[Key, list[int]] = {}
    for i, key in enumerate(items):
        groups.setdefault(key, []).append(i)
    return groups


def ids_of(pairs: Sequence[PromptPair], run: str, device: torch.device) -> Int[Tensor, "pair pos"]:
    """Token ids of one run of pairs that have the same length."""
    rows = [pair.clean_ids if run == "clean" else pair.counterfactual_ids for pair in pairs]
    return torch.tensor(rows, device=device)
