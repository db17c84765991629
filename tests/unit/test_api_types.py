"""Spaces, scores and pairs."""

import dataclasses

import numpy as np
import pytest

from arithloc.benchmark.api import (
    BadScores,
    ComponentSpace,
    Granularity,
    ModelShape,
    PromptPair,
    Scores,
    Split,
    data_hash,
)

SHAPE = ModelShape(n_layers=2, n_heads=3, n_kv_heads=1, d_model=6, d_head=2, d_mlp=4, vocab=11)


def pair(**changes: object) -> PromptPair:
    made = PromptPair(
        task="addition", frame="F5", operator="add", kind="operands", clean="3 + 5 =", counterfactual="4 + 2 =",
        clean_ids=(3, 10, 5, 12), counterfactual_ids=(4, 10, 2, 12), classes=("operand1", "operator", "operand2", "last"),
        answer="8", answer_cf="6", answer_ids=(8,), answer_cf_ids=(6,), first_diff=0, candidates=(6, 8),
        strata=(("carries", "0"),), cluster="3/5", split=Split.TEST, index=0,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize(
    ("granularity", "grid", "first", "last"),
    [
        (Granularity.LAYER, (2, 2), "a0", "m1"),
        (Granularity.NODE, (2, 4), "a0.h0", "m1"),
        (Granularity.NEURON, (2, 4), "m0.n0", "m1.n3"),
    ],
)
def test_a_space_names_its_components_in_grid_order(
    granularity: Granularity, grid: tuple[int, ...], first: str, last: str
) -> None:
    space = ComponentSpace(granularity, SHAPE)
    assert space.grid_shape == grid
    assert len(space.names) == len(set(space.names)) == len(space) == int(np.prod(grid))
    assert (space.names[0], space.names[-1]) == (first, last)


def test_classes_add_a_last_axis() -> None:
    space = ComponentSpace(Granularity.NODE, SHAPE, ("operand1", "last"))
    assert space.grid_shape == (2, 4, 2)
    assert space.names[:3] == ("a0.h0@operand1", "a0.h0@last", "a0.h1@operand1")


def test_scores_take_a_grid_or_a_flat_array() -> None:
    space = ComponentSpace(Granularity.NODE, SHAPE)
    grid = np.arange(8).reshape(2, 4)
    assert (Scores.of(space, grid).values == Scores.of(space, grid.ravel()).values).all()
    assert Scores.of(space, grid).values.dtype == np.float64


@pytest.mark.parametrize("shape", [(4, 2), (7,), (2, 4, 1), ()])
def test_scores_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadScores, match="Expected scores of shape"):
        Scores.of(ComponentSpace(Granularity.NODE, SHAPE), np.zeros(shape))


def test_scores_that_are_not_finite_name_the_component() -> None:
    values = np.zeros((2, 4))
    values[1, 2] = np.nan
    with pytest.raises(BadScores, match=r"nan for component a1\.h2"):
        Scores.of(ComponentSpace(Granularity.NODE, SHAPE), values)


def test_the_scored_tokens_are_those_at_the_first_difference() -> None:
    made = pair(answer_ids=(1, 8), answer_cf_ids=(1, 6), first_diff=1)
    assert (made.answer_token, made.foil_token, made.n_tokens) == (8, 6, 4)


def test_the_data_hash_follows_content_and_order() -> None:
    a, b = pair(), pair(index=1, answer="9")
    assert data_hash([a, b]) == data_hash([pair(), pair(index=1, answer="9")])
    assert len({data_hash([a, b]), data_hash([b, a]), data_hash([a]), data_hash([])}) == 4
