"""Difficulties added to a compiled circuit, one each.

========  ==========================  ==================================================================
stressor  construction                what it defeats
========  ==========================  ==================================================================
1         constant writer             zero ablation: a constant that the circuit counts on
2         beta = 240                  gradients through a saturated softmax
3         majority of three carries   changing one component at a time
4         near and far carry          small samples: the far head is needed by few questions
5         cancelling pair             changing one component at a time (finds two that do nothing together)
6         variants B to E             fixed ideas of where the carry lives
7         gated decoy                 gradients along a path that leaves the data
========  ==========================  ==================================================================
"""

from arithloc.tasks.toy import attention_roles as heads
from arithloc.tasks.toy import mlp_roles as mlps
from arithloc.tasks.toy.hinges import added
from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.roles import BIAS, Channel, HeadRole, MlpRole, Neuron, Program, before, not_after, out
from arithloc.tasks.toy.variants import (
    BUILDERS,
    assemble,
    column_mlp,
    digit_mlp,
    fetch_digit,
    sum_number,
)

OFFSET = 3.0
"""What the constant writer adds to `SUM` everywhere."""

STEEP = 100.0
"""Slope of the gated decoy's units in the operator bit."""


def program(recipe: Recipe) -> Program:
    """The circuit of a recipe."""
    if recipe.stressor in BY_NUMBER:
        return BY_NUMBER[recipe.stressor](recipe)
    return BUILDERS[recipe.variant](recipe)


def selective(recipe: Recipe, extra: list[HeadRole], answer: MlpRole) -> Program:
    """Variant A with further heads and another answer MLP."""
    carry = heads.carry(recipe, heads.carry_channels(recipe))
    orders = before("mlp_a", "carry") + not_after(["carry", *(h.name for h in extra)], "mlp_b")
    return assemble(
        recipe, [fetch_digit(recipe), sum_number(recipe), carry, *extra], [column_mlp(recipe), answer], orders
    )


def constant_writer(recipe: Recipe) -> Program:
    """A head adds 3 to `SUM` at every position; the answer MLP's thresholds are shifted by as much."""
    scores = {(BIAS, "BOSP"): recipe.beta}
    writer = HeadRole("writer", scores, (Channel({"BOSP": 1.0}, {"SUM": OFFSET}),), (), label="out")
    answer = mlps.answer_mlp(recipe, mlps.hinge_digits(recipe, OFFSET) + mlps.sign_units(recipe))
    return selective(recipe, [writer], answer)


def majority(recipe: Recipe) -> Program:
    """Three carry heads of weight 1/3; the answer MLP tolerates one that is wrong."""
    channels = heads.carry_channels(recipe, weight=1 / 3)
    copies = [heads.carry(recipe, channels, f"carry_{i}", group="carry", quorum=2) for i in (1, 2, 3)]
    answer = mlps.answer_mlp(recipe, mlps.tolerant_digits(recipe) + mlps.tolerant_sign_units(recipe))
    names = [h.name for h in copies]
    return assemble(
        recipe,
        [fetch_digit(recipe), sum_number(recipe), *copies],
        [column_mlp(recipe), answer],
        before("mlp_a", *names) + not_after(names, "mlp_b"),
    )


def rare_role(recipe: Recipe) -> Program:
    """Carries over a distance of more than `lag` columns have a head of their own, used when no nearer column decides."""
    n, lag = recipe.n_digits, recipe.lag
    found = Channel({f"YP{j}": 1.0 for j in range(n)}, {"FOUND": 1.0})
    near = heads.carry(recipe, (*heads.carry_channels(recipe), found), "near", range(1, lag + 1))
    far = heads.carry(recipe, heads.carry_channels(recipe, to=("F1", "F2")), "far", range(lag + 1, n + 1))
    far = HeadRole(far.name, far.scores, far.channels, far_classes(recipe))
    pairs = (("F1", "C1"), ("F2", "C2")) if recipe.subtracts else (("F1", "C1"),)
    units = tuple(Neuron({source: 1.0, "FOUND": -1.0}, 0.0, {target: 1.0}) for source, target in pairs)
    choose = MlpRole("mlp_c", units, far_classes(recipe))
    return assemble(
        recipe,
        [fetch_digit(recipe), sum_number(recipe), near, far],
        [column_mlp(recipe), choose, digit_mlp(recipe)],
        before("mlp_a", "near", "far") + not_after(["near", "far"], "mlp_c") + before("mlp_c", "mlp_b"),
    )


def far_classes(recipe: Recipe) -> tuple[str, ...]:
    """Positions that can need a carry from more than `lag` columns below."""
    sign = ("eq",) if recipe.subtracts and recipe.n_digits > recipe.lag else ()
    return (*sign, *(recipe.format.predictor(i) for i in range(recipe.lag + 1, recipe.n_digits + 1)))


def cancelling_pair(recipe: Recipe) -> Program:
    """Two heads that write the same carry with opposite signs."""
    pair = [
        heads.head(
            recipe,
            name,
            heads.column_scores(recipe),
            (Channel({"BOR": 1.0}, {"C1": weight}),),
            heads.digit_classes(recipe),
            "undecided",
            "cancel",
        )
        for name, weight in (("cp", 1.0), ("cm", -1.0))
    ]
    circuit = selective(recipe, pair, digit_mlp(recipe))
    orders = circuit.orders + before("mlp_a", "cp", "cm")
    return Program(circuit.token, circuit.position, circuit.heads, circuit.mlps, orders)


def gated_decoy(recipe: Recipe) -> Program:
    """A head's value reaches the logits only where the operator bit is between 0 and 1, which no question has."""
    reads = Channel({"VAL": 1.0, "A": 1.0}, {"DG": 1.0})
    decoy = heads.head(recipe, "gd", heads.column_scores(recipe), (reads,), (), "out")
    units = mlps.hinge_digits(recipe) + mlps.sign_units(recipe) + between_units()
    circuit = selective(recipe, [decoy], mlps.answer_mlp(recipe, units, frozenset({"DG"})))
    orders = circuit.orders + before("fetch", "gd")
    return Program(circuit.token, circuit.position, circuit.heads, circuit.mlps, orders)


def between_units() -> tuple[Neuron, ...]:
    """Units that write DG where the operator bit M is halfway, and exactly 0 where it is 0 or 1 and 0 <= DG <= 18.

    h = relu(k (M - 1/4) + DG) - relu(k (M - 1/4)) - relu(k (M - 3/4) + DG) + relu(k (M - 3/4)), k = 100.
    """
    units = []
    for threshold, sign in ((0.25, 1.0), (0.75, -1.0)):
        for reads, factor in (({"DG": 1.0}, sign), ({}, -sign)):
            writes = {out(3): factor * mlps.SCALE, out(7): -factor * mlps.SCALE}
            units.append(Neuron(added({"M": STEEP}, reads), -STEEP * threshold, writes, label="out"))
    return tuple(units)


BY_NUMBER = {1: constant_writer, 3: majority, 4: rare_role, 5: cancelling_pair, 7: gated_decoy}
