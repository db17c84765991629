"""What packed operations have in common: batches of pairs with their base runs, and batches of rows within them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from arithloc.benchmark.api import Progress, PromptPair
from arithloc.benchmark.engine.batching import Batcher, grouped, kept_tokens
from arithloc.benchmark.engine.blocks import ATTENTION_TOKENS, Blocks
from arithloc.benchmark.engine.donors import Run, RunSource, Source
from arithloc.benchmark.engine.entries import Values
from arithloc.benchmark.engine.given_values import GivenSource
from arithloc.benchmark.engine.positions import first_difference
from arithloc.benchmark.engine.readings import Readings, ReadingsBuilder, Reducer
from arithloc.benchmark.engine.runs import PairRuns
from arithloc.benchmark.engine.sites import Site, width
from arithloc.benchmark.engine.unembed import read_rows
from arithloc.benchmark.models import SubjectModel


@dataclass(frozen=True, eq=False)
class Batch:
    """Pairs of equal length and start that are run together.

    Attributes:
        pairs: the pairs.
        start: first token at which a row may differ from the base run.
        blocks: the base run and its continuation.
        donor: replacement values from `start` on.
    """

    pairs: list[PromptPair]
    start: int
    blocks: Blocks
    donor: Values


def first_change(pair: PromptPair, touched: Sequence[int], run: Run, source: Source | GivenSource) -> int:
    """First of the `touched` tokens, ascending, at which base run and donor can differ; the length if there is none."""
    first = 0
    if isinstance(source, RunSource):
        first = pair.n_tokens if source.run == run else first_difference(pair)
    return next((t for t in touched if t >= first), pair.n_tokens)


@dataclass(frozen=True, eq=False)
class _Fill:
    """Rows that start at the same tokens."""

    rows: Sequence[int]
    starts: Sequence[int]
    compute: Callable[[Batch, slice], Float[Tensor, "row pair d_model"]]
    weight: int


class PackedReadings:
    """Fills readings batch by batch.

    Args:
        model: the subject model.
        pairs: all pairs of the operation.
        n_rows: rows of the readings.
        run: the base run.
        source: the donor.
        base_sites: whole sites that rows need of the base run.
        donor_sites: whole sites that rows need of the donor.
        batcher: batch size.
        progress: called with (done, total) row-pair combinations.
        pair_logits: read the two scored logits alone.
    """

    def __init__(
        self,
        model: SubjectModel,
        pairs: Sequence[PromptPair],
        n_rows: int,
        *,
        run: Run,
        source: Source | GivenSource,
        base_sites: Sequence[Site],
        donor_sites: Sequence[Site],
        batcher: Batcher,
        progress: Progress,
        pair_logits: bool = False,
    ) -> None:
        self.model, self.pairs, self.run, self.source = model, pairs, run, source
        self.base_sites, self.donor_sites = base_sites, donor_sites
        self.batcher, self.progress, self.pair_logits = batcher, progress, pair_logits
        self._builder = ReadingsBuilder((n_rows,), pairs)
        self._fills: list[_Fill] = []
        self._total, self._done, self._shown = n_rows * len(pairs), 0, 0
        self._kept = kept_tokens(model, [prod(width(site, model.shape)) for site in (*base_sites, *donor_sites)])

    def fill(
        self,
        rows: Sequence[int],
        starts: Sequence[int],
        compute: Callable[[Batch, slice], Float[Tensor, "row pair d_model"]],
        *,
        weight: int = 1,
    ) -> None:
        """Says how some rows are filled for all pairs; `build` does it.

        Args:
            rows: rows of the readings, in the order in which `compute` takes them.
            starts: for each pair the first token that may change; its length where nothing does.
            compute: last residual stream at the last token for a slice of the rows.
            weight: memory of a token in `compute`, in tokens of an ordinary forward.
        """
        if len(rows):
            self._fills.append(_Fill(rows, starts, compute, weight))

    def build(self) -> Readings:
        """The finished readings; pairs whose rows start at the same tokens share their base runs between all fills."""
        keys = [(pair.n_tokens, *(fill.starts[i] for fill in self._fills)) for i, pair in enumerate(self.pairs)]
        with torch.inference_mode():
            for (length, *starts), members in grouped(keys).items():
                if starts:
                    self._run(members, length, starts)
        return self._builder.build()

    def _run(self, members: Sequence[int], length: int, starts: Sequence[int]) -> None:
        begin, before = min(starts), self._done
        rows = sum(len(fill.rows) for fill in self._fills)

        def work(part: slice) -> None:
            chosen = members[part]
            self._done = before + part.start * rows  # a batch that ran out of memory comes again
            pairs = [self.pairs[i] for i in chosen]
            source = self.source.of(chosen) if isinstance(self.source, GivenSource) else self.source
            runs = self._base_runs(pairs, begin, source if begin < length else None)
            reducer = Reducer(pairs, runs.clean.logits)
            donor = self._donor(pairs, begin, source, runs) if begin < length else {}
            for fill, start in zip(self._fills, starts, strict=True):
                if start == length:
                    self._unchanged(fill.rows, chosen, runs[self.run].logits, reducer)
                else:
                    blocks = Blocks(self.model, runs[self.run].later(start), length)
                    values = {site: value[:, start - begin :].contiguous() for site, value in donor.items()}
                    self._changed(fill, chosen, Batch(pairs, start, blocks, values), reducer)

        self.batcher.run(len(members), length + self._kept * (length - begin), work)

    def _base_runs(self, pairs: list[PromptPair], begin: int, source: Source | None) -> PairRuns:
        """The runs of a batch, with the activations that changed rows need; none of these without a source."""
        if source is None:
            return PairRuns(self.model, pairs, pairs[0].n_tokens - 1)
        kept: dict[Run, Sequence[Site]] = {self.run: self.base_sites}
        if isinstance(source, RunSource):
            kept[source.run] = list(dict.fromkeys([*kept.get(source.run, ()), *self.donor_sites]))
        return PairRuns(self.model, pairs, begin, **kept)

    def _donor(self, pairs: list[PromptPair], begin: int, source: Source, runs: PairRuns) -> Values:
        if isinstance(source, RunSource):
            return runs[source.run].values
        return source(pairs, self.donor_sites, begin)

    def _unchanged(self, rows: Sequence[int], chosen: Sequence[int], logits: Tensor, reducer: Reducer) -> None:
        """Pairs in which nothing is replaced: every row is the base run."""
        values = reducer(logits.unsqueeze(1))
        if self.pair_logits:
            values = {name: values[name] for name in ("answer", "foil")}
        for row in rows:
            self._builder.put(values, chosen, [row])
        self._finish(reducer, chosen, len(rows))

    def _changed(self, fill: _Fill, chosen: Sequence[int], batch: Batch, reducer: Reducer) -> None:
        n = batch.pairs[0].n_tokens - batch.start

        def pack(part: slice) -> None:
            residual = fill.compute(batch, part)
            read_rows(
                self.model, reducer, residual, self._builder, fill.rows[part], chosen, pair_logits=self.pair_logits
            )
            self._finish(reducer, chosen, len(residual))

        most = max(1, ATTENTION_TOKENS // n)
        self.batcher.run(len(fill.rows), len(chosen) * n * fill.weight, pack, most=most)

    def _finish(self, reducer: Reducer, chosen: Sequence[int], rows: int) -> None:
        self._builder.clean_top(chosen, reducer.clean_top)
        self._done += rows * len(chosen)
        self._shown = max(self._shown, self._done)
        self.progress(self._shown, self._total)
