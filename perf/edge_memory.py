"""Peak memory of ten edge circuits at several depths.

    python perf/edge_memory.py [--random-llama 8b] [--device cuda] [--dtype bfloat16]

The model cut after one, two and four quarters of its blocks, so that only the depth differs; four pairs. The ten
circuits keep a random tenth of the edges each and all travel in one batch. For comparison: what the writes of one
block's senders, and of all senders, take as one vector per sender, token and circuit.
"""

from functools import partial

import torch
from compared.measure import MIB, measured, table
from compared.prompts import shared
from compared.setup import Setup, main

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, PromptPair
from arithloc.benchmark.models import SubjectModel

PAIRS = 4
CIRCUITS = 10
EVERYTHING = 2**40
"""Tokens of a batch that takes all circuits and pairs together."""


def peak(model: SubjectModel, pairs: list[PromptPair]) -> tuple[float, ...]:
    """Edges (thousands), peak memory (MiB), seconds, and the two amounts to compare with (MiB)."""
    space = ComponentSpace(Granularity.EDGE, model.shape)
    kept = (torch.rand(CIRCUITS, len(space), generator=torch.Generator().manual_seed(1)) < 0.1).numpy()
    batcher = engine.Batcher(model, EVERYTHING)
    run = partial(engine.circuit_forward, model, pairs, space, kept, Ablation.COUNTERFACTUAL, batcher=batcher)
    run()  # what a first call leaves in caches is not the circuits'
    cost = measured(run)[1]
    tokens = len(pairs) * (pairs[0].n_tokens - shared(pairs))
    vector = CIRCUITS * tokens * model.shape.d_model * model.dtype.itemsize / MIB
    block = model.shape.n_heads + 1
    senders = 1 + model.shape.n_layers * block
    return len(space) / 1e3, cost.peak / MIB, cost.seconds, vector * block, vector * senders


def report(setup: Setup) -> str:
    pairs, layers = setup.prompts("aside")[:PAIRS], setup.model.shape.n_layers
    depths = [layers // 4 * quarters for quarters in (1, 2, 4)]
    del setup.model  # the depths need the memory
    rows = [[str(depth), *(f"{figure:.1f}" for figure in peak(setup.cut(depth), pairs))] for depth in depths]
    head = ["blocks", "thousand edges", "peak MiB", "s", "one block's senders, MiB", "all senders, MiB"]
    return f"{len(pairs)} pairs, {CIRCUITS} circuits.\n\n" + table(head, rows)


if __name__ == "__main__":
    main(__doc__, report)
