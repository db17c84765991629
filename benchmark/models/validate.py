"""Proof, on the loaded model itself, that its anatomy is right.

Two forwards of six tokens each: one of a clean and a donor prompt, in which every part's input and output is kept, and
one in which parts are replaced. Bounds are relative to the values compared and follow the rounding of the dtype.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from arithloc.benchmark.api.errors import AdapterCheckFailed
from arithloc.benchmark.models.subject import SubjectModel

N_TOKENS = 6
TURNED = 3
_ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 4e-2}
_ULPS = 4.0
"""Roundings in one residual sum of three terms, with one to spare."""


@dataclass(frozen=True, slots=True)
class _Record:
    """Input and output of one module in the clean and donor rows."""

    input: Tensor
    output: Tensor


@torch.no_grad()
def validate(subject: SubjectModel) -> None:
    """Checks that the parts named by the anatomy are the model's parts.

    1. Residual stream: embedding, then block by block input + attention write + MLP write = output, up to the final
       norm; norms and MLPs read what the anatomy says they read.
    2. Projections: the sum over heads of `z[h] @ W_O[h]` is the attention output, hidden @ W_down the MLP output.
    3. `subject.logits` of the last residual stream is the model's output.
    4. Patching every write with itself changes nothing; patching the embedding and every write with the donor's gives
       the donor's logits.
    5. Turning the sign of the rows of one head leaves the other heads alone; at one position only, of its query, it
       leaves the other positions alone, of its key, the positions before; of all its values, it turns the sign of `z`.

    Raises:
        AdapterCheckFailed: the first part that does not fit, by name.
    """
    _types(subject)
    donor_ids, clean_ids = _prompts(subject)
    with _recording(subject) as records:
        logits = _run(subject, torch.cat([clean_ids, donor_ids]))
    for check in (_residual_stream, _reads, _projections):
        check(subject, records)
    final = records[subject.final_norm].input[:, -1:]
    _same(subject, "logits of the last residual stream", subject.logits(final.to(subject.device))[:, 0], logits)
    with _patching(subject, records) as z:
        patched = _run(subject, clean_ids.expand(5, -1))
    _same(subject, "self-patched run", patched[0], logits[0])
    _same(subject, "run with every write patched from the donor", patched[1], logits[1])
    _heads(subject, z[0])


def _types(subject: SubjectModel) -> None:
    expected: list[tuple[str, nn.Module | None, type[nn.Module]]] = [
        ("token embedding", subject.embedding, nn.Embedding),
        ("position embedding", subject.position_embedding, nn.Embedding),
        ("unembedding", subject.unembedding, nn.Linear),
    ]
    for what, module, kind in expected:
        if module is not None and not isinstance(module, kind):
            raise AdapterCheckFailed(
                f"Expected the {what} to be of type {kind.__name__}, found {type(module).__name__}. {_repair(subject)}"
            )
    for layer in range(subject.shape.n_layers):
        for what, whole, parts in (
            ("attention", subject.attention(layer), (*subject.qkv(layer), subject.attention_output(layer))),
            ("MLP", subject.mlp(layer), (subject.mlp_down(layer),)),
        ):
            inside = set(whole.modules()) - {whole}
            if not inside.issuperset(parts):
                raise AdapterCheckFailed(
                    f"Expected the projections of {what} {layer} inside its module, found them outside "
                    f"{type(whole).__name__}. {_repair(subject)}"
                )


def _prompts(subject: SubjectModel) -> tuple[Int[Tensor, "1 pos"], Int[Tensor, "1 pos"]]:
    """Two prompts that differ at every position."""
    step = max(subject.shape.vocab // (2 * N_TOKENS), 1)
    ids = torch.arange(2 * N_TOKENS, device=subject.device) * step % subject.shape.vocab
    return ids[None, ::2], ids[None, 1::2]


def _run(subject: SubjectModel, ids: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch vocab"]:
    output = subject.module(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, logits_to_keep=1)
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
def _recording(subject: SubjectModel) -> Iterator[dict[nn.Module, _Record]]:
    records: dict[nn.Module, _Record] = {}
    writes = set(_writes(subject))

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        # attention modules are called with keywords; what they read is recorded at their query projection
        found = _tensor(output)
        if not isinstance(found, Tensor) or (module in writes and not isinstance(output, Tensor)):
            raise AdapterCheckFailed(
                f"Expected {type(module).__name__} to put out a tensor, found {type(output).__name__}. "
                f"{_repair(subject)}"
            )
        records[module] = _Record((_tensor(args[0]) if args else found).detach(), found.detach())

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
                f"was not called. {_repair(subject)}"
            )


def _residual_stream(subject: SubjectModel, records: dict[nn.Module, _Record]) -> None:
    residual = records[subject.embedding].output
    _shape(subject, "output of the token embedding", residual, (2, N_TOKENS, subject.shape.d_model))
    if subject.position_embedding is not None:
        positions = records[subject.position_embedding].output
        _shape(subject, "output of the position embedding", positions, (1, N_TOKENS, subject.shape.d_model))
        residual = residual + positions
    for layer, block in enumerate(subject.blocks):
        _same(subject, f"residual stream into block {layer}", records[block].input, residual)
        attention, mlp = records[subject.attention_write(layer)].output, records[subject.mlp_write(layer)].output
        _adds_up(subject, f"block {layer}", records[block].output, (records[block].input, attention, mlp))
        residual = records[block].output
    _same(subject, "residual stream into the final norm", records[subject.final_norm].input, residual)


def _reads(subject: SubjectModel, records: dict[nn.Module, _Record]) -> None:
    for layer, block in enumerate(subject.blocks):
        before = records[block].input
        middle = before if subject.shape.parallel else before + records[subject.attention_write(layer)].output
        norm = subject.input_norm(layer)
        if norm is not None:
            _same(subject, f"input of the input norm of block {layer}", records[norm].input, before)
        attention_reads = before if norm is None else records[norm].output
        _same(subject, f"input of attention {layer}", records[subject.qkv(layer)[0]].input, attention_reads)
        mlp_norm = subject.mlp_norm(layer) or norm
        if mlp_norm is not None:
            _same(subject, f"input of the MLP norm of block {layer}", records[mlp_norm].input, middle)
        mlp_reads = middle if mlp_norm is None else records[mlp_norm].output
        _same(subject, f"input of MLP {layer}", records[subject.mlp(layer)].input, mlp_reads)
        _written(subject, f"attention {layer}", records, subject.attention(layer), subject.attention_write(layer))
        _written(subject, f"MLP {layer}", records, subject.mlp(layer), subject.mlp_write(layer))


def _written(
    subject: SubjectModel, what: str, records: dict[nn.Module, _Record], part: nn.Module, write: nn.Module
) -> None:
    """A post-norm reads the part's output; without one the part's output is the write."""
    output = records[part].output
    reads = records[write].input
    same = reads.shape == output.shape and torch.allclose(reads, output)
    if not same:
        _same(subject, f"write of {what}", records[write].output, output)


def _projections(subject: SubjectModel, records: dict[nn.Module, _Record]) -> None:
    for layer in {0, subject.shape.n_layers - 1}:
        output = subject.attention_output(layer)
        z = _by_head(subject, records[output].input)
        total = torch.einsum("bphd,hdm->bpm", z, subject.output_weight(layer))
        _same(subject, f"sum over heads of attention {layer}", total + _bias(output), records[output].output)
        _same(
            subject,
            f"output of attention {layer}",
            records[output].output,
            records[subject.attention(layer)].output,
        )
        down = subject.mlp_down(layer)
        total = records[down].input @ subject.down_weight(layer)
        _same(subject, f"sum over hidden units of MLP {layer}", total + _bias(down), records[down].output)
        _same(subject, f"output of MLP {layer}", records[down].output, records[subject.mlp(layer)].output)


def _by_head(subject: SubjectModel, z: Float[Tensor, "batch pos z"]) -> Float[Tensor, "batch pos head d_head"]:
    return z.reshape(*z.shape[:2], subject.shape.n_heads, subject.shape.d_head)


def _bias(module: nn.Module) -> Tensor | float:
    bias = getattr(module, "bias", None)
    return bias if isinstance(bias, Tensor) else 0.0


@contextmanager
def _patching(subject: SubjectModel, records: dict[nn.Module, _Record]) -> Iterator[list[Tensor]]:
    """Rows of the batch: self-patched, donor-patched, and the middle head's q, k, v with turned sign in the last block.

    Queries and keys are turned at `TURNED` only, values at all positions.

    Yields a list that receives `z` of the last block.
    """
    last = subject.shape.n_layers - 1
    z: list[Tensor] = []

    def write(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        return torch.cat([records[module].output, output[2:]])

    def turn(row: int, positions: slice, rows: slice) -> Callable[..., Tensor]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            output = output.clone()
            output[row, positions, rows] *= -1
            return output

        return hook

    def keep(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        z.append(_by_head(subject, args[0]))

    handles = [module.register_forward_hook(write) for module in _writes(subject)]
    handles.append(subject.attention_output(last).register_forward_pre_hook(keep))
    for row, slot in enumerate("qkv", start=2):
        head = _turned_head(subject) if slot == "q" else _turned_head(subject) // subject.group_size
        where = subject.head_rows(last, slot, head)
        positions = slice(None) if slot == "v" else slice(TURNED, TURNED + 1)
        handles.append(where.module.register_forward_hook(turn(row, positions, where.rows)))
    try:
        yield z
    finally:
        for handle in handles:
            handle.remove()


def _turned_head(subject: SubjectModel) -> int:
    return subject.shape.n_heads // 2


def _heads(subject: SubjectModel, z: Float[Tensor, "5 pos head d_head"]) -> None:
    last = subject.shape.n_layers - 1
    # row 0 is replaced only at the writes, so its z in the last block is the clean one
    clean, head, group = z[0], _turned_head(subject), _turned_head(subject) // subject.group_size
    in_group = torch.arange(subject.shape.n_heads) // subject.group_size == group
    touched = {"q": torch.arange(subject.shape.n_heads) == head, "k": in_group, "v": in_group}
    for row, slot in enumerate("qkv", start=2):
        others = ~touched[slot]
        what = f"heads of attention {last} that the {slot} rows of head {head} do not belong to"
        _same(subject, what, z[row][:, others], clean[:, others])
    before, after = slice(0, TURNED), slice(TURNED + 1, None)
    for row, slot, where in ((2, "q", before), (2, "q", after), (3, "k", before)):
        what = f"positions of attention {last} that the {slot} rows of head {head} do not belong to"
        _same(subject, what, z[row][where], clean[where])
    _same(subject, f"value rows of head {head} of attention {last}", -z[4][:, in_group], clean[:, in_group])


def _same(subject: SubjectModel, what: str, found: Tensor, expected: Tensor) -> None:
    """Relative to the largest expected value."""
    _shape(subject, what, found, tuple(expected.shape))
    if not found.numel():
        return
    expected = expected.to(found.device)
    error, scale = (found - expected).abs().max().item(), expected.abs().max().item()
    if not error <= _ROUNDING[subject.dtype] * scale:
        raise AdapterCheckFailed(
            f"Expected the {what} to match the model, found a difference of {error:.2g} where values reach "
            f"{scale:.2g}. {_repair(subject)}"
        )


def _shape(subject: SubjectModel, what: str, found: Tensor, expected: tuple[int, ...]) -> None:
    if found.shape != expected:
        raise AdapterCheckFailed(
            f"Expected the {what} to have shape {expected}, found {tuple(found.shape)}. {_repair(subject)}"
        )


def _adds_up(subject: SubjectModel, what: str, total: Tensor, terms: tuple[Tensor, ...]) -> None:
    """Element by element, relative to the terms: residual streams have a few coordinates that dwarf the others."""
    for term in terms:
        _shape(subject, f"every term of {what}", term, tuple(total.shape))
    summands = torch.stack([term.to(total.device) for term in terms])
    error = (total - summands.sum(0)).abs()
    bound = _ULPS * torch.finfo(subject.dtype).eps * summands.abs().sum(0)
    if not bool((error <= bound).all()):
        raise AdapterCheckFailed(
            f"Expected {what} to put out input + attention + MLP, found a difference of {error.max().item():.2g}. "
            f"{_repair(subject)}"
        )


def _repair(subject: SubjectModel) -> str:
    return f"The {subject.anatomy.model_type} row in benchmark/models/anatomy.py does not describe this model."
