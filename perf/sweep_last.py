"""Sweep of all attention and MLP outputs at the last token, against libraries that run the model once per site.

    python perf/sweep_last.py [--pairs 32] [--threads 2] [--sites 6] [--repeats 2] [--prompts question ...]

Each row is the counterfactual prompt with one output of the clean run put in at the last token. All libraries answer the
same question on the same pairs in one process: the logit difference of each site and pair. pyvene and nnsight are asked
on the prompts `question` and `exemplars`.
"""

from functools import partial

from compared.measure import Call, measured, rounds, table
from compared.others import nnsight_sweep, pyvene_sweep
from compared.prompts import PROMPTS
from compared.questions import spread, sweep
from compared.setup import HEADER, SHARES, Setup, label, main, rows_of, share
from compared.useful import of_sweep

from arithloc.benchmark import engine
from arithloc.benchmark.api import Granularity


def report(setup: Setup) -> str:
    rows, notes = [], []
    for name in setup.names or PROMPTS:
        lines, shares = compare(setup, name)
        rows += lines
        notes += shares
    return table(HEADER, rows) + "\n\n" + table(SHARES, notes)


def compare(setup: Setup, name: str) -> tuple[list[list[str]], list[list[str]]]:
    """All libraries on one kind of prompt."""
    model, space, pairs = setup.model, setup.space(Granularity.LAYER), setup.prompts(name)
    sites = list(engine.sites_of(space))
    chosen = spread(len(sites), setup.sites)
    ours = partial(engine.sweep, model, pairs, space, positions="last")
    calls: dict[str, Call] = {
        "arithloc": lambda: measured(partial(ours, pair_logits=True)),
        "arithloc, all readings": lambda: measured(ours),
    }
    for peer in setup.hooked(last=True):
        calls[peer.name] = partial(sweep, peer, pairs, sites, chosen, last=True)
    if name in ("question", "exemplars"):
        others = {"pyvene": pyvene_sweep, "nnsight": nnsight_sweep}
        calls |= {
            library: partial(run, model, setup.copy, pairs, sites, chosen)
            for library, run in others.items()
            if setup.has(library)
        }
    rate = setup.matmul_rate()
    found = rounds(calls, setup.repeats)
    rate = rate.higher(setup.matmul_rate())
    shares = []
    for library, two in (("arithloc", True), ("arithloc, all readings", False)):
        useful = of_sweep(model, pairs, sites, last=True, pair_logits=two)
        shares.append(share(name, library, len(sites), useful, found[library][1], rate))
    return rows_of(setup, label(name, pairs), found, chosen), shares


if __name__ == "__main__":
    main(__doc__, report)
