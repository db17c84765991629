"""Faithfulness curve of a node circuit at MIB's ten budgets, against one forward per circuit.

    python perf/curve.py [--pairs 32] [--threads 2] [--repeats 2] [--prompts question aside]

Heads and MLPs are ranked by their direct effect on the logits; the ten circuits are pruned as in `bench evaluate`. The
other libraries run the clean prompt once per circuit, with everything outside it taken from one counterfactual run;
circuits without any component are that run and cost them nothing.
"""

from functools import partial

import numpy as np
from compared.measure import Call, measured, rounds, table
from compared.questions import curve
from compared.setup import HEADER, Setup, label, main, rows_of

from arithloc.benchmark import engine
from arithloc.benchmark.api import Ablation, Granularity, PromptPair
from arithloc.benchmark.metrics.prefixes import BUDGETS, budget_circuits, ranking_order

NAMES = ["question", "aside"]


def report(setup: Setup) -> str:
    rows, notes = [], []
    for name in setup.names or NAMES:
        pairs = setup.prompts(name)
        kept = circuits(setup, pairs)
        rows += rows_of(setup, label(name, pairs), compare(setup, pairs, kept))
        notes.append([name, *map(str, kept.sum(1))])
    return table(HEADER, rows) + "\n\nComponents kept:\n\n" + table(["budget", *map(str, BUDGETS)], notes)


def circuits(setup: Setup, pairs: list[PromptPair]) -> np.ndarray:
    """The ten circuits, (budget, component)."""
    model, space = setup.model, setup.space(Granularity.NODE)
    direct = engine.direct_effect(model, pairs, space, pair_logits=True).metric("logit_diff")
    plain = engine.read(model, pairs).metric("logit_diff")
    order = ranking_order((direct - plain).mean(-1), signed=False, seed=0)
    return budget_circuits(space, order).kept


def compare(setup: Setup, pairs: list[PromptPair], kept: np.ndarray) -> dict:
    """All libraries on the same circuits."""
    model, space = setup.model, setup.space(Granularity.NODE)
    ours = partial(engine.circuit_forward, model, pairs, space, kept, Ablation.COUNTERFACTUAL)
    calls: dict[str, Call] = {"arithloc": lambda: measured(ours)}
    for peer in setup.hooked():
        calls[peer.name] = partial(curve, peer, pairs, kept, model.shape)
    return rounds(calls, setup.repeats)


if __name__ == "__main__":
    main(__doc__, report)
