"""What operations are given, checked before anything is run."""

from collections.abc import Collection, Sequence
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Bool
from numpy import ndarray
from torch import Tensor

from arithloc.benchmark.api import ComponentSpace, PromptPair
from arithloc.benchmark.api.errors import BadOption, ModelError, UnsupportedArchitecture, quoted
from arithloc.benchmark.engine.rotation import rotation_follows_history
from arithloc.benchmark.models import SubjectModel


def check_call(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    reference: Sequence[PromptPair] | None = None,
    *,
    space: ComponentSpace | None = None,
) -> None:
    """Checks what every operation is given.

    Args:
        model: the subject model.
        pairs: pairs of the operation.
        reference: pairs that donors are taken from.
        space: components, which must be this model's.

    Raises:
        ModelError: a part of the model is in train mode.
        UnsupportedArchitecture: positions are rotated by an angle that depends on the prompts run before.
        BadOption: a space of another model; a pair whose prompts and classes differ in length, with token ids outside
            the vocabulary or without candidates.
    """
    if any(module.training for module in model.module.modules()):
        raise ModelError(
            "Expected a model in eval mode, found parts of it in train mode, where dropout makes every run another one. "
            "Call module.eval() on it."
        )
    if space is not None and space.shape != model.shape:
        raise BadOption(
            f"Expected a space of this model, {model.shape}, found one of {space.shape}. "
            "Build it as ComponentSpace(granularity, model.shape)."
        )
    embedding: Any = model.embedding
    known = min(embedding.weight.shape[0], model.shape.vocab)
    for pair in (*pairs, *(reference or ())):
        _check_pair(pair, known)
    longest = max((pair.n_tokens for pair in (*pairs, *(reference or ()))), default=0)
    if rotation_follows_history(model.config, longest):
        raise UnsupportedArchitecture(
            f"Expected prompts of at most {model.config.max_position_embeddings} tokens, found one of {longest}. "
            "The dynamic rotation of this model then depends on the prompts run before: use shorter prompts."
        )


def _check_pair(pair: PromptPair, vocab: int) -> None:
    lengths = (len(pair.clean_ids), len(pair.counterfactual_ids), len(pair.classes))
    if len(set(lengths)) > 1 or not pair.n_tokens:
        raise BadOption(
            f"Expected two prompts and position classes of one length, found {lengths[0]}, {lengths[1]} and "
            f"{lengths[2]} tokens at {quoted(pair.clean)}. Align them token by token."
        )
    if not pair.candidates:
        raise BadOption(
            f"Expected candidate tokens, found none at {quoted(pair.clean)}. Give at least answer and foil."
        )
    ids = (*pair.clean_ids, *pair.counterfactual_ids, *pair.candidates, pair.answer_token, pair.foil_token)
    if min(ids) < 0 or max(ids) >= vocab:
        raise BadOption(
            f"Expected token ids below {vocab}, found {min(ids)} to {max(ids)} at {quoted(pair.clean)}. "
            "Tokenise with this model's tokenizer."
        )


def check_choice(option: str, value: object, choices: object) -> None:
    """Raises BadOption unless `value` is one of the values of a `Literal` type."""
    known = get_args(choices)
    if value not in known:
        raise BadOption(
            f"Expected {option} to be {' or '.join(map(repr, known))}, found {quoted(value)}. Use one of these."
        )


def check_descent(model: SubjectModel, steps: int, stopped: Collection[int]) -> None:
    """Raises BadOption for a path without points, or a stopped block that the model does not have."""
    if steps < 1:
        raise BadOption(f"Expected at least one step, found {steps}. One step is the gradient in the run itself.")
    layers = model.shape.n_layers
    if missing := [layer for layer in stopped if not 0 <= layer < layers]:
        raise BadOption(f"Expected stopped blocks below {layers}, found {missing[0]}. Count from 0.")


def circuits_of(kept: ndarray, space: ComponentSpace, device: torch.device) -> Bool[Tensor, "circuit comp"]:
    """Circuits as a tensor.

    Raises:
        BadOption: not a boolean array (circuit, component) of this space.
    """
    if kept.dtype != np.bool_ or kept.ndim != 2:
        raise BadOption(
            f"Expected a boolean array (circuit, component), found {kept.dtype} of shape {kept.shape}. "
            "Convert it, or add the first axis."
        )
    if kept.shape[1] != len(space):
        raise BadOption(
            f"Expected one column per component ({len(space)}), found {kept.shape[1]}. Build `kept` from the same space."
        )
    return torch.from_numpy(np.array(kept, order="C")).to(device)  # a copy: views may have negative strides
