"""Five algorithms with the same behaviour and different circuits.

=======  =====================================================================================
variant  how the carry into a column is found
=======  =====================================================================================
A        attention selects the highest lower column that is not transparent
B        prefix doubling: blocks of 1, 2, 4, .. columns are combined (TriAdd), two blocks give a carry
C        as A; column digits are one-hot and the answer is an AND of digit and carry
D        place value: a weighted mean of column states exceeds 1 exactly if there is a carry
E        as C; every pair of digits has a unit of its own
=======  =====================================================================================
"""

import math
from collections.abc import Callable

from arithloc.tasks.toy import attention_roles as heads
from arithloc.tasks.toy import mlp_roles as mlps
from arithloc.tasks.toy.formats import MINUS
from arithloc.tasks.toy.hinges import added, gate, triangles
from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.roles import (
    Channel,
    HeadRole,
    MlpRole,
    Neuron,
    Order,
    Program,
    before,
    not_after,
    position_features,
    seen,
)

TEN = range(10)


def token_features(recipe: Recipe) -> dict[int, dict[str, float]]:
    """Digit value (one-hot for variant E), and the flag of the minus sign."""
    if recipe.variant == "E":
        table = {d: {f"OH_{d}": 1.0} for d in TEN}
    else:
        table = {d: {"VAL": float(d)} for d in TEN}
    if recipe.subtracts:
        table[MINUS] = {"ISMIN": 1.0}
    return table


def assemble(
    recipe: Recipe, head_roles: list[HeadRole], mlp_roles: list[MlpRole], orders: tuple[Order, ...]
) -> Program:
    """A program with the roles that only subtraction needs, and the orders that every variant has."""
    readers = ["fetch"]
    if recipe.subtracts:
        head_roles = [*head_roles, heads.operator(recipe), heads.sign(recipe)]
        readers.append("op")
        orders += not_after(["sgn"], "mlp_b")
    orders += not_after(readers, "mlp_a") + before("mlp_a", "sum") + not_after(["sum"], "mlp_b")
    position = position_features(recipe.format, mlps.SCALE)
    return Program(token_features(recipe), position, tuple(head_roles), tuple(mlp_roles), orders)


def fetch_digit(recipe: Recipe) -> HeadRole:
    """`fetch` for digits embedded as numbers."""
    return heads.fetch(recipe, heads.copies("VAL", to=["A"]))


def sum_number(recipe: Recipe) -> HeadRole:
    """`sum` for columns whose value is a number."""
    reads = {"VAL": 1.0, "A": 1.0, **({"NEGB": 1.0} if recipe.subtracts else {})}
    return heads.column_sum(recipe, (Channel(reads, {"SUM": 1.0}),))


def column_mlp(recipe: Recipe, state: mlps.TriState = mlps.PLAIN) -> MlpRole:
    """`mlp_a` for columns whose value is a number."""
    return mlps.columns(recipe, mlps.column_states(recipe, state) + mlps.negated_digit(recipe))


def digit_mlp(recipe: Recipe) -> MlpRole:
    """`mlp_b` for columns whose value is a number."""
    return mlps.answer_mlp(recipe, mlps.hinge_digits(recipe) + mlps.sign_units(recipe))


def variant_a(recipe: Recipe) -> Program:
    """Carry look-ahead by selective attention."""
    carry = heads.carry(recipe, heads.carry_channels(recipe))
    orders = before("mlp_a", "carry") + not_after(["carry"], "mlp_b")
    return assemble(
        recipe, [fetch_digit(recipe), sum_number(recipe), carry], [column_mlp(recipe), digit_mlp(recipe)], orders
    )


