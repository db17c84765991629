"""Copy heads by projection: how far a head's write points towards the answer's row of the unembedding.

Reference: Dutta et al., arXiv:2402.18312, section 4 (second of the two copy scores).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from arithloc.benchmark import engine
from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.benchmark.engine import Site, SiteKind
from arithloc.methods.head_writes import head_sites, head_writes, of_heads


class CotCopyProjection:
    """Mean inner product of what each head writes at the scored position with the answer's unembedding, without a norm.

    MLPs score 0.
    """

    info = MethodInfo(
        name="cot-copy-projection",
        summary="Inner product of each head's write with the answer's row of the unembedding.",
        granularities={Granularity.NODE},
        reference="arXiv:2402.18312",
        cost="constant",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each head; one forward per pair."""
        model, layers = problem.model, range(problem.space.shape.n_layers)
        found = engine.capture(model, problem.pairs, head_sites(model), progress=problem.progress)
        unembedding: Any = model.unembedding
        answers = torch.tensor([pair.answer_token for pair in problem.pairs], device=unembedding.weight.device)
        rows: Tensor = unembedding.weight[answers].to(model.device)
        grid = []
        for layer in layers:
            writes = head_writes(model, found, layer, found.last(Site(SiteKind.HEAD, layer)))
            grid.append(torch.einsum("phm,pm->ph", writes, rows.to(writes)).double().mean(0).cpu().numpy())
        return of_heads(problem.space, np.stack(grid))
