"""MLPs at the last position: how near what they read and write is to the operands and to the answer.

Cosines are taken with the raw rows of the unembedding; what an MLP reads is the residual stream before its norm.

Reference: Zhang et al., arXiv:2409.01659, section 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from arithloc.benchmark import engine
from arithloc.benchmark.api import Progress, PromptPair
from arithloc.benchmark.api.report import Curves, Series
from arithloc.benchmark.engine import Site, SiteKind
from arithloc.benchmark.metrics.measured import Spread, draws_of, means_of
from arithloc.benchmark.models import SubjectModel
from arithloc.methods.analyses.path_patching.attention import OPERANDS


@dataclass(frozen=True, eq=False)
class Geometry:
    """Cosines by layer and pair, and where the answer stands when the model is read off early.

    Attributes:
        pairs: pairs whose operands are one token each.
        read_operands, read_answer: cosine of what the MLP reads with the operands (mean of both) and with the answer.
        write_operands, write_answer: the same of what it writes.
        leads: whether the answer leads among the candidates in the residual stream after each block, (layer, pair).
    """

    pairs: tuple[PromptPair, ...]
    read_operands: Float[ndarray, "layer pair"]
    read_answer: Float[ndarray, "layer pair"]
    write_operands: Float[ndarray, "layer pair"]
    write_answer: Float[ndarray, "layer pair"]
    leads: Float[ndarray, "layer pair"]

    def mean_of(self, values: Float[ndarray, "layer pair"]) -> Spread:
        """Mean over pairs, by layer."""
        draws = draws_of(self.pairs)
        return Spread(values.mean(-1), draws.means(values), draws.n_clusters)

    def pictures(self) -> tuple[Curves, ...]:
        """Cosines and early answers by layer."""
        draws = draws_of(self.pairs)

        def line(label: str, values: Float[ndarray, "layer pair"]) -> Series:
            return Series.of(label, [float(layer) for layer in range(len(values))], means_of(values, draws))

        cosines = (
            line("MLP input with operands", self.read_operands),
            line("MLP input with the answer", self.read_answer),
            line("MLP write with operands", self.write_operands),
            line("MLP write with the answer", self.write_answer),
        )
        return (
            Curves("mlp_geometry", "What MLPs read and write at the last position", "Layer", "cosine", cosines),
            Curves(
                "lens",
                "The answer read off after each block",
                "Layer",
                "share of pairs",
                (line("the answer leads among the candidates", self.leads),),
            ),
        )


def geometry(model: SubjectModel, pairs: Sequence[PromptPair], progress: Progress) -> Geometry | None:
    """Captures the last position of every block; None where no pair has both operands in one token each."""
    usable = [pair for pair in pairs if all(pair.classes.count(name) == 1 for name in OPERANDS)]
    if not usable:
        return None
    layers = range(model.shape.n_layers)
    sites = [Site(SiteKind.RESIDUAL, layer) for layer in range(model.shape.n_layers + 1)]
    sites += [Site(kind, layer) for layer in layers for kind in (SiteKind.ATTENTION, SiteKind.MLP)]
    found = engine.capture(model, usable, sites, positions="last", progress=progress)
    operands = [_rows(model, [p.clean_ids[p.classes.index(name)] for p in usable]) for name in OPERANDS]
    answer = _rows(model, [pair.answer_token for pair in usable])
    columns: dict[str, list[ndarray]] = {name: [] for name in ("read_operands", "read_answer", "write_operands", "write_answer", "leads")}  # fmt: skip
    candidates = [list(pair.candidates) for pair in usable]
    for layer in layers:
        below, write = found.last(Site(SiteKind.RESIDUAL, layer)), found.last(Site(SiteKind.MLP, layer))
        read = below if model.shape.parallel else below + found.last(Site(SiteKind.ATTENTION, layer))
        for name, vector in (("read", read), ("write", write)):
            columns[f"{name}_operands"].append(np.mean([_cosine(vector, one) for one in operands], axis=0))
            columns[f"{name}_answer"].append(_cosine(vector, answer))
        with torch.inference_mode():
            logits = model.logits(found.last(Site(SiteKind.RESIDUAL, layer + 1))).float().cpu()
        best = [own[int(row[own].argmax())] for row, own in zip(logits, candidates, strict=True)]
        columns["leads"].append(
            np.array([float(token == p.answer_token) for token, p in zip(best, usable, strict=True)])
        )
    return Geometry(tuple(usable), **{name: np.array(values) for name, values in columns.items()})


def _rows(model: SubjectModel, tokens: Sequence[int]) -> Float[Tensor, "pair d_model"]:
    weight: Tensor = model.unembedding.get_parameter("weight")
    return weight[list(tokens)].detach().double().cpu()


def _cosine(a: Float[Tensor, "pair d_model"], b: Float[Tensor, "pair d_model"]) -> Float[ndarray, " pair"]:
    return np.asarray(torch.nn.functional.cosine_similarity(a.detach().double().cpu(), b, dim=-1))
