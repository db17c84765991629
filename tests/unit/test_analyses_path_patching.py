"""Path patching: formulas of the report, by hand."""

from dataclasses import replace

import numpy as np
import pytest
from support.random_pairs import random_pairs

from arithloc.benchmark.api import ComponentSpace, Granularity, ModelShape
from arithloc.benchmark.api.options import Reference
from arithloc.benchmark.api.report import Verdict
from arithloc.benchmark.api.study import Sample
from arithloc.benchmark.metrics.measured import Spread
from arithloc.methods.analyses.forms import Form
from arithloc.methods.analyses.path_patching.attention import by_class
from arithloc.methods.analyses.path_patching.claims import depth, head_claims, knockout_claims, transfer_claims
from arithloc.methods.analyses.path_patching.effects import DirectEffects, overlap_spread, relative_change
from arithloc.methods.analyses.path_patching.knockout import MATCHED, METRICS, RANDOM, TOP, Knockout, head_mask
from arithloc.methods.analyses.path_patching.transfer import Target, relative, targets_of, transfer_table

PAIRS = tuple(random_pairs(50, [6] * 4))
SHAPE = ModelShape(n_layers=2, n_heads=3, n_kv_heads=3, d_model=6, d_head=2, d_mlp=8, vocab=50, parallel=False)


def effects(relative, *, positive=True):
    """Direct effects (layer, node), the same in every pair."""
    grid = np.repeat(np.asarray(relative, dtype=np.float64)[..., None], len(PAIRS), -1)
    return DirectEffects(PAIRS, 10 * grid, grid, np.full(len(PAIRS), positive))


def test_the_papers_measure_is_a_mean_of_ratios():
    # (20, 10, 5) -> (18, 9.5, 4): -0.10, -0.05, -0.20, mean -0.1166667
    clean, patched = np.array([20.0, 10, 5]), np.array([[18.0, 9.5, 4]])
    found = relative_change(clean, patched)
    assert found[0].tolist() == pytest.approx([-0.1, -0.05, -0.2]) and found.mean() == pytest.approx(-0.1166667)
    # it depends on the offset of the logits
    assert relative_change(clean + 10, patched + 10).mean() == pytest.approx(-0.0527778)


def test_pairs_without_a_positive_logit_do_not_count():
    grid = np.zeros((1, 2, 4))
    grid[0, 0] = [-0.1, -0.3, 9.0, 9.0]
    found = DirectEffects(PAIRS, grid, grid, np.array([True, True, False, False]))
    assert float(found.score.value[0, 0]) == pytest.approx(-0.2)


def test_heads_are_ordered_by_size_without_the_mlps():
    found = effects([[-0.01, 0.2, 0.0, -9.0], [-0.3, 0.0, 0.1, 9.0]])
    assert found.order[:3].tolist() == [3, 1, 5] and found.few() == 1
    same = overlap_spread(found, effects([[-0.01, 0.0, 0.0, 1.0], [-0.3, 0.0, 0.1, 1.0]]), 2)
    assert float(same.value) == 0.5 and np.all(same.replicates == 0.5)


def test_claims_about_heads_and_mlps():
    # one of 48 heads (2.1 %) at -6 %, in block 12 of 16; MLPs matter from block 10 on (17 / 32 of 16 is 8.5)
    grid = np.zeros((16, 4))
    grid[12, 1], grid[10:, -1] = -0.06, -0.1
    claims = {claim.id: claim for claim in head_claims(effects(grid))}
    assert claims["P1"].verdict is Verdict.HOLDS and claims["P1"].estimate.value == pytest.approx(1 / 48)
    assert claims["P2"].verdict is Verdict.HOLDS and claims["P2"].estimate.value == pytest.approx(0.06 / 30)
    assert claims["P3"].verdict is Verdict.HOLDS and claims["P3"].estimate.value == pytest.approx(0.1 * 6 / 7)
    many = {claim.id: claim for claim in head_claims(effects(np.full((16, 4), -0.25)))}
    assert many["P1"].verdict is Verdict.FAILS and many["P2"].verdict is Verdict.FAILS
    assert np.flatnonzero(depth(16, 12, 32)).tolist() == list(range(6, 16))


