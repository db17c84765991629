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
        self._total, self._done = n_rows * len(pairs), 0
        self._kept = kept_tokens(model, [prod(width(site, model.shape)) for site in (*base_sites, *donor_sites)])

    def fill(
        self,
        rows: Sequence[int],
        starts: Sequence[int],
        compute: Callable[[Batch, slice], Float[Tensor, "row pair d_model"]],
        *,
        weight: int = 1,
    ) -> None:
        """Fills some rows for all pairs.

        Args:
            rows: rows of the readings, in the order in which `compute` takes them.
            starts: for each pair the first token that may change; its length where nothing does.
            compute: last residual stream at the last token for a slice of the rows.
            weight: memory of a token in `compute`, in tokens of an ordinary forward.
        """
        keys = [(pair.n_tokens, start) for pair, start in zip(self.pairs, starts, strict=True)]
        with torch.inference_mode():
            for (length, start), members in grouped(keys).items():
                if start == length:
                    self._unchanged(rows, members)
                else:
                    self._changed(rows, members, start, compute, weight)

    def build(self) -> Readings:
        """The finished readings."""
        return self._builder.build()

    def _unchanged(self, rows: Sequence[int], members: Sequence[int]) -> None:
        """Pairs in which nothing is replaced: every row is the base run."""

        def work(part: slice) -> None:
            chosen = members[part]
            batch = [self.pairs[i] for i in chosen]
            runs = PairRuns(self.model, batch, batch[0].n_tokens - 1)
            reducer = Reducer(batch, runs.clean.logits)
            values = reducer(runs[self.run].logits.unsqueeze(1))
            if self.pair_logits:
                values = {name: values[name] for name in ("answer", "foil")}
            for row in rows:
                self._builder.put(values, chosen, [row])
            self._finish(reducer, chosen, len(rows))

        self.batcher.run(len(members), self.pairs[members[0]].n_tokens, work)

    def _changed(
        self,
        rows: Sequence[int],
        members: Sequence[int],
        start: int,
        compute: Callable[[Batch, slice], Float[Tensor, "row pair d_model"]],
        weight: int,
    ) -> None:
        length = self.pairs[members[0]].n_tokens
        n = length - start

        def work(part: slice) -> None:
            chosen = members[part]
            batch, reducer = self._batch(chosen, start)

            def pack(part: slice) -> None:
                residual = compute(batch, part)
                read_rows(
                    self.model, reducer, residual, self._builder, rows[part], chosen, pair_logits=self.pair_logits
                )
                self._finish(reducer, chosen, len(residual))

            self.batcher.run(len(rows), len(chosen) * n * weight, pack, most=max(1, ATTENTION_TOKENS // n))

        self.batcher.run(len(members), length + self._kept * n, work)

    def _batch(self, chosen: Sequence[int], start: int) -> tuple[Batch, Reducer]:
        pairs = [self.pairs[i] for i in chosen]
        source = self.source.of(chosen) if isinstance(self.source, GivenSource) else self.source
        kept: dict[Run, Sequence[Site]] = {self.run: self.base_sites}
        if isinstance(source, RunSource):
            kept[source.run] = list(dict.fromkeys([*kept.get(source.run, ()), *self.donor_sites]))
        runs = PairRuns(self.model, pairs, start, **kept)
        if isinstance(source, RunSource):
            donor = runs[source.run].values
        else:
            donor = source(pairs, self.donor_sites, start)
        blocks = Blocks(self.model, runs[self.run], pairs[0].n_tokens)
        return Batch(pairs, start, blocks, donor), Reducer(pairs, runs.clean.logits)

    def _finish(self, reducer: Reducer, chosen: Sequence[int], rows: int) -> None:
        self._builder.clean_top(chosen, reducer.clean_top)
        self._done += rows * len(chosen)
        self.progress(self._done, self._total)
