"""From the last residual stream of packed rows to readings, without holding all their logits."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from arithloc.benchmark.engine.readings import ReadingsBuilder, Reducer
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
) -> None:
    """Puts the readings of packed rows into `builder`.

    Args:
        model: the subject model.
        reducer: of these pairs.
        residual: last residual stream at the scored position.
        builder: where the readings go.
        rows: index of each row in the builder.
        pairs: index of each pair in the builder.
    """
    held = _DEVICE_LOGITS if residual.device.type == "cuda" else _HOST_LOGITS
    step = max(1, held // (len(pairs) * model.shape.vocab))
    for start in range(0, len(rows), step):
        part = residual[start : start + step].transpose(0, 1)
        builder.put(reducer(model.logits(part)), pairs, rows[start : start + step])
