"""From the last residual stream of packed rows to readings, without holding all their logits."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from arithloc.benchmark.engine.readings import ReadingsBuilder, Reducer, as_logits
from arithloc.benchmark.models import SubjectModel

_HOST_LOGITS = 2**22
"""Logits held at once on a CPU: small enough to stay near the cache through the passes of the reducer."""
_DEVICE_LOGITS = 2**28
"""The same on an accelerator."""


def read_rows(
    model: SubjectModel,
    reducer: Reducer,
    residual: Float[Tensor, "row pair d_model"],
    builder: ReadingsBuilder,
    rows: Sequence[int],
    pairs: Sequence[int],
    *,
    pair_logits: bool,
) -> None:
    """Puts the readings of packed rows into `builder`.

    Args:
        model: the subject model.
        reducer: of these pairs.
        residual: last residual stream at the scored position.
        builder: where the readings go.
        rows: index of each row in the builder.
        pairs: index of each pair in the builder.
        pair_logits: read the two scored logits alone, without the rest of the vocabulary.
    """
    if pair_logits:
        builder.put(scored_logits(model, residual, reducer.tokens.squeeze(1)), pairs, rows)
        return
    held = _DEVICE_LOGITS if residual.device.type == "cuda" else _HOST_LOGITS
    step = max(1, held // (len(pairs) * model.shape.vocab))
    for start in range(0, len(rows), step):
        part = residual[start : start + step].transpose(0, 1)
        builder.put(reducer(model.logits(part).to(reducer.tokens.device)), pairs, rows[start : start + step])


def scored_logits(
    model: SubjectModel, residual: Float[Tensor, "row pair d_model"], tokens: Int[Tensor, "pair 2"]
) -> dict[str, Tensor]:
    """Logits of the answer and the foil, (row, pair), from their two rows of the unembedding."""
    unembedding: Any = model.unembedding
    weight: Tensor = unembedding.weight
    normed, tokens = model.final_norm(residual).to(weight.device), tokens.to(weight.device)
    logits = torch.einsum("rpd,pkd->rpk", normed, weight[tokens])
    if unembedding.bias is not None:
        logits = logits + unembedding.bias[tokens]
    if model.logit_softcap is not None:
        logits = torch.tanh(logits / model.logit_softcap) * model.logit_softcap
    logits = as_logits(logits)
    return {"answer": logits[..., 0], "foil": logits[..., 1]}
