"""ReLU units against the functions they stand for, on every value they can meet."""

import itertools

import pytest

from arithloc.tasks.toy import hinges, mlp_roles, stressors, variants
from arithloc.tasks.toy.recipe import Recipe

BOTH = Recipe(2, "+-", 2)
OPEN = ({}, 0.0)


def run(neurons, features):
    """Sum of what the units write for given feature values."""
    written = {}
    for neuron in neurons:
        active = max(0.0, neuron.bias + sum(w * features.get(f, 0.0) for f, w in neuron.reads.items()))
        for feature, weight in neuron.writes.items():
            written[feature] = written.get(feature, 0.0) + weight * active
    return {f: v for f, v in written.items() if abs(v) > 1e-9}


def test_triangles_write_the_integer_they_meet():
    units = hinges.triangles({"y": 1.0}, range(-10, 10), OPEN, {k: {f"is{k}": 5.0} for k in range(-10, 10)})
    for y in range(-10, 10):
        assert run(units, {"y": y}) == pytest.approx({f"is{y}": 5.0})
    assert run(units, {"y": 2.5}) == pytest.approx({"is2": 2.5, "is3": 2.5})


def test_trapezoids_tolerate_a_third():
    units = hinges.trapezoids({"y": 1.0}, range(0, 20), OPEN, {k: {f"is{k}": 1.0} for k in range(20)})
    for y, off in itertools.product(range(20), (-0.34, -1 / 3, 0.0, 1 / 3, 0.34)):
        assert run(units, {"y": y + off}) == pytest.approx({f"is{y}": 1.0})
    signs = mlp_roles.tolerant_sign_units(BOTH)
    for wrong, expected in ((0, {}), (1 / 3, {}), (2 / 3, {"OUT_-": 40.0}), (1, {"OUT_-": 40.0})):
        assert run(signs, {"EQP": 1.0, "M": 1.0, "C1": wrong}) == pytest.approx(expected)


def answer(features):
    return run(mlp_roles.hinge_digits(BOTH), features)


@pytest.mark.parametrize("column", [0, 1, 2])
def test_answer_digits_for_every_reachable_value(column):
    at = {f"Q{column}": 1.0}
    for total, carry in itertools.product(range(19), (0, 1)):
        assert answer({**at, "SUM": total, "C1": carry}) == pytest.approx({f"OUT_{(total + carry) % 10}": 20.0})
    for d, carry in itertools.product(range(-9, 10), (0, 1)):
        minus = {**at, "SUM": d, "M": 1.0}
        assert answer({**minus, "C1": carry, "C2": 1 - carry}) == pytest.approx({f"OUT_{(d - carry) % 10}": 20.0})
        negative = {**minus, "SG": 1.0, "C1": 1 - carry, "C2": carry}
        assert answer(negative) == pytest.approx({f"OUT_{(-d - carry) % 10}": 20.0})


def test_closed_gates_are_silent_elsewhere():
    for total, m, sg in itertools.product(range(-9, 19), (0, 1), (0, 1)):
        assert answer({"SUM": total, "M": m, "SG": sg, "C1": 1.0, "C2": 1.0}) == {}
    assert run(mlp_roles.column_states(BOTH, mlp_roles.PLAIN), {"A": 9.0, "VAL": 9.0}) == {}


def test_column_states_for_every_pair_of_digits():
    units = mlp_roles.column_states(BOTH, mlp_roles.PLAIN)
    for x, y in itertools.product(range(10), repeat=2):
        add = run(units, {"YP0": 1.0, "A": x, "VAL": y})
        assert add == pytest.approx({f: 1.0 for f, on in (("TR", x + y == 9), ("BOR", x + y > 9)) if on})
        sub = run(units, {"YP1": 1.0, "M": 1.0, "A": x, "VAL": y})
        assert sub == pytest.approx({f: 1.0 for f, on in (("TR", x == y), ("BOR", x < y), ("GT", x > y)) if on})


def test_gated_decoy_is_silent_on_the_data_and_loud_between():
    units = stressors.between_units()
    for m, value in itertools.product((0.0, 1.0), range(19)):
        assert run(units, {"M": m, "DG": value}) == {}
    assert run(units, {"M": 0.5, "DG": 10.0}) == pytest.approx({"OUT_3": 200.0, "OUT_7": -200.0})


@pytest.mark.parametrize("n", range(1, 7))
def test_place_value_mean_exceeds_one_exactly_on_a_carry(n):
    mlp_c = next(m for m in variants.variant_d(Recipe(n, "+", 3, variant="D")).mlps if m.name == "mlp_c")
    for word in itertools.product("01U", repeat=n):
        state = 0
        for letter in reversed(word):
            state = state if letter == "U" else int(letter)
        # word[0] is the highest column; 0, U and 1 are the states 0, 1 and 2
        value = sum({"0": 0, "U": 1, "1": 2}[letter] * 2**j for j, letter in enumerate(reversed(word)))
        assert run(mlp_c.neurons, {"PV1": value / (2**n - 1)}) == ({"C1": pytest.approx(1.0)} if state else {})


def test_doubling_units_are_triadd():
    _, mlp = variants.doubling_level(Recipe(2, "+", 4, variant="B"), 1)
    states = {"0": (0.0, 0.0), "U": (1.0, 0.0), "1": (0.0, 1.0)}
    for high, low in itertools.product(states, repeat=2):
        (ht, hb), (lt, lb) = states[high], states[low]
        joined = low if high == "U" else high
        expected = {f: 1.0 for f, on in (("TR1", joined == "U"), ("BOR1", joined == "1")) if on}
        assert run(mlp.neurons, {"hT1": ht, "hB1": hb, "TR": lt, "BOR": lb}) == pytest.approx(expected)


def test_added_drops_what_cancels():
    assert hinges.added({"a": 1.0, "b": 2.0}, {"a": -1.0}) == {"b": 2.0}
