"""Neurons read in the vocabulary: the tokens that a value raises and lowers, directly or through attention.

Reference: Yu and Ananiadou, arXiv:2409.14144, sections 3.3 and 5.1. The concept list, and that one map is enough
for a neuron to be hidden-interpretable, are ours: the paper does not state them.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from arithloc.benchmark.api import Progress
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine import FrozenLens, NormParts
from arithloc.benchmark.engine.qkv import slot_projection
from arithloc.benchmark.models import SubjectModel
from arithloc.methods.analyses.cna.importance import Neuron

NUMBERS: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand"
).split()
ORDINALS: Final = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth twentieth thirtieth"
).split()
OPERATIONS: Final = (
    "plus minus times divided add added adding addition sum total subtract subtracted subtraction difference multiply "
    "multiplied multiplication product divide division quotient equal equals + - * / = \u00d7 \u00f7"
).split()
CONCEPTS: Final = (*map(str, range(10)), *NUMBERS, *ORDINALS, *OPERATIONS)
"""Words and symbols that count as a number or an operation."""
TOP: Final = 50
"""Tokens of a value that are looked at."""
UNITS: Final = 512
"""Values that are read at once."""


def concept_tokens(tokenizer: Any, concepts: Iterable[str] = CONCEPTS) -> frozenset[int]:
    """Tokens whose text is a concept, in any case, with or without spaces around it."""
    wanted = set(concepts)
    return frozenset(t for t in range(len(tokenizer)) if tokenizer.decode([t]).strip().lower() in wanted)


def read_values(
    model: SubjectModel, lens: FrozenLens, neurons: Sequence[Neuron], top: int
) -> tuple[Int[Tensor, "neuron top"], Int[Tensor, "neuron top"]]:
    """Tokens that the value of each neuron raises most and lowers most, by the lens."""
    values = torch.stack([model.down_weight(layer)[unit] for layer, unit in neurons]).to(lens.weight)
    logits = values @ lens.weight.T
    return logits.topk(top, -1).indices.cpu(), logits.topk(top, -1, largest=False).indices.cpu()


def shown(tokenizer: Any, tokens: Int[Tensor, " top"]) -> str:
    """Tokens as text, spaces and line breaks visible."""
    return " ".join(repr(tokenizer.decode([token]))[1:-1].replace(" ", "␣") for token in tokens.tolist())


def value_output(model: SubjectModel, layer: int) -> Float[Tensor, "d_model d_model"]:
    """What a block's attention makes of a vector behind its input norm if every head looks at it alone: sum of W_V W_O."""
    shape = model.shape
    values = slot_projection(model, layer)[0][shape.n_heads + shape.n_kv_heads :]
    values = values.repeat_interleave(model.group_size, 0)
    return torch.einsum("hdm,hdn->mn", values.float(), model.output_weight(layer).float())


def concept_counts(
    model: SubjectModel,
    lens: FrozenLens,
    sign: Float[ndarray, "layer unit"],
    concepts: frozenset[int],
    blocks: int,
    progress: Progress = no_progress,
) -> tuple[Int[ndarray, "block unit"], Int[ndarray, "block unit"]]:
    """Concepts among the top tokens of each value: read directly, and the most that any later attention block makes of it.

    A value whose coefficient is negative on average is read with its sign turned.

    Args:
        model: the subject model.
        lens: the frozen lens.
        sign: mean sign of the coefficients.
        concepts: tokens that count.
        blocks: MLPs below this block are read, and through attention blocks below it.
        progress: called with (done, total) blocks.
    """
    is_concept = torch.zeros(lens.weight.shape[0], dtype=torch.bool, device=lens.weight.device)
    is_concept[[token for token in sorted(concepts) if token < len(is_concept)]] = True
    direct = np.zeros((blocks, model.shape.d_mlp), dtype=np.int64)
    mapped = np.zeros_like(direct)
    for layer in range(blocks):
        turned = torch.from_numpy(np.where(sign[layer] < 0, -1.0, 1.0)).to(lens.weight)
        values = model.down_weight(layer).to(lens.weight) * turned[:, None]
        direct[layer] = _counted(values, lens, is_concept)
        for reader in range(layer + 1, blocks):
            norm = model.input_norm(reader)
            read = values if norm is None else NormParts.of(norm, values[0]).scaled(values)
            through = read @ value_output(model, reader).to(values)
            mapped[layer] = np.maximum(mapped[layer], _counted(through, lens, is_concept))
        progress(layer + 1, blocks)
    return direct, mapped


def _counted(
    vectors: Float[Tensor, "unit d_model"], lens: FrozenLens, is_concept: Bool[Tensor, " vocab"]
) -> Int[ndarray, " unit"]:
    found = [
        is_concept[(part @ lens.weight.T).topk(min(TOP, len(is_concept)), -1).indices].sum(-1)
        for part in torch.split(vectors, UNITS)
    ]
    return torch.cat(found).cpu().numpy()
