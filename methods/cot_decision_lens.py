"""Decision heads: with which head alone the residual stream already says what it says after the whole attention block.

Reference: Dutta et al., arXiv:2402.18312, section 4 (decision score). The paper's number is (P_mid - P_head) / P_mid, low
where the head alone suffices; here it is turned round, P_head / P_mid, so that large means important.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from arithloc.benchmark import engine
from arithloc.benchmark.api import Granularity, MethodInfo, Problem, Scores
from arithloc.benchmark.engine import Site, SiteKind
from arithloc.benchmark.models import SubjectModel
from arithloc.methods.head_writes import head_sites, head_writes, of_heads

LOGITS = 2**26
"""Logits held at once."""


class CotDecisionLens:
    """Mean over pairs of P(answer | x + w_h) / P(answer | x + attention), P read by the model's own final norm and unembedding.

    x is the residual stream into a block at the scored position of the clean prompt, w_h what head h alone adds to it.
    MLPs score 0.
    """

    info = MethodInfo(
        name="cot-decision-lens",
        summary="Lens probability of the answer with one head alone, relative to that with its whole block.",
        granularities={Granularity.NODE},
        reference="arXiv:2402.18312",
        cost="constant",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each head; one forward per pair, and one pass over the unembedding per head and pair."""
        model, layers = problem.model, range(problem.space.shape.n_layers)
        sites = [Site(kind, layer) for kind in (SiteKind.RESIDUAL, SiteKind.ATTENTION) for layer in layers]
        found = engine.capture(model, problem.pairs, list(dict.fromkeys([*sites, *head_sites(model)])))
        answers = torch.tensor([pair.answer_token for pair in problem.pairs])
        grid = []
        for layer in layers:
            before = found.last(Site(SiteKind.RESIDUAL, layer))
            after = before + found.last(Site(SiteKind.ATTENTION, layer))
            writes = head_writes(model, found, layer, found.last(Site(SiteKind.HEAD, layer)))
            streams = torch.cat([before.unsqueeze(1) + writes.to(before), after.unsqueeze(1)], 1)
            logprobs = lens_logprobs(model, streams, answers)
            grid.append((logprobs[:, :-1] - logprobs[:, -1:]).exp().mean(0).cpu().numpy())
            problem.progress(layer + 1, len(layers))
        return of_heads(problem.space, np.stack(grid))


def lens_logprobs(
    model: SubjectModel, streams: Float[Tensor, "pair row d_model"], tokens: Int[Tensor, " pair"]
) -> Float[Tensor, "pair row"]:
    """Log-probability of one token per pair in residual streams, as the model's end reads them."""
    step = max(1, LOGITS // (streams.shape[1] * model.shape.vocab))
    rows = []
    with torch.inference_mode():
        for part, chosen in zip(torch.split(streams, step), torch.split(tokens, step), strict=True):
            logits = model.logits(part).double()
            target = chosen.to(logits.device)[:, None, None].expand(-1, logits.shape[1], 1)
            rows.append(logits.gather(-1, target)[..., 0] - logits.logsumexp(-1))
    return torch.cat(rows).clone()
