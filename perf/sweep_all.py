"""Sweep of all heads and MLPs at all positions at once, against libraries that run the model once per site.

    python perf/sweep_all.py [--pairs 32] [--threads 2] [--sites 6] [--prompts question aside]

Each row is the counterfactual prompt with one head or MLP of the clean run put in at every token. arithloc is measured
once, not in rounds: its call takes a minute.
"""

from functools import partial

from compared.measure import Call, measured, rounds, table
from compared.questions import spread, sweep
from compared.setup import HEADER, SHARES, Setup, label, main, rows_of, share
from compared.useful import of_sweep

from arithloc.benchmark import engine
from arithloc.benchmark.api import Granularity

NAMES = ["question", "aside"]


def report(setup: Setup) -> str:
    rows, notes = [], []
    for name in setup.names or NAMES:
        lines, shares = compare(setup, name)
        rows += lines
        notes.append(shares)
    return table(HEADER, rows) + "\n\n" + table(SHARES, notes)


def compare(setup: Setup, name: str) -> tuple[list[list[str]], list[str]]:
    """All libraries on one kind of prompt."""
    model, space, pairs = setup.model, setup.space(Granularity.NODE), setup.prompts(name)
    sites = list(engine.sites_of(space))
    chosen = spread(len(sites), setup.sites)
    library = "arithloc"
    rate = setup.matmul_rate()
    ours = measured(partial(engine.sweep, model, pairs, space, pair_logits=True))
    rate = rate.higher(setup.matmul_rate())
    calls: dict[str, Call] = {
        peer.name: partial(sweep, peer, pairs, sites, chosen, last=False) for peer in setup.hooked()
    }
    found = {library: ours, **rounds(calls, setup.repeats)}
    useful = of_sweep(model, pairs, sites, last=False, pair_logits=True)
    return rows_of(setup, label(name, pairs), found, chosen), share(name, library, len(sites), useful, ours[1], rate)


if __name__ == "__main__":
    main(__doc__, report)
