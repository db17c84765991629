"""Checks the hand count of useful operations against what torch counts while a sweep runs.

    python perf/flops.py [--pairs 4] [--every 10]

Prints useful and counted operations of both sweeps. torch leaves out the fused attention kernel, a small part of the
whole; what it counts beyond the useful operations is work that a tighter engine would not do.
"""

from compared.measure import table
from compared.prompts import PROMPTS
from compared.setup import options, setup_of
from compared.useful import of_sweep
from torch.utils.flop_counter import FlopCounterMode

from arithloc.benchmark import engine
from arithloc.benchmark.api import ComponentSpace, Granularity


def main() -> None:
    parser = options(__doc__)
    parser.set_defaults(pairs=4)
    parser.add_argument("--every", type=int, default=10, help="sweep every n-th head and MLP at all positions")
    given = parser.parse_args()
    setup = setup_of(given)
    model = setup.model
    layer, node = (
        engine.sites_of(ComponentSpace(granularity, model.shape))
        for granularity in (Granularity.LAYER, Granularity.NODE)
    )
    rows = []
    for name in PROMPTS:
        pairs = setup.prompts(name)
        for last, sites in ((True, layer), (False, node[:: given.every])):
            with FlopCounterMode(display=False) as counter:
                engine.sweep(model, pairs, sites, positions="last" if last else "all", pair_logits=True)
            useful, counted = of_sweep(model, pairs, sites, last=last, pair_logits=True), counter.get_total_flops()
            figures = (useful / 1e9, counted / 1e9, useful / counted)
            rows.append([name, "last" if last else "all", *(f"{figure:.3f}" for figure in figures)])
    print(table(["prompts", "positions", "useful GFLOP", "counted GFLOP", "useful share"], rows))


if __name__ == "__main__":
    main()
