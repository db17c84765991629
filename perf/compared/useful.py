"""Operations that a sweep cannot do without, counted by hand.

A matrix product of (n, k) and (k, m) counts 2 n k m. What is counted, with everything else (norms, rotations,
softmax, copies) counted as nothing:

- The two base runs, each token once: a beginning that all prompts share as one row, and the second run from the first
  token on at which a pair differs. In the last block of a base run keys and values of every token, the rest for the
  last one; and its unembedding.
- Each row of the sweep from the place at which it was patched, from its first changed token on: the projection of a
  head's change, then the MLP (after attention), then all higher blocks. In the last block keys and values of every
  changed token, queries, output and MLP of the last one.
- Attention scores and sums over the tokens that a token may look at, and none of the masked ones.
- The scored logits of each row: the whole vocabulary, or two with `pair_logits`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from arithloc.benchmark.api import PromptPair
from arithloc.benchmark.engine import Site, SiteKind
from arithloc.benchmark.engine.positions import first_difference
from arithloc.benchmark.models import SubjectModel
from compared.prompts import shared


@dataclass(frozen=True)
class Costs:
    """Operations of one token in one block."""

    keys: int
    """Projections to keys and values."""
    queries: int
    """Projection to queries and back to the residual stream."""
    look: int
    """Scores and sums, for each token that is looked at."""
    mlp: int
    head: int
    """Output projection of one head."""

    @classmethod
    def of(cls, model: SubjectModel) -> "Costs":
        """Counts them from the shapes of the weights."""
        s = model.shape
        heads = 2 * s.d_model * s.n_heads * s.d_head
        mlp: Any = model.mlp(0)
        weights = sum(parameter.numel() for parameter in mlp.parameters() if parameter.ndim == 2)
        return cls(
            keys=2 * s.d_model * 2 * s.n_kv_heads * s.d_head,
            queries=2 * heads,
            look=4 * s.n_heads * s.d_head,
            mlp=2 * weights,
            head=2 * s.d_model * s.d_head,
        )

    def blocks(self, n: int, start: int, length: int) -> int:
        """`n` blocks, the last of them the model's last, on the tokens from `start` on."""
        if n == 0:
            return 0
        tokens = length - start
        looked = sum(range(start + 1, length + 1))
        full = tokens * (self.keys + self.queries + self.mlp) + self.look * looked
        last = tokens * self.keys + self.queries + self.mlp + self.look * length
        return (n - 1) * full + last


def of_sweep(
    model: SubjectModel, pairs: Sequence[PromptPair], sites: Sequence[Site], *, last: bool, pair_logits: bool
) -> int:
    """Useful operations of a sweep of the last token, or of all, over pairs of one length.

    Sites are heads and writes of attention and MLPs of a model with sequential blocks.
    """
    costs, layers, length = Costs.of(model), model.shape.n_layers, pairs[0].n_tokens
    unembed = 2 * model.shape.d_model * model.shape.vocab
    common = shared(list(pairs))
    once = costs.blocks(layers + 1, 0, common) - costs.blocks(1, 0, common)
    total = once
    for pair in pairs:
        total += (
            costs.blocks(layers, common, length) + costs.blocks(layers, first_difference(pair), length) + 2 * unembed
        )
        start = length - 1 if last else first_difference(pair)
        tokens = length - start
        for site in sites:
            if site.kind is SiteKind.HEAD:
                total += tokens * costs.head
            if site.kind in (SiteKind.HEAD, SiteKind.ATTENTION):
                total += costs.mlp * (tokens if site.layer < layers - 1 else 1)
            total += costs.blocks(layers - 1 - site.layer, start, length)
            total += 4 * model.shape.d_model if pair_logits else unembed
    return total
