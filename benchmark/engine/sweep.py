"""The effect of patching each component alone."""

from collections.abc import Sequence
from math import prod

import torch

from arithloc.benchmark.api import ComponentSpace, Progress, PromptPair
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.batching import Batcher, grouped, kept_tokens
from arithloc.benchmark.engine.blocks import ATTENTION_TOKENS, Blocks
from arithloc.benchmark.engine.donors import Donor, Run, RunSource, Source, source_of
from arithloc.benchmark.engine.entries import base_sites
from arithloc.benchmark.engine.packed_sweep import in_order, swept
from arithloc.benchmark.engine.positions import ALL, Positions, first_difference, mask, selected
from arithloc.benchmark.engine.readings import Readings, ReadingsBuilder, Reducer
from arithloc.benchmark.engine.runs import PairRuns
from arithloc.benchmark.engine.sites import Site, check, sites_of, width
from arithloc.benchmark.engine.unembed import read_rows
from arithloc.benchmark.models import SubjectModel


def sweep(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    space: ComponentSpace | Sequence[Site],
    *,
    run: Run = "counterfactual",
    donor: Donor = "clean",
    positions: Positions = ALL,
    reference: Sequence[PromptPair] | None = None,
    seed: int = 0,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Readings:
    """Readings with each component alone replaced by its donor value, shape (comp, pair).

    A component of a space with position classes is replaced at the positions of its class, any other one at
    `positions`. Everything computed after it is recomputed, and nothing else: rows of all components travel together,
    join at their own layer, read the keys and values of earlier tokens from the unpatched run, and start at the first
    replaced token at which the two runs differ.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        space: the components, or any sites (residual, writes, heads, hidden units, coordinates).
        run: the prompt that is run.
        donor: where the replacement comes from.
        positions: `all` (all but the exemplars'), `last`, a position class, or token indices.
        reference: prompts of the mean ablation, and of `resample`.
        seed: of `resample`.
        batcher: batch size; estimated where None.
        progress: called with (done, total) component-pair combinations.

    Raises:
        BadOption: a site, position or donor that does not fit.
        UnsupportedGranularity: an edge space.
        UnsupportedArchitecture: parts of the model cannot be run on their own.
    """
    sites = sites_of(space) if isinstance(space, ComponentSpace) else tuple(space)
    classes: tuple[Positions, ...] = (space.classes if isinstance(space, ComponentSpace) else ()) or (positions,)
    for site in sites:
        check(site, model.shape)
    batcher = batcher or Batcher(model)
    whole = list(dict.fromkeys(site.whole for site in sites))
    source = source_of(model, donor, whole, pairs=pairs, reference=reference, seed=seed, batcher=batcher)
    work = _Sweep(model, pairs, sites, run, source, len(classes), batcher, progress)
    with torch.inference_mode():
        for column, cls in enumerate(classes):
            starts = [(pair.n_tokens, _start(pair, cls, run, source)) for pair in pairs]
            for (length, start), members in grouped(starts).items():
                if start == length:
                    work.unchanged(members, column)
                else:
                    work.changed(members, column, cls, start)
    return work.builder.build()


def _start(pair: PromptPair, positions: Positions, run: Run, source: Source) -> int:
    """First token that is replaced by another value, or the prompt's length if there is none."""
    first = 0
    if isinstance(source, RunSource):
        first = pair.n_tokens if source.run == run else first_difference(pair)
    return next((t for t in selected(pair, positions) if t >= first), pair.n_tokens)


class _Sweep:
    """One call of `sweep`."""

    def __init__(
        self,
        model: SubjectModel,
        pairs: Sequence[PromptPair],
        sites: tuple[Site, ...],
        run: Run,
        source: Source,
        n_classes: int,
        batcher: Batcher,
        progress: Progress,
    ) -> None:
        self.model, self.pairs, self.sites, self.run, self.source = model, pairs, sites, run, source
        self.n_classes, self.batcher, self.progress = n_classes, batcher, progress
        self.builder = ReadingsBuilder((len(sites) * n_classes,), pairs)
        self.order = in_order(model, sites)
        self.base_sites = base_sites(sites)
        self.whole = list(dict.fromkeys(site.whole for site in sites))
        self.done = 0

    def row(self, site: int, column: int) -> int:
        """Row of a site's component at a position class."""
        return site * self.n_classes + column

    def unchanged(self, members: Sequence[int], column: int) -> None:
        """Pairs in which nothing is replaced: every row is the run itself."""

        def work(part: slice) -> None:
            chosen = members[part]
            batch = [self.pairs[i] for i in chosen]
            runs = PairRuns(self.model, batch, batch[0].n_tokens - 1)
            reducer = Reducer(batch, runs.clean.logits)
            values = reducer(runs[self.run].logits.unsqueeze(1))
            for site in range(len(self.sites)):
                self.builder.put(values, chosen, [self.row(site, column)])
            self._finish(reducer, chosen, len(self.sites))

        self.batcher.run(len(members), self.pairs[members[0]].n_tokens, work)

    def changed(self, members: Sequence[int], column: int, positions: Positions, start: int) -> None:
        """Pairs of equal length whose first replaced token is `start`."""
        length = self.pairs[members[0]].n_tokens
        kept = kept_tokens(self.model, [prod(width(s, self.model.shape)) for s in (*self.base_sites, *self.whole)])

        def work(part: slice) -> None:
            chosen = members[part]
            batch = [self.pairs[i] for i in chosen]
            own = {self.run: self.base_sites}
            if isinstance(self.source, RunSource):
                own[self.source.run] = self.whole
            runs = PairRuns(self.model, batch, start, **own)
            reducer = Reducer(batch, runs.clean.logits)
            blocks = Blocks(self.model, runs[self.run], length)
            donor = (
                runs[self.source.run].values
                if isinstance(self.source, RunSource)
                else self.source(batch, self.whole, start)
            )
            touched = mask(batch, positions, self.model.device)[:, start:]

            def rows(part: slice) -> None:
                order = self.order[part]
                residual = swept(blocks, donor, [self.sites[i] for i in order], touched)
                at = [self.row(site, column) for site in order]
                read_rows(self.model, reducer, residual, self.builder, at, chosen)
                self._finish(reducer, chosen, len(order))

            n = length - start
            most = max(1, ATTENTION_TOKENS // n)
            self.batcher.run(len(self.order), len(batch) * n, rows, most=most)

        self.batcher.run(len(members), length + kept * (length - start), work)

    def _finish(self, reducer: Reducer, chosen: Sequence[int], rows: int) -> None:
        self.builder.clean_top(chosen, reducer.clean_top)
        self.done += rows * len(chosen)
        self.progress(self.done, len(self.sites) * self.n_classes * len(self.pairs))
