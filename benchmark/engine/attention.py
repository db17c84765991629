"""Attention of the scored position: its weights, and what the model says without parts of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from arithloc.benchmark.api import Progress, PromptPair
from arithloc.benchmark.api.errors import BadOption
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.arguments import check_call, check_choice
from arithloc.benchmark.engine.batching import Batcher, grouped
from arithloc.benchmark.engine.blocks import ATTENTION_TOKENS, Blocks, Continued
from arithloc.benchmark.engine.donors import Run
from arithloc.benchmark.engine.readings import Readings, ReadingsBuilder, Reducer
from arithloc.benchmark.engine.runs import AttentionCall, BaseRun, PairRuns
from arithloc.benchmark.engine.sites import Site, SiteKind
from arithloc.benchmark.engine.unembed import read_rows
from arithloc.benchmark.models import SubjectModel


def attention_weights(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    run: Run = "clean",
    *,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> tuple[Float[ndarray, "layer head _"], ...]:
    """Attention weights of the scored position over all tokens, one array per pair; the weights of a head sum to 1.

    The model's own attention is run with unit vectors in the place of values, so that what a head puts out are its
    weights, whatever the implementation.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        run: which prompt.
        batcher: batch size; estimated where None.
        progress: called with (done, total) pairs.

    Raises:
        BadOption: a run or pair that does not fit.
        UnsupportedArchitecture: parts of the model cannot be run on their own.
    """
    check_call(model, pairs)
    check_choice("run", run, Run)
    batcher = batcher or Batcher(model)
    sites = [Site(SiteKind.RESIDUAL, layer) for layer in range(model.shape.n_layers)]
    found: dict[int, Float[ndarray, "layer head _"]] = {}
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members, length: int = length) -> None:
            chosen = members[part]
            with torch.inference_mode():
                runs = PairRuns(model, [pairs[i] for i in chosen], length - 1, **{run: sites})
                blocks = _Weighing(model, runs[run], length)
                weights = torch.stack([blocks.weights(site) for site in sites], 1).double().cpu().numpy()
            found.update(zip(chosen, weights, strict=True))
            progress(len(found), len(pairs))

        batcher.run(len(members), length, work)
    return tuple(found[i] for i in range(len(pairs)))


@dataclass(frozen=True)
class Cut:
    """Attention that the scored position does without: weights on these tokens are 0, the others are scaled up to sum 1.

    Attributes:
        sources: tokens of each pair; exemplars may be among them, the scored position not.
        first: first block in which it is cut.
        stop: first block in which it is no longer cut; none where None.
        head: the head of these blocks, all where None.
    """

    sources: tuple[Collection[int], ...]
    first: int = 0
    stop: int | None = None
    head: int | None = None


def attention_cuts(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    cuts: Sequence[Cut],
    run: Run = "clean",
    *,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Readings:
    """Readings with each cut alone, shape (cut, pair).

    Only the scored position is run again, and only from the first cut block on: what other positions attend to stays.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        cuts: what is cut.
        run: the prompt that is run.
        batcher: batch size; estimated where None.
        progress: called with (done, total) pairs.

    Raises:
        BadOption: a run or pair that does not fit, or a cut with another number of pairs, or with a token, block or head
            that is not there.
        UnsupportedArchitecture: parts of the model cannot be run on their own.
    """
    check_call(model, pairs)
    check_choice("run", run, Run)
    for cut in cuts:
        _check(cut, model, pairs)
    batcher = batcher or Batcher(model)
    builder = ReadingsBuilder((len(cuts),), pairs)
    first = min((cut.first for cut in cuts), default=0)
    below = Site(SiteKind.RESIDUAL, first)
    done = 0
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members, length: int = length) -> None:
            nonlocal done
            chosen = members[part]
            batch = [pairs[i] for i in chosen]
            with torch.inference_mode():
                kept: dict[Run, Sequence[Site]] = {run: [below]}
                runs = PairRuns(model, batch, length - 1, **kept)
                base, reducer = runs[run], Reducer(batch, runs.clean.logits)
                builder.clean_top(chosen, reducer.clean_top)

                def pack(rows: slice) -> None:
                    blocks = _Cutting(model, base, length, cuts[rows], chosen)
                    residual = blocks.from_below(below, len(cuts[rows]))
                    read_rows(model, reducer, residual, builder, range(len(cuts))[rows], chosen, pair_logits=False)

                batcher.run(len(cuts), len(chosen), pack, most=ATTENTION_TOKENS)
            done += len(batch)
            progress(done, len(pairs))

        batcher.run(len(members), length, work)
    return builder.build()


def _check(cut: Cut, model: SubjectModel, pairs: Sequence[PromptPair]) -> None:
    layers, heads = model.shape.n_layers, model.shape.n_heads
    stop = layers if cut.stop is None else cut.stop
    if not 0 <= cut.first <= stop <= layers or not 0 <= (cut.head or 0) < heads:
        raise BadOption(
            f"Expected blocks up to {layers} and a head below {heads}, found blocks {cut.first} to {stop} and head "
            f"{cut.head}. Count from 0."
        )
    if len(cut.sources) != len(pairs):
        raise BadOption(
            f"Expected the tokens of {len(pairs)} pairs in a cut, found {len(cut.sources)}. Give a set for each pair."
        )
    for pair, tokens in zip(pairs, cut.sources, strict=True):
        if tokens and not 0 <= min(tokens) <= max(tokens) < pair.n_tokens - 1:
            raise BadOption(
                f"Expected tokens in front of the scored position {pair.n_tokens - 1}, found {sorted(tokens)}. "
                "A position always attends to itself."
            )


class _Weighing(Blocks):
    """Attention whose values are unit vectors, `d_head` tokens at a time."""

    def __init__(self, model: SubjectModel, base: BaseRun, length: int) -> None:
        super().__init__(model, base, length)
        self._offset = 0

    def weights(self, site: Site) -> Float[Tensor, "pair head pos"]:
        """Weights of the last token in the block that reads a residual stream."""
        residual = self.base.values[site].unsqueeze(0)
        parts: list[Tensor] = []

        def keep(z: Tensor) -> Tensor:
            parts.append(z[:, 0])
            return z

        for offset in range(0, self.length, self.model.shape.d_head):
            self._offset = offset
            self.attention(site.layer, residual, keep)
        return torch.cat(parts, -1)[..., : self.length]

    def _cache(self, layer: int) -> Continued:
        return _UnitValues(self.base, layer, self._offset)


class _UnitValues(Continued):
    """Keys of the base run and the packed rows; the value of token `offset` + i is the i-th unit vector."""

    def __init__(self, base: BaseRun, layer: int, offset: int) -> None:
        super().__init__(base, layer)
        self._offset = offset

    def update(self, key: Tensor, value: Tensor, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """The stock cache's method."""
        keys, values = super().update(key, value)
        token = torch.arange(values.shape[2], device=values.device)[:, None] - self._offset
        units = (token == torch.arange(values.shape[3], device=values.device)).to(values)
        return keys, units.expand_as(values).contiguous()


