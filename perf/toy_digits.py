"""How a compiled circuit with any number of digits answers: all questions up to 3 digits, else random and chained ones.

    python perf/toy_digits.py --digits 10 --variant A

Asked are 100,000 random questions per operator, 20,000 with 80% transparent columns, one for each start and length of a
carry chain, and the extremes. Printed are wrong answers and the smallest margin, in float32 as shipped.
"""

import argparse
import sys
import time

import numpy as np

from arithloc.tasks.toy.behaviour import exam_questions, examine
from arithloc.tasks.toy.compiled import compile_circuit
from arithloc.tasks.toy.forward import Network
from arithloc.tasks.toy.recipe import VARIANTS, Recipe
from arithloc.tasks.toy.subject import Subject


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", type=int, default=10)
    parser.add_argument("--operators", choices=("+", "-", "+-"), default="+-")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--variant", choices=VARIANTS, default="A")
    parser.add_argument("--beta", type=float, default=240.0)
    given = parser.parse_args()
    recipe = Recipe(given.digits, given.operators, given.layers, beta=given.beta, variant=given.variant)
    built = compile_circuit(recipe)
    stored = {name: array.astype(np.float32) for name, array in built.weights.items()}
    exam = exam_questions(given.digits, given.operators, np.random.default_rng(0))
    start = time.process_time()
    found = examine(Subject(Network(stored, built.config, np.float32), recipe.format), exam, "")
    print(
        f"{given.digits} digits, {given.operators}, variant {given.variant}, {given.layers} layers, beta {given.beta:g}: "
        f"{found.questions - found.wrong:,} of {found.questions:,} right, smallest margin {found.min_margin:.2f}, "
        f"{time.process_time() - start:.0f} CPU seconds"
    )
    return int(found.wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
