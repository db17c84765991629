"""Proof, on the loaded model itself, that its anatomy is right.

Two forwards of two prompts of four tokens: of a clean and a donor prompt, in which every part's input and output is
kept, and of the clean prompt with parts replaced; then the last block's attention three times more. Bounds are relative
to the values compared and follow the rounding of the dtype.
"""

import torch
from torch import Tensor, nn

from arithloc.benchmark.api.errors import AdapterCheckFailed
from arithloc.benchmark.models.probe import (
    N_TOKENS,
    Record,
    by_head,
    patching,
    prompts,
    recording,
    repair,
    run,
    turned,
)
from arithloc.benchmark.models.subject import SubjectModel

TURNED = 2
"""Position whose query or key is turned."""

_ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 4e-2}
_ULPS = 4.0
"""Roundings in one residual sum of three terms, with one to spare."""


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
    donor_ids, clean_ids = prompts(subject)
    with recording(subject) as records:
        logits = run(subject, torch.cat([clean_ids, donor_ids]))
    for check in (_residual_stream, _reads, _projections):
        check(subject, records)
    # in the forward's own shape, which sums in the same order: in a compiled toy the terms of a logit may cancel and
    # leave nothing but their rounding, and a bound that follows the terms would let a missing soft-cap pass
    found = subject.logits(records[subject.final_norm].input)[:, -1]
    _same(subject, "logits of the last residual stream", found, logits)
    with patching(subject, records):
        patched = run(subject, clean_ids.expand(2, -1))
    _same(subject, "self-patched run", patched[0], logits[0])
    _same(subject, "run with every write patched from the donor", patched[1], logits[1])
    _heads(subject, records)


def _types(subject: SubjectModel) -> None:
    expected: list[tuple[str, nn.Module | None, type[nn.Module]]] = [
        ("token embedding", subject.embedding, nn.Embedding),
        ("position embedding", subject.position_embedding, nn.Embedding),
        ("unembedding", subject.unembedding, nn.Linear),
    ]
    for what, module, kind in expected:
        if module is not None and not isinstance(module, kind):
            raise AdapterCheckFailed(
                f"Expected the {what} to be of type {kind.__name__}, found {type(module).__name__}. {repair(subject)}"
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
                    f"{type(whole).__name__}. {repair(subject)}"
                )


def _residual_stream(subject: SubjectModel, records: dict[nn.Module, Record]) -> None:
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


def _reads(subject: SubjectModel, records: dict[nn.Module, Record]) -> None:
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
    subject: SubjectModel, what: str, records: dict[nn.Module, Record], part: nn.Module, write: nn.Module
) -> None:
    """A post-norm reads the part's output; without one the part's output is the write."""
    output = records[part].output
    reads = records[write].input
    same = reads.shape == output.shape and torch.allclose(reads, output)
    if not same:
        _same(subject, f"write of {what}", records[write].output, output)


def _projections(subject: SubjectModel, records: dict[nn.Module, Record]) -> None:
    for layer in {0, subject.shape.n_layers - 1}:
        output = subject.attention_output(layer)
        z = by_head(subject, records[output].input)
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


def _bias(module: nn.Module) -> Tensor | float:
    bias = getattr(module, "bias", None)
    return bias if isinstance(bias, Tensor) else 0.0


def _heads(subject: SubjectModel, records: dict[nn.Module, Record]) -> None:
    """Turns the sign of one head's query, key or values in the last block and looks at every head's z."""
    last, head = subject.shape.n_layers - 1, subject.shape.n_heads // 2
    group = head // subject.group_size
    clean = by_head(subject, records[subject.attention_output(last)].input)
    in_group = torch.arange(subject.shape.n_heads, device=clean.device) // subject.group_size == group
    of_head = torch.arange(subject.shape.n_heads, device=clean.device) == head
    one, every = slice(TURNED, TURNED + 1), slice(None)
    before, after = slice(0, TURNED), slice(TURNED + 1, None)
    for slot, index, touched, positions, untouched in (
        ("q", head, of_head, one, (before, after)),
        ("k", group, in_group, one, (before,)),
        ("v", group, in_group, every, ()),
    ):
        z = turned(subject, records, subject.head_rows(last, slot, index), positions)
        rows = f"the {slot} rows of head {index}"
        what = f"of attention {last} that {rows} do not belong to"
        _same(subject, f"heads {what}", z[:, :, ~touched], clean[:, :, ~touched])
        for where in untouched:
            _same(subject, f"positions {what}", z[:, where], clean[:, where])
        if slot == "v":
            _same(subject, f"z of attention {last} made of {rows}", -z[:, :, touched], clean[:, :, touched])


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
            f"{scale:.2g}. {repair(subject)}"
        )


def _shape(subject: SubjectModel, what: str, found: Tensor, expected: tuple[int, ...]) -> None:
    if found.shape != expected:
        raise AdapterCheckFailed(
            f"Expected the {what} to have shape {expected}, found {tuple(found.shape)}. {repair(subject)}"
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
            f"{repair(subject)}"
        )