class _Cutting(Blocks):
    """The scored position of one row per cut.

    Args:
        model: the subject model.
        base: the run; `start` is the scored position.
        length: tokens of the prompts.
        cuts: one per row.
        chosen: indices of the pairs of the batch.
    """

    def __init__(
        self, model: SubjectModel, base: BaseRun, length: int, cuts: Sequence[Cut], chosen: Sequence[int]
    ) -> None:
        super().__init__(model, base, length)
        self._cuts = cuts
        self._closed = torch.zeros(len(chosen), len(cuts), length - 1, dtype=torch.bool)
        for row, cut in enumerate(cuts):
            for place, pair in enumerate(chosen):
                self._closed[place, row, list(cut.sources[pair])] = True

    def from_below(self, below: Site, rows: int) -> Float[Tensor, "row pair d_model"]:
        """Last residual stream of each row, from the residual stream into a block on."""
        x = self.base.values[below].unsqueeze(0).expand(rows, -1, -1, -1)
        for layer in range(below.layer, self.model.shape.n_layers):
            attended = self.attention(layer, x)
            if self.model.shape.parallel:
                x = x + attended + self.mlp(layer, x)
            else:
                x = x + attended
                x = x + self.mlp(layer, x)
        return x[:, :, -1]

    def _mask(self, call: AttentionCall, rows: int, dtype: torch.dtype) -> Float[Tensor, "pair head query key"]:
        open_ = super()._mask(call, rows, dtype)
        layer = next(i for i, known in enumerate(self.base.calls) if known is call)
        closed = self._of_layer(layer).to(open_.device)
        closed = torch.nn.functional.pad(closed, (0, open_.shape[-1] - closed.shape[-1]))
        return torch.where(closed, torch.full_like(open_, -torch.inf), open_)

    def _of_layer(self, layer: int) -> Bool[Tensor, "pair head row pos"]:
        """What is closed in one block, with one column of heads where all are alike."""
        stops = [len(self.base.calls) if cut.stop is None else cut.stop for cut in self._cuts]
        here = torch.tensor([cut.first <= layer < stop for cut, stop in zip(self._cuts, stops, strict=True)])
        closed = (self._closed & here[:, None]).unsqueeze(1)
        if all(cut.head is None for cut in self._cuts):
            return closed
        heads = torch.arange(self.model.shape.n_heads)
        of_head = torch.stack([torch.ones_like(heads) if c.head is None else heads == c.head for c in self._cuts], 1)
        return closed & of_head.bool()[:, :, None]


def sources_of(pairs: Sequence[PromptPair], classes: Collection[str]) -> tuple[frozenset[int], ...]:
    """Tokens of some position classes in each pair, the scored position left out."""
    return tuple(frozenset(t for t, cls in enumerate(pair.classes[:-1]) if cls in classes) for pair in pairs)


def attention_to(
    weights: Sequence[Float[ndarray, "layer head _"]], sources: Sequence[Collection[int]]
) -> Float[ndarray, "layer head pair"]:
    """Attention that each head spends on some tokens of each pair, from `attention_weights`."""
    return np.stack([w[:, :, sorted(tokens)].sum(-1) for w, tokens in zip(weights, sources, strict=True)], -1)