def out(top, random):
    """A knock-out of 0 and 2 heads with given values, without heads and with: the same in every pair."""
    values = {}
    for metric in METRICS:
        for kind, level in ((TOP, top), (RANDOM, random), (MATCHED, random)):
            table = np.full((2, 1 if kind == TOP else 2, len(PAIRS)), 4.0)
            table[1] = level
            values[metric, kind] = table
    return Knockout((0, 2), values, PAIRS)


def test_knockout_means_and_relative_change():
    found = out(1.0, 3.0)
    assert float(found.mean("accuracy", TOP, 0).value) == 4.0 and float(found.mean("accuracy", RANDOM, 2).value) == 3.0
    assert float(relative(found, TOP, 2).value) == -0.75 and float(relative(found, MATCHED, 2).value) == -0.25
    claims = list(knockout_claims(found, 2, 6))
    assert [claim.verdict for claim in claims] == [Verdict.HOLDS, Verdict.HOLDS] and claims[0].estimate.value == 2.0
    assert np.isnan(relative(replace(found, values={key: -value for key, value in found.values.items()}), TOP, 2).value)
    assert [line.y.tolist() for line in found.curves("accuracy", "").series] == [[4.0, 1.0], [4.0, 3.0], [4.0, 3.0]]


def test_heads_as_components():
    space = ComponentSpace(Granularity.NODE, SHAPE)
    assert [space.names[i] for i in np.flatnonzero(head_mask(space, np.array([1, 3])))] == ["a0.h1", "a1.h0"]


def test_attention_is_summed_within_classes():
    pairs = PAIRS[:2]
    classes = pairs[0].classes  # early operand1 operator operand2 late last
    assert classes == ("early", "operand1", "operator", "operand2", "late", "last")
    weights = np.zeros((1, 2, 6))
    weights[0, 0], weights[0, 1] = [0, 0.6, 0.1, 0.2, 0, 0.1], [0.4, 0, 0.3, 0, 0, 0.3]
    found = by_class(pairs, [weights, weights])
    assert found.head_type(0) == "operand1" and found.head_type(1) == "mixed"
    assert float(found.excess([0], ("operand1", "operand2")).value) == pytest.approx(0.8)
    doubled = replace(pairs[0], classes=("early", "operand1", "operand1", "operand2", "late", "last"))
    assert by_class([doubled], [weights]).to(["operand1"])[0, 0].tolist() == pytest.approx([0.7])


def test_targets_that_are_not_solved_stay_in_table_and_claims():
    form = Form(Reference("retrieval"), (), (Sample("retrieval[shots=1]", (), 8, 0, 0.25),))
    unsolved = [(Target("retrieval", "control", ()), form), (Target("subtraction", "operator", ()), form)]
    table = transfer_table(unsolved, 2, 6)
    assert [row[2] for row in table.rows] == ["retrieval[shots=1]"] * 2 and table.rows[0][-1] == "not solved"
    main = Spread(np.array(-0.5), np.array([-0.6, -0.4]), 4)
    claims = list(transfer_claims(unsolved, main, 2, 6))
    assert [claim.id for claim in claims] == ["P8.retrieval", "P7.subtraction.needed", "P7.subtraction.same"]
    assert all(claim.verdict is Verdict.UNTESTED and "25% of 8" in claim.note for claim in claims)


def test_targets_are_asked_with_the_operator_removed_and_controls_are_not():
    targets = {target.name: target for target in targets_of(Reference.parse("subtraction[shots=1]"))}
    assert str(targets["addition"].forms[0]) == "addition[kind=operator_null,shots=1]" and "subtraction" not in targets
    assert str(targets["statement"].forms[0]) == "subtraction[frames=zS0,kind=operator_null,shots=1]"
    assert str(targets["retrieval"].forms[0]) == "retrieval[shots=1]"
