"""Activations of a run, at chosen sites and positions only."""

from collections.abc import Sequence

from torch import Tensor

from arithloc.benchmark.api import Progress, PromptPair
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.activations import Capture
from arithloc.benchmark.engine.arguments import check_call, check_choice
from arithloc.benchmark.engine.batching import Batcher, grouped, ids_of
from arithloc.benchmark.engine.donors import Run
from arithloc.benchmark.engine.forward import Edit, last_logits
from arithloc.benchmark.engine.interventions import Intervention, prepared
from arithloc.benchmark.engine.positions import LAST, Positions, selected
from arithloc.benchmark.engine.sites import Site, check
from arithloc.benchmark.models import SubjectModel


def capture(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    sites: Sequence[Site],
    run: Run = "clean",
    positions: Positions = LAST,
    *,
    interventions: Sequence[Intervention] = (),
    reference: Sequence[PromptPair] | None = None,
    seed: int = 0,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Capture:
    """Activations at `sites` in one run of each pair.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        sites: where; heads and units are addressed by their index, or all together without one.
        run: which prompt.
        positions: `last`, `all` (all but the exemplars'), a position class, or token indices.
        interventions: what to replace during the run; a site read and replaced is read after the replacement.
        reference: prompts of the mean ablation, and of `resample`.
        seed: of `resample`.
        batcher: batch size; estimated where None.
        progress: called with (done, total) pairs.

    Raises:
        BadOption: a run, pair, site, position, donor or tensor shape that does not fit.
    """
    check_call(model, pairs, reference)
    check_choice("run", run, Run)
    for site in sites:
        check(site, model.shape)
    batcher = batcher or Batcher(model)
    edits = prepared(model, pairs, interventions, reference=reference, seed=seed, batcher=batcher)
    chosen = tuple(selected(pair, positions) for pair in pairs)
    found: dict[Site, dict[int, Tensor]] = {site: {} for site in sites}
    done = 0
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members) -> None:
            nonlocal done

            def keep(site: Site) -> Edit:
                def store(value: Tensor) -> None:
                    kept = value if site.index is None else value[:, :, site.index]
                    for row, i in enumerate(members[part]):
                        found[site][i] = kept[row, list(chosen[i])].to(model.device)

                return site.whole, store

            ids = ids_of([pairs[i] for i in members[part]], run, model.device)
            last_logits(model, ids, [*edits(members[part]), *map(keep, found)])
            for values in found.values():  # a copy made outside inference mode can be changed and be part of a graph
                values.update({i: values[i].clone() for i in members[part]})
            done += len(members[part])
            progress(done, len(pairs))

        batcher.run(len(members), length, work)
    return Capture(chosen, {site: tuple(values[i] for i in range(len(pairs))) for site, values in found.items()})
