"""Running a subject model with hooks, for the checks of `validate` only; methods use the engine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from arithloc.benchmark.api.errors import AdapterCheckFailed
from arithloc.benchmark.models.subject import HeadRows, SubjectModel

N_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Record:
    """One module's call on the clean and the donor prompt, and its first output."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Tensor

    @property
    def input(self) -> Tensor:
        """The first argument."""
        tensor: Tensor = next(iter((*self.args, *self.kwargs.values())))
        return tensor


def prompts(subject: SubjectModel) -> tuple[Int[Tensor, "1 pos"], Int[Tensor, "1 pos"]]:
    """Two prompts that differ at every position."""
    step = max(subject.shape.vocab // (2 * N_TOKENS), 1)
    ids = torch.arange(2 * N_TOKENS, device=subject.device) * step % subject.shape.vocab
    return ids[None, ::2], ids[None, 1::2]


def run(subject: SubjectModel, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch vocab"]:
    """Logits of the last position."""
    output = subject.module(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    logits: Tensor = output.logits[:, -1]
    return logits


def _parts(subject: SubjectModel) -> Iterator[nn.Module]:
    yield subject.embedding
    if subject.position_embedding is not None:
        yield subject.position_embedding
    for layer, block in enumerate(subject.blocks):
        yield block
        yield subject.attention(layer)
        yield subject.qkv(layer)[0]
        yield subject.attention_output(layer)
        yield subject.attention_write(layer)
        yield subject.mlp(layer)
        yield subject.mlp_down(layer)
        yield subject.mlp_write(layer)
        for norm in (subject.input_norm(layer), subject.mlp_norm(layer)):
            if norm is not None:
                yield norm
    yield subject.final_norm


def _writes(subject: SubjectModel) -> list[nn.Module]:
    writes = [subject.embedding]
    for layer in range(subject.shape.n_layers):
        writes += [subject.attention_write(layer), subject.mlp_write(layer)]
    return writes


def _tensor(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


@contextmanager
def recording(subject: SubjectModel) -> Iterator[dict[nn.Module, Record]]:
    """Keeps every part's call of the forward inside; fails on a part that is not called or puts out no tensor."""
    records: dict[nn.Module, Record] = {}
    writes = set(_writes(subject))

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        found = _tensor(output)
        if not isinstance(found, Tensor) or (module in writes and not isinstance(output, Tensor)):
            raise AdapterCheckFailed(
                f"Expected {type(module).__name__} to put out a tensor, found {type(output).__name__}. "
                f"{repair(subject)}"
            )
        records[module] = Record(args, kwargs, found)

    handles = [part.register_forward_hook(keep, with_kwargs=True) for part in dict.fromkeys(_parts(subject))]
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()
    for part in _parts(subject):
        if part not in records:
            raise AdapterCheckFailed(
                f"Expected {type(part).__name__} to run in a forward pass of {type(subject.module).__name__}, but it "
                f"was not called. {repair(subject)}"
            )


@contextmanager
def patching(subject: SubjectModel, records: dict[nn.Module, Record]) -> Iterator[None]:
    """Replaces every write: in the first row of the batch with the clean one, in the second with the donor's."""

    def write(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return records[module].output

    handles = [module.register_forward_hook(write) for module in _writes(subject)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def turned(
    subject: SubjectModel, records: dict[nn.Module, Record], where: HeadRows, positions: slice
) -> Float[Tensor, "batch pos head d_head"]:
    """`z` of the last block with the sign of some rows of a projection turned at some positions."""
    last = subject.shape.n_layers - 1
    z: list[Tensor] = []

    def turn(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        output = output.clone()
        output[:, positions, where.rows] *= -1
        return output

    def keep(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        z.append(by_head(subject, args[0]))

    handles = [
        where.module.register_forward_hook(turn),
        subject.attention_output(last).register_forward_pre_hook(keep),
    ]
    attention = subject.attention(last)
    try:
        attention(*records[attention].args, **records[attention].kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return z[0]


def by_head(subject: SubjectModel, z: Float[Tensor, "batch pos z"]) -> Float[Tensor, "batch pos head d_head"]:
    """Splits `z` into heads."""
    return z.reshape(*z.shape[:2], subject.shape.n_heads, subject.shape.d_head)


def repair(subject: SubjectModel) -> str:
    """Last sentence of every message."""
    return f"The {subject.anatomy.model_type} row in benchmark/models/anatomy.py does not describe this model."
