"""Plain forwards."""

from collections.abc import Sequence

from arithloc.benchmark.api import Progress, PromptPair
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.arguments import check_call, check_choice
from arithloc.benchmark.engine.batching import Batcher, grouped, ids_of
from arithloc.benchmark.engine.donors import Run
from arithloc.benchmark.engine.forward import last_logits
from arithloc.benchmark.engine.readings import Readings, ReadingsBuilder, Reducer
from arithloc.benchmark.models import SubjectModel


def read(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    run: Run = "clean",
    *,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Readings:
    """Readings of one run of each pair, shape (pair,).

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        run: which prompt; answer and foil are those of the pair in both cases.
        batcher: batch size; estimated where None.
        progress: called with (done, total) pairs.

    Raises:
        BadOption: a run or pair that does not fit.
        ModelError: a part of the model is in train mode, here as in every operation.
    """
    check_call(model, pairs)
    check_choice("run", run, Run)
    batcher = batcher or Batcher(model)
    builder = ReadingsBuilder((), pairs)
    done = 0
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members) -> None:
            nonlocal done
            batch = [pairs[i] for i in members[part]]
            clean = last_logits(model, ids_of(batch, "clean", model.device))
            reducer = Reducer(batch, clean)
            own = clean if run == "clean" else last_logits(model, ids_of(batch, run, model.device))
            builder.clean_top(members[part], reducer.clean_top)
            builder.put(reducer(own.unsqueeze(1)), members[part])
            done += len(batch)
            progress(done, len(pairs))

        batcher.run(len(members), length, work)
    return builder.build()