def generators(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    """Letters and targets of what a carry chain transports: carry or borrow, and with subtraction the other borrow."""
    return (("B", "C1"), ("G", "C2")) if recipe.subtracts else (("B", "C1"),)


def block(letter: str, level: int) -> str:
    """State of the block of 2^level columns that begins at a position; level 0 is the column itself."""
    return {"T": "TR", "B": "BOR", "G": "GT"}[letter] + (str(level) if level else "")


def combined(
    high: dict[str, float], low: str, target: str, closed: tuple[dict[str, float], float]
) -> tuple[Neuron, ...]:
    """TriAdd of two blocks: 1 if 2 [high generates] + [high transparent] + [low generates] >= 2."""
    weights, bias = closed
    reads = added(high, {low: 1.0}, weights)
    return Neuron(reads, bias - 1, {target: 1.0}), Neuron(reads, bias - 2, {target: -1.0})


def doubling_level(recipe: Recipe, level: int) -> tuple[HeadRole, MlpRole]:
    """Head and MLP that join two blocks of 2^(level-1) columns to one of 2^level."""
    n, half = recipe.n_digits, 2 ** (level - 1)
    letters = ["T", *(letter for letter, _ in generators(recipe))]
    scores = {(seen("y", j), seen("y", j + half)): recipe.beta for j in range(n - half)}
    used = tuple(f"y{j}" for j in used_blocks(n)[level])
    channels = heads.copies(*(block(c, level - 1) for c in letters), to=[f"h{c}{level}" for c in letters])
    always: tuple[dict[str, float], float] = ({}, 0.0)
    units = [Neuron({f"hT{level}": 1.0, block("T", level - 1): 1.0}, -1.0, {block("T", level): 1.0})]
    for letter, _ in generators(recipe):
        high = {f"h{letter}{level}": 2.0, f"hT{level}": 1.0}
        units += combined(high, block(letter, level - 1), block(letter, level), always)
    return heads.head(recipe, f"up_{level}", scores, channels, used), MlpRole(f"mlp_up_{level}", tuple(units), used)


def used_blocks(n: int) -> list[tuple[int, ...]]:
    """Columns at which a block of each level begins that some carry needs, level 0 first.

    The carry into column i joins the blocks of 2^k <= i columns that begin at 0 and at i - 2^k; a block of level k is
    joined from two of level k - 1.

    Example:
    >>> used_blocks(3)
    [(0, 1, 2), (0, 1)]
    """
    used: list[set[int]] = [set() for _ in range(int(math.log2(n)) + 1)]
    for i in range(1, n + 1):
        used[int(math.log2(i))] |= {0, i - 2 ** int(math.log2(i))}
    for level in range(len(used) - 1, 0, -1):
        for j in used[level]:
            used[level - 1] |= {j, j + 2 ** (level - 1)}
    return [tuple(sorted(columns)) for columns in used]


def variant_b(recipe: Recipe) -> Program:
    """Prefix doubling over higher and higher columns, then two overlapping blocks per carry."""
    levels = range(recipe.levels + 1)
    letters = [letter for letter, _ in generators(recipe)]
    high_scores = {
        (query, seen("y", i - 2 ** int(math.log2(i)))): recipe.beta
        for query, i in heads.carry_queries(recipe).items()
        if i
    }
    low_scores = {(query, seen("y", 0)): recipe.beta for query, i in heads.carry_queries(recipe).items() if i}
    high_from = [(c, k) for c in ["T", *letters] for k in levels]
    low_from = [(c, k) for c in letters for k in levels]
    classes = heads.carry_classes(recipe)
    hi = heads.head(
        recipe,
        "hi",
        high_scores,
        heads.copies(*(block(c, k) for c, k in high_from), to=[f"hi{c}{k}" for c, k in high_from]),
        classes,
    )
    lo = heads.head(
        recipe,
        "lo",
        low_scores,
        heads.copies(*(block(c, k) for c, k in low_from), to=[f"lo{c}{k}" for c, k in low_from]),
        classes,
    )
    units: tuple[Neuron, ...] = ()
    for k in levels:
        flags = [q for q, i in heads.carry_queries(recipe).items() if i and int(math.log2(i)) == k]
        for letter, target in generators(recipe):
            units += combined({f"hi{letter}{k}": 2.0, f"hiT{k}": 1.0}, f"lo{letter}{k}", target, gate(flags))
    ups = [doubling_level(recipe, level) for level in levels[1:]]
    chain, orders = "mlp_a", before("mlp_c", "mlp_b") + not_after(["hi", "lo"], "mlp_c")
    for up, mlp in ups:
        orders += before(chain, up.name) + not_after([up.name], mlp.name)
        chain = mlp.name
    orders += before(chain, "hi", "lo")
    return assemble(
        recipe,
        [fetch_digit(recipe), sum_number(recipe), *(up for up, _ in ups), hi, lo],
        [column_mlp(recipe), *(mlp for _, mlp in ups), MlpRole("mlp_c", units, classes), digit_mlp(recipe)],
        orders,
    )


def one_hot_program(recipe: Recipe, fetch: HeadRole, columns: tuple[Neuron, ...]) -> Program:
    """Variants C and E after their column MLP: one-hot column digits, carry as in A, AND units for the answer."""
    copied = heads.copies(*(f"RH_{r}" for r in TEN), to=[f"SH_{r}" for r in TEN])
    column = heads.column_sum(recipe, (*copied, *heads.copies("BOSP", to=["SH_0"])))
    carry = heads.carry(recipe, heads.carry_channels(recipe))
    answer = mlps.answer_mlp(recipe, mlps.one_hot_digits(recipe) + mlps.sign_units(recipe))
    orders = before("mlp_a", "carry") + not_after(["carry"], "mlp_b")
    return assemble(recipe, [fetch, column, carry], [mlps.columns(recipe, columns), answer], orders)


def variant_c(recipe: Recipe) -> Program:
    """One-hot column digits computed by hinges."""
    units = mlps.column_states(recipe, mlps.PLAIN)
    spans = [(False, 1.0, range(0, 19))] + ([(True, -1.0, range(-9, 10))] if recipe.subtracts else [])
    for minus, sign, span in spans:
        writes = {k: {f"RH_{k % 10}": 1.0} for k in span}
        units += triangles({"A": 1.0, "VAL": sign}, span, mlps.column_gate(recipe, minus), writes)
    return one_hot_program(recipe, fetch_digit(recipe), units)


def variant_d(recipe: Recipe) -> Program:
    """Place value: softmax weights 2^j over the lower columns; their mean state exceeds 1 exactly on a carry."""
    pairs = (("T1", "PV1", "C1"), ("T2", "PV2", "C2")) if recipe.subtracts else (("T1", "PV1", "C1"),)
    state = mlps.TriState({t: 1.0 for t, _, _ in pairs}, {"T1": 2.0}, {"T2": 2.0})
    scores: heads.Scores = {}
    for query, i in heads.carry_queries(recipe).items():
        for j in range(recipe.n_digits):
            scores[query, seen("y", j)] = recipe.beta + j * math.log(2) if j < i else heads.forbidden(recipe)
    classes = heads.carry_classes(recipe)
    mean = heads.head(
        recipe, "pv", scores, heads.copies(*(t for t, _, _ in pairs), to=[p for _, p, _ in pairs]), classes
    )
    steep = 2.0**recipe.n_digits - 1
    units: list[Neuron] = []
    for _, source, target in pairs:
        units += [Neuron({source: steep}, -steep, {target: 1.0}), Neuron({source: steep}, -steep - 1, {target: -1.0})]
    orders = before("mlp_a", "pv") + not_after(["pv"], "mlp_c") + before("mlp_c", "mlp_b")
    return assemble(
        recipe,
        [fetch_digit(recipe), sum_number(recipe), mean],
        [column_mlp(recipe, state), MlpRole("mlp_c", tuple(units), classes), digit_mlp(recipe)],
        orders,
    )


def variant_e(recipe: Recipe) -> Program:
    """One unit per pair of digits and operator."""
    fetch = heads.fetch(recipe, heads.copies(*(f"OH_{d}" for d in TEN), to=[f"AH_{d}" for d in TEN]))
    units = []
    for minus in (False, True) if recipe.subtracts else (False,):
        weights, bias = mlps.column_gate(recipe, minus)
        for x in TEN:
            for y in TEN:
                value = x - y if minus else x + y
                state = {
                    "TR": float(value == 0 if minus else value == 9),
                    "BOR": float(value < 0 if minus else value > 9),
                    "GT": float(minus and value > 0),
                }
                writes = added({f"RH_{value % 10}": 1.0}, state)
                units.append(Neuron(added({f"AH_{x}": 1.0, f"OH_{y}": 1.0}, weights), bias - 1, writes))
    return one_hot_program(recipe, fetch, tuple(units))


BUILDERS: dict[str, Callable[[Recipe], Program]] = {
    "A": variant_a,
    "B": variant_b,
    "C": variant_c,
    "D": variant_d,
    "E": variant_e,
}
