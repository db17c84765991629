"""Direct effects: path patching from a component to the logits."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from arithloc.benchmark.api import ComponentSpace, Granularity, Progress, PromptPair, UnsupportedGranularity
from arithloc.benchmark.api.method import no_progress
from arithloc.benchmark.engine.batching import Batcher, grouped, ids_of
from arithloc.benchmark.engine.donors import Donor, Run, source_of
from arithloc.benchmark.engine.forward import Edit, last_logits, observe
from arithloc.benchmark.engine.readings import Readings, ReadingsBuilder, Reducer
from arithloc.benchmark.engine.sites import Site, SiteKind, sites_of
from arithloc.benchmark.models import SubjectModel

Frozen = Literal["heads", "all"]
"""`heads`: other heads keep their output, MLPs recompute. `all`: other heads and MLPs keep their output."""


def direct_effect(
    model: SubjectModel,
    pairs: Sequence[PromptPair],
    space: ComponentSpace,
    *,
    frozen: Frozen = "heads",
    run: Run = "clean",
    donor: Donor = "counterfactual",
    reference: Sequence[PromptPair] | None = None,
    seed: int = 0,
    batcher: Batcher | None = None,
    progress: Progress = no_progress,
) -> Readings:
    """Readings with each component's donor value sent to the logits along direct paths alone, shape (comp, pair).

    With attention frozen nothing moves between positions, so a component reaches the logits only from the scored
    position: that is where it is replaced. In a space with position classes a component of a class without the
    scored position has no direct path and its row is the unpatched run.

    Args:
        model: the subject model.
        pairs: prompt pairs of any lengths.
        space: node components, or attention and MLP blocks.
        frozen: `heads` lets the MLPs above the sender see the change (Wang et al. 2022), `all` freezes them too
            (Goldowsky-Dill et al. 2023).
        run: the prompt that is run.
        donor: where the sender's value comes from.
        reference: prompts of the mean ablation, and of `resample`.
        seed: of `resample`.
        batcher: batch size; estimated where None.
        progress: called with (done, total) sender-pair combinations.

    Raises:
        UnsupportedGranularity: a neuron or edge space.
    """
    if space.granularity not in (Granularity.NODE, Granularity.LAYER):
        raise UnsupportedGranularity(
            f"Expected heads and MLPs, or blocks, as senders, found a {space.granularity} space. Use node or layer."
        )
    senders = sites_of(space)
    classes = space.classes or ("last",)
    batcher = batcher or Batcher(model)
    layers = range(model.shape.n_layers)
    writes = [Site(kind, layer) for layer in layers for kind in (SiteKind.HEAD, SiteKind.MLP)]
    source = source_of(model, donor, writes, pairs=pairs, reference=reference, seed=seed, batcher=batcher)
    builder = ReadingsBuilder((len(senders) * len(classes),), pairs)
    done = 0
    for length, members in grouped([pair.n_tokens for pair in pairs]).items():

        def work(part: slice, members: list[int] = members) -> None:
            nonlocal done
            chosen = members[part]
            batch = [pairs[i] for i in chosen]
            ids = ids_of(batch, run, model.device)
            held, logits = observe(model, ids, writes)
            reducer = Reducer(batch, last_logits(model, ids_of(batch, "clean", model.device)))
            builder.clean_top(chosen, reducer.clean_top)
            values = source(batch, writes, 0)
            for row, sender in enumerate(senders):
                sent = last_logits(model, ids, _edits(sender, held, values, frozen))
                for column, cls in enumerate(classes):
                    reached = [cls in ("last", pair.classes[-1]) for pair in batch]
                    own = torch.where(torch.tensor(reached, device=model.device).unsqueeze(-1), sent, logits)
                    builder.put(reducer(own.unsqueeze(1)), chosen, [row * len(classes) + column])
                done += len(batch)
                progress(done, len(senders) * len(pairs))

        batcher.run(len(members), length, work)
    return builder.build()


def _edits(sender: Site, held: dict[Site, Tensor], values: dict[Site, Tensor], frozen: Frozen) -> list[Edit]:
    edits: list[Edit] = []
    whole = Site(SiteKind.HEAD, sender.layer) if sender.kind is SiteKind.ATTENTION else sender.whole
    for site, value in held.items():
        if site == whole:
            value = value.clone()
            if sender.index is None:
                value[:, -1] = values[site][:, -1]
            else:
                value[:, -1, sender.index] = values[site][:, -1, sender.index]
        elif site.kind is SiteKind.MLP and frozen == "heads":
            continue
        edits.append((site, lambda _, v=value: v))
    if sender.kind is SiteKind.MLP and frozen == "heads":
        edits.append((whole, lambda x, v=values[whole]: torch.cat([x[:, :-1], v[:, -1:]], 1)))
    return edits
