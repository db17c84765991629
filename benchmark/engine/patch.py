"""General interventions: any sites and positions, one forward."""

from collections.abc import Sequence

from arithloc.benchmark.api import Progress, PromptPair
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.arguments import check_call, check_choice
from arithloc.benchmark.engine.batching import Batcher, grouped, ids_of
from arithloc.benchmark.engine.donors import Run
from arithloc.benchmark.engine.forward import last_logits
from arithloc.benchmark.engine.interventions import Intervention, prepared
from arithloc.benchmark.engine.readings import Readings, ReadingsBuilder, Reducer
from arithloc.benchmark.models import SubjectModel


def patch(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    interventions: Sequence[Intervention],
    run: Run = "clean",
    *,
    reference: Sequence[PromptPair] | None = None,
    seed: int = 0,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Readings:
    """Readings of one forward per pair with all interventions at once, shape (pair,).

    Interventions at the same site apply in the order given.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        interventions: what to replace.
        run: the prompt that is run.
        reference: prompts of the mean ablation, and of `resample`.
        seed: of `resample`.
        batcher: batch size; estimated where None.
        progress: called with (done, total) pairs.

    Raises:
        BadOption: a run, pair, site, position, donor or tensor shape that does not fit.
    """
    check_call(model, pairs, reference)
    check_choice("run", run, Run)
    batcher = batcher or Batcher(model)
    edits = prepared(model, pairs, interventions, reference=reference, seed=seed, batcher=batcher)
    builder = ReadingsBuilder((), pairs)
    done = 0
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members) -> None:
            nonlocal done
            chosen = members[part]
            batch = [pairs[i] for i in chosen]
            reducer = Reducer(batch, last_logits(model, ids_of(batch, "clean", model.device)))
            logits = last_logits(model, ids_of(batch, run, model.device), edits(chosen))
            builder.clean_top(chosen, reducer.clean_top)
            builder.put(reducer(logits.unsqueeze(1)), chosen)
            done += len(batch)
            progress(done, len(pairs))

        batcher.run(len(members), length, work)
    return builder.build()
