"""Path patching of all heads and MLPs to the logits, against one forward per sender.

    python perf/path_patching.py [--pairs 32] [--threads 2] [--sites 6] [--repeats 2] [--prompts question exemplars]

Each row is the clean prompt with one sender's counterfactual value and every later head frozen at its clean value; MLPs
see the change (Wang et al., arXiv:2211.00593). The other libraries hook the heads above the sender only.
"""

from functools import partial

from compared.measure import Call, measured, rounds, table
from compared.questions import path_patching, spread
from compared.setup import HEADER, Setup, label, main, rows_of

from arithloc.benchmark import engine
from arithloc.benchmark.api import Granularity

NAMES = ["question", "exemplars"]


def report(setup: Setup) -> str:
    return table(HEADER, [row for name in setup.names or NAMES for row in compare(setup, name)])


def compare(setup: Setup, name: str) -> list[list[str]]:
    """All libraries on one kind of prompt."""
    model, space, pairs = setup.model, setup.space(Granularity.NODE), setup.prompts(name)
    sites = list(engine.sites_of(space))
    chosen = spread(len(sites), setup.sites)
    ours = partial(engine.direct_effect, model, pairs, space)
    calls: dict[str, Call] = {
        "arithloc": lambda: measured(partial(ours, pair_logits=True)),
        "arithloc, all readings": lambda: measured(ours),
    }
    for peer in setup.hooked():
        calls[peer.name] = partial(path_patching, peer, pairs, sites, chosen, model.shape.n_layers)
    return rows_of(setup, label(name, pairs), rounds(calls, setup.repeats), chosen)


if __name__ == "__main__":
    main(__doc__, report)
