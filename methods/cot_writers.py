"""Writer heads: what the answer loses when only the direct path from a head to the logits is removed.

Reference: the writers of Dutta et al., arXiv:2402.18312, section 6, measured by removal instead of by lens probabilities
of single heads, whose scales differ between blocks; the final norm keeps its scale.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, Granularity, MethodInfo, Problem, Progress, PromptPair, Scores
from arithloc.benchmark.api.edges import n_senders
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine import Capture, FrozenLens, Intervention, Site, SiteKind
from arithloc.benchmark.engine.packed_edges import refuse_mixed_heads
from arithloc.benchmark.models import SubjectModel
from arithloc.methods.cot_decision_lens import LOGITS
from arithloc.methods.head_writes import head_sites, head_writes, of_heads


class CotWriters:
    """Mean fall of log p(answer) when what a head writes to the logits directly takes its ablated value.

    Everything else that reads the head reads it as it is. MLPs score 0; in an edge space the edge from the head to the
    logits has the score and all other edges have 0.
    """

    info = MethodInfo(
        name="cot-writers",
        summary="Fall of the answer's log-probability without the direct path from one head to the logits.",
        granularities={Granularity.NODE, Granularity.EDGE},
        reference="arXiv:2402.18312",
        cost="constant",
    )

    def localize(self, problem: Problem) -> Scores:
        """Scores each head; two forwards per pair, and one pass over the unembedding per head and pair.

        Raises:
            UnsupportedArchitecture: an edge space of a model whose heads do not write on their own (post-norms).
        """
        if problem.space.granularity is Granularity.EDGE:
            refuse_mixed_heads(problem.model)
        falls = writer_effects(
            problem.model, problem.pairs, problem.ablation, seed=problem.seed, progress=problem.progress
        ).mean(-1)
        if problem.space.granularity is Granularity.NODE:
            return of_heads(problem.space, falls)
        senders = np.concatenate([[0.0], np.pad(falls, ((0, 0), (0, 1))).reshape(-1)])
        return Scores.of(problem.space, np.pad(senders, (len(problem.space) - n_senders(problem.space.shape), 0)))


def writer_effects(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    ablation: Ablation,
    *,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Float[ndarray, "layer head pair"]:
    """Fall of log p(answer) in the clean run, in nats, without the direct path of each head.

    Args:
        model: the subject model.
        pairs: prompt pairs.
        ablation: what the path carries instead.
        seed: of `resample`.
        progress: called with (done, total) blocks.
    """
    layers = range(model.shape.n_layers)
    heads, final = [Site(SiteKind.HEAD, layer) for layer in layers], Site(SiteKind.RESIDUAL, model.shape.n_layers)
    clean = engine.capture(model, pairs, [*head_sites(model), final])
    donor = _donor(model, pairs, heads, ablation, seed)
    stream = clean.last(final)
    lens = FrozenLens.of(model, stream)
    answers = torch.tensor([pair.answer_token for pair in pairs], device=lens.weight.device)
    whole = _logits(model, stream).to(lens.weight)
    falls = []
    for layer, site in zip(layers, heads, strict=True):
        change = head_writes(model, clean, layer, clean.last(site) - donor.last(site)).to(lens.weight)
        falls.append(_falls(model, lens, whole, change, answers).double().cpu().numpy())
        progress(layer + 1, len(layers))
    return np.moveaxis(np.stack(falls), 1, -1)


def _donor(
    model: SubjectModel, pairs: Sequence[PromptPair], heads: Sequence[Site], ablation: Ablation, seed: int
) -> Capture:
    """Ablated values of all heads at the scored position."""
    if ablation is Ablation.COUNTERFACTUAL:
        return engine.capture(model, pairs, heads, "counterfactual")
    replaced = [Intervention(site, ablation, "last") for site in heads]
    return engine.capture(model, pairs, heads, interventions=replaced, reference=pairs, seed=seed)


def _falls(
    model: SubjectModel,
    lens: FrozenLens,
    whole: Float[Tensor, "pair vocab"],
    change: Float[Tensor, "pair head d_model"],
    answers: Tensor,
) -> Float[Tensor, "pair head"]:
    """Log-probability of the answer with the whole stream minus that without each change."""
    step = max(1, LOGITS // (change.shape[1] * lens.weight.shape[0]))
    rows = []
    for first in range(0, len(change), step):
        part = slice(first, first + step)
        without = whole[part].unsqueeze(1) - change[part] @ lens.weight.T / lens.scale[part, None, None]
        both = torch.log_softmax(_capped(model, torch.cat([whole[part].unsqueeze(1), without], 1)), -1)
        target = answers[part, None, None].expand(-1, both.shape[1], 1)
        logprobs = both.gather(-1, target)[..., 0]
        rows.append(logprobs[:, :1] - logprobs[:, 1:])
    return torch.cat(rows)


def _logits(model: SubjectModel, stream: Float[Tensor, "pair d_model"]) -> Float[Tensor, "pair vocab"]:
    """Logits without their soft-cap, which comes last."""
    with torch.inference_mode():
        logits: Tensor = model.unembedding(model.final_norm(stream))
    return logits.clone()


def _capped(model: SubjectModel, logits: Tensor) -> Tensor:
    cap = model.logit_softcap
    return logits if cap is None else torch.tanh(logits / cap) * cap
