"""Peak memory of ten edge circuits at several depths.

    python perf/edge_memory.py [--pairs 4] [--depths 7 14 28]

The packaged model cut after its first blocks, so that only the depth differs. The ten circuits keep a random
tenth of the edges each and all travel in one batch. For comparison: what the writes of one
block's senders, and of all senders, take as one vector per sender, token and circuit.
"""

import argparse
from collections.abc import Sequence
from functools import partial

import torch
from compared.measure import MIB, measured, table
from compared.prompts import prompts, shared
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, ComponentSpace, Granularity, PromptPair
from arithloc.benchmark.models import SubjectModel, default_cache, load, wrap

CIRCUITS = 10
EVERYTHING = 2**40
"""Tokens of a batch that takes all circuits and pairs together."""


def of_depth(model: SubjectModel, layers: int) -> SubjectModel:
    """The model cut after its first `layers` blocks."""
    folder = default_cache() / "models" / model.name
    module = AutoModelForCausalLM.from_pretrained(folder, num_hidden_layers=layers, dtype=torch.float32).eval()
    return wrap(f"{model.name}-{layers}", module, model.tokenizer, model.identity)


def peak(model: SubjectModel, pairs: list[PromptPair]) -> tuple[float, ...]:
    """Edges (thousands), peak memory (MiB), seconds, and the two amounts to compare with (MiB)."""
    space = ComponentSpace(Granularity.EDGE, model.shape)
    kept = (torch.rand(CIRCUITS, len(space), generator=torch.Generator().manual_seed(1)) < 0.1).numpy()
    batcher = engine.Batcher(model, EVERYTHING)
    run = partial(engine.circuit_forward, model, pairs, space, kept, Ablation.COUNTERFACTUAL, batcher=batcher)
    run()  # what a first call leaves in caches is not the circuits'
    cost = measured(run)[1]
    tokens = len(pairs) * (pairs[0].n_tokens - shared(pairs))
    vector = CIRCUITS * tokens * model.shape.d_model * 4 / MIB
    block = model.shape.n_heads + 1
    senders = 1 + model.shape.n_layers * block
    return len(space) / 1e3, cost.peak / MIB, cost.seconds, vector * block, vector * senders


def report(model_name: str = "smollm2", depths: Sequence[int] = (7, 14, 28), n_pairs: int = 4) -> str:
    base = load(model_name)
    pairs = prompts("aside", base.tokenizer, n_pairs)
    rows = [[str(layers), *(f"{figure:.1f}" for figure in peak(of_depth(base, layers), pairs))] for layers in depths]
    head = ["blocks", "thousand edges", "peak MiB", "s", "one block's senders, MiB", "all senders, MiB"]
    return f"{len(pairs)} pairs, {CIRCUITS} circuits.\n\n" + table(head, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--depths", type=int, nargs="*", default=[7, 14, 28])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    print(report(depths=options.depths, n_pairs=options.pairs))
