"""The MLP roles that all variants share: column states (`mlp_a`) and answer digits (`mlp_b`)."""

from dataclasses import dataclass

from arithloc.tasks.toy.attention_roles import answer_classes, operand_classes
from arithloc.tasks.toy.hinges import added, gate, trapezoids, triangles
from arithloc.tasks.toy.recipe import Recipe
from arithloc.tasks.toy.roles import MlpRole, Neuron, asks, out, seen

SCALE = 20.0
"""Logit of a right answer token."""

ADD_SPAN = range(0, 20)
SUB_SPAN = range(-10, 10)


@dataclass(frozen=True)
class TriState:
    """Features that state a column's class, each with its weight: transparent, generating, and d > 0."""

    transparent: dict[str, float]
    generates: dict[str, float]
    positive: dict[str, float]


PLAIN = TriState({"TR": 1.0}, {"BOR": 1.0}, {"GT": 1.0})


def times(factor: float, features: dict[str, float]) -> dict[str, float]:
    """A feature list with every weight multiplied."""
    return {f: factor * w for f, w in features.items()}


def column_gate(recipe: Recipe, minus: bool) -> tuple[dict[str, float], float]:
    """Open at the second operand's digits, for one operator."""
    flags = [seen("y", j) for j in range(recipe.n_digits)]
    if not recipe.subtracts:
        return gate(flags)
    return gate(flags, on=["M"]) if minus else gate(flags, off=["M"])


def column_states(recipe: Recipe, state: TriState) -> tuple[Neuron, ...]:
    """Units that turn the two digits of a column into its state."""
    tr, gen, pos = state.transparent, state.generates, state.positive
    weights, bias = column_gate(recipe, minus=False)
    total = added({"A": 1.0, "VAL": 1.0}, weights)
    units = [
        Neuron(total, bias - 8, tr),
        Neuron(total, bias - 9, added(times(-2.0, tr), gen)),
        Neuron(total, bias - 10, added(tr, times(-1.0, gen))),
    ]
    if recipe.subtracts:
        weights, bias = column_gate(recipe, minus=True)
        up = added({"A": 1.0, "VAL": -1.0}, weights)
        down = added({"A": -1.0, "VAL": 1.0}, weights)
        units += [
            Neuron(up, bias + 1, tr),
            Neuron(up, bias, added(times(-2.0, tr), pos)),
            Neuron(up, bias - 1, added(tr, times(-1.0, pos))),
            Neuron(down, bias, gen),
            Neuron(down, bias - 1, times(-1.0, gen)),
        ]
    return tuple(units)


def negated_digit(recipe: Recipe) -> tuple[Neuron, ...]:
    """With subtraction: -2 times the second digit, so that adding it turns the column's sum into a difference."""
    if not recipe.subtracts:
        return ()
    weights, bias = column_gate(recipe, minus=True)
    return (Neuron(added({"VAL": 1.0}, weights), bias, {"NEGB": -2.0}),)


def columns(recipe: Recipe, neurons: tuple[Neuron, ...]) -> MlpRole:
    """The MLP that works out each column at its second digit."""
    return MlpRole("mlp_a", neurons, operand_classes(recipe))


@dataclass(frozen=True)
class Mode:
    """One way of computing answer digits: which positions and operator, and the column value with its carry.

    Attributes:
        closed: gate, open in this mode only.
        digit: +1 where the answer digit grows with the column value, -1 where it falls.
        carry: feature that holds the carry or borrow.
        step: what the carry adds to the answer digit.
        span: values of digit + step * carry.
    """

    closed: tuple[dict[str, float], float]
    digit: int
    carry: str
    step: int
    span: range


def modes(recipe: Recipe) -> tuple[Mode, ...]:
    """Addition; and with subtraction, answers from 0 up and negative answers."""
    flags = [asks(i) for i in range(recipe.n_digits + 1)]
    if not recipe.subtracts:
        return (Mode(gate(flags), 1, "C1", 1, ADD_SPAN),)
    return (
        Mode(gate(flags, off=["M"]), 1, "C1", 1, ADD_SPAN),
        Mode(gate(flags, on=["M"], off=["SG"]), 1, "C1", -1, SUB_SPAN),
        Mode(gate(flags, on=["M", "SG"]), -1, "C2", -1, SUB_SPAN),
    )


def digit_writes(span: range) -> dict[int, dict[str, float]]:
    """Each value of `span` writes the logit of its last digit."""
    return {k: {out(k % 10): SCALE} for k in span}


def hinge_digits(recipe: Recipe, offset: float = 0.0) -> tuple[Neuron, ...]:
    """Answer digits from `SUM` and the carry, by one triangle per value.

    Args:
        recipe: the circuit.
        offset: what another component adds to `SUM` everywhere.
    """
    units: tuple[Neuron, ...] = ()
    for mode in modes(recipe):
        value = {"SUM": float(mode.digit), mode.carry: float(mode.step)}
        units += triangles(value, mode.span, mode.closed, digit_writes(mode.span), mode.digit * offset)
    return units


def tolerant_digits(recipe: Recipe) -> tuple[Neuron, ...]:
    """As `hinge_digits`, right even when the carry is wrong by a third."""
    units: tuple[Neuron, ...] = ()
    for mode in modes(recipe):
        value = {"SUM": float(mode.digit), mode.carry: float(mode.step)}
        units += trapezoids(value, mode.span, mode.closed, digit_writes(mode.span))
    return units


def one_hot_digits(recipe: Recipe) -> tuple[Neuron, ...]:
    """Answer digits from the one-hot column digit `SH_r` and the carry: one unit per mode, digit and carry."""
    units = []
    for mode in modes(recipe):
        weights, bias = mode.closed
        for r in range(10):
            for c in (0, 1):
                reads = added({f"SH_{r}": 1.0, mode.carry: 1.0 if c else -1.0}, weights)
                digit = (mode.digit * r + mode.step * c) % 10
                units.append(Neuron(reads, bias - c, {out(digit): SCALE}))
    return tuple(units)


def sign_units(recipe: Recipe) -> tuple[Neuron, ...]:
    """With subtraction: a borrow out of the highest column makes the sign negative."""
    if not recipe.subtracts:
        return ()
    weights, bias = gate(["EQP"], on=["M"])
    return (Neuron(added({"C1": 1.0}, weights), bias, {out("-"): 2 * SCALE}),)


def tolerant_sign_units(recipe: Recipe) -> tuple[Neuron, ...]:
    """As `sign_units`, right even when the carry is wrong by a third."""
    if not recipe.subtracts:
        return ()
    weights, bias = gate(["EQP"], on=["M"])
    reads = added({"C1": 5.0}, weights)
    return (
        Neuron(reads, bias - 2, {out("-"): 2 * SCALE}),
        Neuron(reads, bias - 3, {out("-"): -2 * SCALE}),
    )


def answer_mlp(recipe: Recipe, neurons: tuple[Neuron, ...], gated_off: frozenset[str] = frozenset()) -> MlpRole:
    """The MLP that writes the answer."""
    sign = ("eq",) if recipe.subtracts else ()
    return MlpRole("mlp_b", neurons, (*sign, *answer_classes(recipe)), gated_off)
