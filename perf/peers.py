"""All comparisons with other libraries, as one Markdown page on stdout.

    python perf/peers.py --all > page.md
    python perf/peers.py sweep-last curve --pairs 4
    python perf/peers.py --all --random-llama 8b --device cuda --dtype bfloat16 > page.md

Needs the packaged model (bench models build smollm2), unless the model is random, and the libraries to compare with:
pip install -c constraints.txt transformer-lens pyvene nnsight. Set OMP_WAIT_POLICY=passive.
"""

import time
from collections.abc import Callable

import curve
import edge_memory
import path_patching
import sweep_all
import sweep_last
from compared.measure import matmul_size
from compared.setup import Setup, options, setup_of

COMPARISONS: dict[str, tuple[str, Callable[[Setup], str]]] = {
    "sweep-last": ("Sweep of all attention and MLP outputs at the last token", sweep_last.report),
    "sweep-all": ("Sweep of all heads and MLPs at all positions", sweep_all.report),
    "curve": ("Faithfulness curve of a node circuit at ten budgets", curve.report),
    "path-patching": ("Path patching of all heads and MLPs to the logits", path_patching.report),
    "edge-memory": ("Peak memory of edge circuits", edge_memory.report),
}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("names", nargs="*", metavar="comparison", help=", ".join(COMPARISONS))
    parser.add_argument("--all", action="store_true", help="all comparisons")
    given = parser.parse_args()
    names = list(COMPARISONS) if given.all else given.names
    unknown = [name for name in names if name not in COMPARISONS]
    if unknown or not names:
        parser.error(f"expected --all or some of {', '.join(COMPARISONS)}, found {', '.join(unknown) or 'nothing'}")
    setup = setup_of(given)
    print(setup.described())
    rate, size = setup.matmul_rate(), matmul_size(setup.device)
    print(
        f"Product of two {size:,} x {size:,} matrices: {rate.clock / 1e9:.0f} GFLOP/s, {rate.cpu / 1e9:.0f} per CPU second."
    )
    for name in names:
        title, report = COMPARISONS[name]
        start = time.perf_counter()
        text = report(setup)
        print(f"\n## {title}\n\n{text}\n\nTook {time.perf_counter() - start:.0f} s.", flush=True)


if __name__ == "__main__":
    main()
